"""Distributions of which score, density, class posterior and samples are known exactly at every noise level."""

from orthoscope.targets.ball import Ball as Ball
from orthoscope.targets.base import CLEAN as CLEAN
from orthoscope.targets.base import Target as Target
from orthoscope.targets.blend import Blend as Blend
from orthoscope.targets.blend import blend as blend
from orthoscope.targets.covariant import Covariant as Covariant
from orthoscope.targets.covariant import covariant as covariant
from orthoscope.targets.empirical import bandwidth as bandwidth
from orthoscope.targets.empirical import empirical_mixture as empirical_mixture
from orthoscope.targets.ensembles import class_count as class_count
from orthoscope.targets.ensembles import random_mixture as random_mixture
from orthoscope.targets.ensembles import random_planted as random_planted
from orthoscope.targets.gaussian import Gaussian as Gaussian
from orthoscope.targets.gaussian import Pair as Pair
from orthoscope.targets.intervals import Intervals as Intervals
from orthoscope.targets.intervals import box as box
from orthoscope.targets.mixture import Mixture as Mixture
from orthoscope.targets.mixture import mixture as mixture
from orthoscope.targets.planted import Planted as Planted
from orthoscope.targets.structured import Manifold as Manifold
from orthoscope.targets.structured import manifold_mixture as manifold_mixture
from orthoscope.targets.structured import multimodal_mixture as multimodal_mixture
from orthoscope.targets.structured import random_manifold as random_manifold
