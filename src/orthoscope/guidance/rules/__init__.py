"""Guidance rules: how named predictions of one state and a strength become one prediction.

A rule may carry a memory from step to step. It declares the space it acts in and whether it is linear: linear rules are
the same in every space and are the only ones that may be used after the width of a target was absorbed into the noise.
What depends on the noise level alone is a schedule, guidance in an interval for instance; what looks at the state is a
rule.
"""

from orthoscope.guidance.rules.applied import apply as apply
from orthoscope.guidance.rules.base import Predictions as Predictions
from orthoscope.guidance.rules.base import Rule as Rule
from orthoscope.guidance.rules.feedback import Bounded as Bounded
from orthoscope.guidance.rules.feedback import Controller as Controller
from orthoscope.guidance.rules.feedback import Feedback as Feedback
from orthoscope.guidance.rules.feedback import PosteriorPoint as PosteriorPoint
from orthoscope.guidance.rules.feedback import Seen as Seen
from orthoscope.guidance.rules.feedback import SetPoint as SetPoint
from orthoscope.guidance.rules.grammar import RULE_TYPES as RULE_TYPES
from orthoscope.guidance.rules.grammar import RULES as RULES
from orthoscope.guidance.rules.grammar import format_rule as format_rule
from orthoscope.guidance.rules.grammar import parse_rule as parse_rule
from orthoscope.guidance.rules.grammar import read_rule as read_rule
from orthoscope.guidance.rules.grammar import shown_rule as shown_rule
from orthoscope.guidance.rules.grammar import write_rule as write_rule
from orthoscope.guidance.rules.linear import LinearCFG as LinearCFG
from orthoscope.guidance.rules.linear import Renoised as Renoised
from orthoscope.guidance.rules.magnitude import PowerLaw as PowerLaw
from orthoscope.guidance.rules.magnitude import Rescaled as Rescaled
from orthoscope.guidance.rules.own import FunctionRule as FunctionRule
from orthoscope.guidance.rules.policy import Policy as Policy
from orthoscope.guidance.rules.policy import read_policy as read_policy
from orthoscope.guidance.rules.policy import write_policy as write_policy
from orthoscope.guidance.rules.projected import Projected as Projected
from orthoscope.guidance.rules.projected import ZeroStar as ZeroStar
