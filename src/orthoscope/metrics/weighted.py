"""Images of several runs on common seeds that stand for those of another law, by weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orthoscope.metrics.contributions import Contributions, rows_of
from orthoscope.metrics.estimators import FloatArray


def effective_images(weights: FloatArray, groups: NDArray[np.int64]) -> FloatArray:
    """How many images of each group count, by Kish's formula; runs of one seed count as one.

    Args:
        weights: (runs, images).
        groups: Group of every image.

    Source:
        [kish1965survey].
    """
    shares = weights.sum(0)
    squares = [(shares[rows].sum() ** 2, np.square(shares[rows]).sum()) for rows in rows_of(groups)]
    return np.array([whole / square if square > 0 else 0.0 for whole, square in squares])


def weighted_within(
    features: FloatArray, weights: FloatArray, groups: NDArray[np.int64]
) -> tuple[FloatArray, Contributions]:
    r"""Rows whose plain means are the weighted ones, and the weighted variance within groups.

    A row is $\mu + \sum_r w_{ri}(x_{ri} - \mu)$ with $\mu$ the weighted mean of its group: rows scatter as that errs.
    With equal weights on one run they are its images, and the variance is that of `variance_within`.

    Args:
        features: (runs, images, dim).
        weights: (runs, images), of any scale within a group.
        groups: Group of every image.

    Accuracy:
        Weights are normalized by their sum: biased by the inverse of the images that count, for the variance to
        second order of it.
    """
    rows, values = np.empty(features.shape[1:]), np.empty(features.shape[1])
    for group in rows_of(groups):
        w = weights[:, group] / weights[:, group].sum(0).mean()
        center = (w[..., None] * features[:, group]).sum(0).mean(0)
        apart = features[:, group] - center
        moved = (w[..., None] * apart).sum(0)
        rows[group] = center + moved
        values[group] = (w * np.square(apart).sum(2)).sum(0) + np.square(moved).sum(1) / (len(group) - 1)
    return rows, Contributions(values=values, groups=groups)
