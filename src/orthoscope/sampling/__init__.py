"""Sampling: levels to visit, noise, steps, starts and the loop, which knows no step; and, for pairs of exact laws, the
tilted law and the density of guided flows.
"""

from orthoscope.sampling.corrector import PredictorCorrector as PredictorCorrector
from orthoscope.sampling.density import GuidedFlow as GuidedFlow
from orthoscope.sampling.density import entropy_change as entropy_change
from orthoscope.sampling.grid import Grid as Grid
from orthoscope.sampling.grid import equalized as equalized
from orthoscope.sampling.grid import geometric as geometric
from orthoscope.sampling.grid import geometric_in_time as geometric_in_time
from orthoscope.sampling.grid import grid as grid
from orthoscope.sampling.grid import posterior_variance as posterior_variance
from orthoscope.sampling.grid import refined as refined
from orthoscope.sampling.grid import through as through
from orthoscope.sampling.loop import Run as Run
from orthoscope.sampling.loop import sample as sample
from orthoscope.sampling.loop import trajectory as trajectory
from orthoscope.sampling.noise import BrownianPath as BrownianPath
from orthoscope.sampling.noise import IndependentNoise as IndependentNoise
from orthoscope.sampling.renoising import CFGPlusPlus as CFGPlusPlus
from orthoscope.sampling.restart import Restart as Restart
from orthoscope.sampling.start import start as start
from orthoscope.sampling.state import State as State
from orthoscope.sampling.steps import Exponential as Exponential
from orthoscope.sampling.steps import Multistep as Multistep
from orthoscope.sampling.steps import Step as Step
from orthoscope.sampling.tilted import TiltedSample as TiltedSample
from orthoscope.sampling.tilted import sample_tilted as sample_tilted
from orthoscope.sampling.transition import renewed_share as renewed_share
from orthoscope.sampling.transition import transition as transition
from orthoscope.sampling.weighted import Weighted as Weighted
