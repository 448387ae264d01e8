"""Control: environments round the stepwise loop, and training of policies in them; a trained policy is a rule.

`family` draws laws, `environment` is what gymnasium knows, `training` what stable-baselines3 does there, and
`gradients` trains through the sampler itself, as a check. A policy needs none of them where it is used.
"""

from orthoscope.control.family import Case as Case
from orthoscope.control.family import Family as Family
from orthoscope.control.folder import shipped as shipped
from orthoscope.control.gradients import Descent as Descent
