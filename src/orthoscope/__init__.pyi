__version__: str

# isort: off
# What people type: verbs, then what they take.
from .face.exact import predict as predict
from .face.exact import simulate as simulate
from .face.samples import sample as sample
from .face.samples import measure as measure
from .face.compare import compare as compare
from .face.exact import design as design
from .results import read as read
from .results import rerun as rerun
from .laws import RandomMixture as RandomMixture
from .face.samples import mixture as mixture
from .guidance.given import as_schedule as as_schedule
from .results import Result as Result

# Floors of the house.
from . import bench as bench
from . import denoise as denoise
from . import designs as designs
from . import experiments as experiments
from . import guidance as guidance
from . import metrics as metrics
from . import plots as plots
from . import sampling as sampling
from . import simulation as simulation
from . import targets as targets
from . import theory as theory

# isort: on
from .denoise import Denoiser as Denoiser
from .denoise import ExactDenoiser as ExactDenoiser
from .denoise import FixedLabel as FixedLabel
from .guidance.grammar import format_schedule as format_schedule
from .guidance.grammar import parse_schedule as parse_schedule
from .guidance.grammar import read_schedule as read_schedule
from .guidance.grammar import write_schedule as write_schedule
from .guidance.guided import Guided as Guided
from .guidance.guided import classifier_free as classifier_free
from .guidance.rules import LinearCFG as LinearCFG
from .guidance.rules import Rule as Rule
from .guidance.rules import format_rule as format_rule
from .guidance.rules import parse_rule as parse_rule
from .guidance.schedules import Constant as Constant
from .guidance.schedules import GuidanceSchedule as GuidanceSchedule
from .guidance.schedules import Interval as Interval
from .guidance.schedules import Linear as Linear
from .guidance.schedules import Step as Step
from .guidance.schedules import Tabulated as Tabulated
from .process import EDM as EDM
from .process import NoiseLevel as NoiseLevel
from .process import OrnsteinUhlenbeck as OrnsteinUhlenbeck
from .process import Process as Process
from .process import RectifiedFlow as RectifiedFlow
from .process import VarianceExploding as VarianceExploding
from .quantities import Estimate as Estimate
from .sampling import BrownianPath as BrownianPath
from .sampling import CFGPlusPlus as CFGPlusPlus
from .sampling import Exponential as Exponential
from .sampling import IndependentNoise as IndependentNoise
from .sampling import Multistep as Multistep
from .sampling import PredictorCorrector as PredictorCorrector
from .sampling import Restart as Restart
from .sampling import sample_tilted as sample_tilted
from .sampling import trajectory as trajectory
from .settings import Setting as Setting
from .simulation.setting import Simulation as Simulation
from .targets import Ball as Ball
from .targets import Blend as Blend
from .targets import Covariant as Covariant
from .targets import Gaussian as Gaussian
from .targets import Intervals as Intervals
from .targets import Mixture as Mixture
from .targets import Pair as Pair
from .targets import Planted as Planted
from .targets import Target as Target
from .targets import blend as blend
from .targets import box as box
from .targets import covariant as covariant
from .targets import empirical_mixture as empirical_mixture
from .targets import random_mixture as random_mixture
from .theory import Prediction as Prediction
from .theory import gaussian_law as gaussian_law
from .theory import guided_joint as guided_joint
