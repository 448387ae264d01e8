"""Sampling: levels to visit, noise, one-step kernels, starts and the loop, none of which knows of guidance; and, for
pairs of exact laws, the tilted law and the density of guided flows.
"""

from orthoscope.sampling.corrector import predictor_corrector as predictor_corrector
from orthoscope.sampling.density import GuidedFlow as GuidedFlow
from orthoscope.sampling.density import entropy_change as entropy_change
from orthoscope.sampling.grid import Grid as Grid
from orthoscope.sampling.grid import equalized as equalized
from orthoscope.sampling.grid import geometric as geometric
from orthoscope.sampling.grid import grid as grid
from orthoscope.sampling.grid import posterior_variance as posterior_variance
from orthoscope.sampling.grid import refined as refined
from orthoscope.sampling.grid import through as through
from orthoscope.sampling.loop import Run as Run
from orthoscope.sampling.loop import State as State
from orthoscope.sampling.loop import sample as sample
from orthoscope.sampling.loop import trajectory as trajectory
from orthoscope.sampling.noise import BrownianPath as BrownianPath
from orthoscope.sampling.noise import Independent as Independent
from orthoscope.sampling.start import start as start
from orthoscope.sampling.steps import Exponential as Exponential
from orthoscope.sampling.steps import renewed_share as renewed_share
from orthoscope.sampling.tilted import TiltedSample as TiltedSample
from orthoscope.sampling.tilted import sample_tilted as sample_tilted
