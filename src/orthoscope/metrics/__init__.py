"""Estimates from samples, each with its standard error."""

from orthoscope.metrics.correlations import mean_square_correlation as mean_square_correlation
from orthoscope.metrics.estimators import jackknife as jackknife
from orthoscope.metrics.estimators import mean_of as mean_of
from orthoscope.metrics.modes import mode_distance as mode_distance
from orthoscope.metrics.modes import mode_entropy as mode_entropy
from orthoscope.metrics.modes import mode_spread as mode_spread
from orthoscope.metrics.modes import mode_weights as mode_weights
from orthoscope.metrics.moments import frechet_distance as frechet_distance
from orthoscope.metrics.moments import mean_shift as mean_shift
from orthoscope.metrics.moments import overlap as overlap
from orthoscope.metrics.moments import participation_ratio as participation_ratio
from orthoscope.metrics.moments import total_variance as total_variance
from orthoscope.metrics.moments import variance as variance
from orthoscope.metrics.moments import variance_ratio as variance_ratio
from orthoscope.metrics.moments import variance_shift as variance_shift
