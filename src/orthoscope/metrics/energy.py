r"""Energy distance: how far samples lie from a law, all of it, not only its first two moments.

$$ E = 2\,\overline{|x - y|} - \overline{|x - x'|} - \overline{|y - y'|} $$

of samples x and exact samples y, in units of $\overline{|y - y'|}$. It is 0 for samples of the law and grows with
whatever is wrong with them: variance that was gained by leaving the data counts as a distance, not as diversity.

Source:
    Energy statistics [szekely2013energy]; derived in explanation/metrics.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from orthoscope.errors import ConfigError, ShapeError
from orthoscope.metrics.estimators import FloatArray, as_samples
from orthoscope.quantities import Estimate


def energy_distance(samples: ArrayLike, reference: ArrayLike) -> Estimate:
    """Energy distance of samples from a law, of which there are as many exact samples; 0 if they are alike.

    Accuracy:
        Unbiased in its numerator; the error is a jackknife's over pairs of rows.

    Raises:
        ShapeError: if the two sets have different coordinates.
        ConfigError: if they differ in number, there are fewer than eight, or a row is not finite.
    """
    value, n, parts = _pairwise(samples, reference)
    return Estimate(value=value, stderr=_error(parts), n=n)


def energy_difference(samples: ArrayLike, others: ArrayLike, reference: ArrayLike) -> Estimate:
    """Energy distance of samples minus that of others that were made on the same noise, row by row."""
    one, n, ours = _pairwise(samples, reference)
    two, _, theirs = _pairwise(others, reference)
    return Estimate(value=one - two, stderr=_error(ours - theirs), n=n)


def _pairwise(samples: ArrayLike, reference: ArrayLike) -> tuple[float, int, FloatArray]:
    """The distance, the number of rows, and the distance without each pair of rows."""
    x, y = as_samples(samples, least=8), as_samples(reference, least=8)
    if x.shape[1] != y.shape[1]:
        raise ShapeError(f"expected samples of {y.shape[1]} coordinates as the reference has, got {x.shape[1]}")
    if len(x) != len(y):
        raise ConfigError(f"expected as many reference samples as samples, got {len(y)} and {len(x)}")
    n = len(x)
    across, ours, its = _distances(x, y), _distances(x, x), _distances(y, y)
    # Pairs of equal index would share noise if somebody gave coupled sets: they are left out everywhere.
    cross = across - np.diag(np.diag(across))
    sums = [cross.sum(), ours.sum(), its.sum()]
    rows = [cross.sum(0) + cross.sum(1), 2 * ours.sum(0), 2 * its.sum(0)]
    pairs, fewer = n * (n - 1), (n - 1) * (n - 2)
    whole = (2 * sums[0] - sums[1] - sums[2]) / pairs / (sums[2] / pairs)
    without = [(total - row) / fewer for total, row in zip(sums, rows, strict=True)]
    return float(whole), n, (2 * without[0] - without[1] - without[2]) / without[2]


def _error(parts: FloatArray) -> float:
    """Jackknife standard error from the values without each pair of rows."""
    n = len(parts)
    return math.sqrt((n - 1) / n * float(((parts - parts.mean()) ** 2).sum()))


def _distances(x: FloatArray, y: FloatArray) -> FloatArray:
    center = y.mean(0)  # distances come from inner products, which a far origin rounds
    x, y = x - center, y - center
    squares = (x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)))
