"""Predictions without sampling: what guidance does to a class, in closed form or by quadrature.

The front door is `predict(Setting(...))` for one setting, `rate_strength_diagram` and `window_diagram` for
whole planes, and `guided_gaussian` for two Gaussians. Nothing here draws a random number or knows of the code
that does.
"""

from orthoscope.theory.constant import critical_rate as critical_rate
from orthoscope.theory.constant import distortion as distortion
from orthoscope.theory.constant import speciation_time as speciation_time
from orthoscope.theory.diagrams import REGIONS as REGIONS
from orthoscope.theory.diagrams import rate_strength_diagram as rate_strength_diagram
from orthoscope.theory.diagrams import window_diagram as window_diagram
from orthoscope.theory.effective import LearnedFraction as LearnedFraction
from orthoscope.theory.effective import predict_effective as predict_effective
from orthoscope.theory.fluctuation import along_excess as along_excess
from orthoscope.theory.gaussian import GaussianPrediction as GaussianPrediction
from orthoscope.theory.gaussian import guided_gaussian as guided_gaussian
from orthoscope.theory.joint import GaussianLaw as GaussianLaw
from orthoscope.theory.joint import JointPrediction as JointPrediction
from orthoscope.theory.joint import gaussian_law as gaussian_law
from orthoscope.theory.joint import guided_joint as guided_joint
from orthoscope.theory.kernel import error_kernel as error_kernel
from orthoscope.theory.predict import REGIMES as REGIMES
from orthoscope.theory.predict import Prediction as Prediction
from orthoscope.theory.predict import predict as predict
from orthoscope.theory.separation import separate as separate
from orthoscope.theory.spectrum import predict_spectrum as predict_spectrum
