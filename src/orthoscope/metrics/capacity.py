r"""How many classes a Gaussian cloud of class means can hold apart.

Of $K$ classes at random with covariance $B$ between and $W$ within, noise-free data tell about
$C = \tfrac12\log\det(1 + W^{-1}B)$ nats each: with more than $e^C$ classes the theory's dense regime begins. The load
$\log K/C$ is the rate over the critical rate, direction by direction. $\log K$ over a participation ratio is no such
measure: directions in which classes hardly differ count for little in it, but hold many classes where the width within
classes is as small.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthoscope.errors import ShapeError
from orthoscope.metrics.estimators import FloatArray, as_samples

_FLOOR = 1e-6  # of the mean variance within classes: directions without any are not infinitely wide


def class_covariances(x: ArrayLike, labels: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    """Covariances between the means of classes of equal frequency and within classes, (dim, dim) each.

    Args:
        x: One point per row.
        labels: Class of each.

    Accuracy:
        Unbiased: what points within classes add to the scatter of the means is taken off. Between may therefore have
        small negative eigenvalues.

    Raises:
        ShapeError: if there is not one label per row, or a class has fewer than two.
    """
    rows = as_samples(x)
    names, own, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(own) != len(rows) or counts.min() < 2 or len(names) < 2:
        raise ShapeError(
            f"expected a label per row and two rows or more of each of two classes, got {len(own)} labels of "
            f"{len(names)} classes for {len(rows)} rows"
        )
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, own, rows)
    means = sums / counts[:, None]
    inner = (rows - means[own]) / np.sqrt((counts - 1) * len(names))[own, None]
    within = inner.T @ inner
    outer = (means - means.mean(0)) / math.sqrt(len(names) - 1)
    noise = rows - means[own]
    noise = noise / np.sqrt(counts * (counts - 1) * len(names))[own, None]
    return outer.T @ outer - noise.T @ noise, within


def gaussian_capacity(between: FloatArray, within: FloatArray) -> float:
    """Nats that a point tells about its class, at most, where classes are many and Gaussian.

    Args:
        between: Covariance of the means (dim, dim); negative eigenvalues count as 0.
        within: Covariance within classes (dim, dim).
    """
    floor = _FLOOR * np.trace(within) / len(within) * np.eye(len(within))
    root = np.linalg.cholesky(within + floor)
    white = np.linalg.solve(root, np.linalg.solve(root, between).T)
    return float(np.log1p(np.clip(np.linalg.eigvalsh((white + white.T) / 2), 0, None)).sum() / 2)
