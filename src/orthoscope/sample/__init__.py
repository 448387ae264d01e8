"""Sampling: levels to visit, noise, one-step kernels, starts and the loop, none of which knows of guidance; and, for
pairs of exact laws, the tilted law and the density of guided flows.
"""

from orthoscope.sample.corrector import predictor_corrector as predictor_corrector
from orthoscope.sample.density import GuidedFlow as GuidedFlow
from orthoscope.sample.density import entropy_change as entropy_change
from orthoscope.sample.grid import Grid as Grid
from orthoscope.sample.grid import equalized as equalized
from orthoscope.sample.grid import geometric as geometric
from orthoscope.sample.grid import grid as grid
from orthoscope.sample.grid import posterior_variance as posterior_variance
from orthoscope.sample.grid import refined as refined
from orthoscope.sample.grid import through as through
from orthoscope.sample.loop import Run as Run
from orthoscope.sample.loop import State as State
from orthoscope.sample.loop import sample as sample
from orthoscope.sample.loop import trajectory as trajectory
from orthoscope.sample.noise import BrownianPath as BrownianPath
from orthoscope.sample.noise import Independent as Independent
from orthoscope.sample.start import start as start
from orthoscope.sample.steps import Exponential as Exponential
from orthoscope.sample.steps import renewed_share as renewed_share
from orthoscope.sample.tilted import TiltedSample as TiltedSample
from orthoscope.sample.tilted import sample_tilted as sample_tilted
