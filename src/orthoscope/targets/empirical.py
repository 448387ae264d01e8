"""Data as a mixture: every point a mode, all with one bandwidth, so that the score of a data set is exact.

The bandwidth is the one under which each point is most probable given all the others (leave-one-out likelihood).
"""

from __future__ import annotations

import math

import torch
from scipy.optimize import minimize_scalar

from orthoscope.errors import ConfigError, ShapeError
from orthoscope.targets.mixture import Mixture, mixture
from orthoscope.typing import Centroids, Labels

_BLOCK_ROWS = 512
_MANY = 8192  # points, from which on some of them stand for all
_SOME = 512


def leave_one_out(points: Centroids, std: float) -> float:
    """Mean log-density of each point under the kernels of all the others, in nats.

    Accuracy:
        Exact up to 8,192 points. Of more, 512 that are spread evenly over their order stand for all.
    """
    n, dim = points.shape
    data = points.double() - points.double().mean(0)  # distances come from inner products, which a far origin rounds
    asked = torch.arange(n) if n <= _MANY else torch.arange(_SOME) * n // _SOME
    total = 0.0
    for start in range(0, len(asked), _BLOCK_ROWS):
        rows = asked[start : start + _BLOCK_ROWS]
        squares = torch.cdist(data[rows], data).square_()
        squares[torch.arange(len(rows)), rows] = math.inf
        total += float((squares / (-2 * std**2)).logsumexp(1).sum())
    return total / len(asked) - math.log(n - 1) - dim / 2 * math.log(2 * math.pi * std**2)


def bandwidth(points: Centroids) -> float:
    """The leave-one-out optimal bandwidth, in data units.

    Accuracy:
        1e-4 relative, by bounded search over the logarithm of the bandwidth; of more than 8,192 points besides what
        512 of them leave open, some percent.

    Raises:
        ConfigError: if there are fewer than three points, or exact duplicates make the likelihood unbounded.
    """
    if len(points) < 3:
        raise ConfigError(f"expected at least 3 points to choose a bandwidth from, got {len(points)}; give std instead")
    scale = float(points.double().var(0).sum().sqrt())
    if not scale > 0:
        raise ConfigError("all points coincide, so no bandwidth fits them; give std instead")
    if not math.isfinite(scale):
        raise ConfigError("the points are so far apart that their squares overflow; rescale them", field="x")
    low, high = math.log(scale * 1e-4), math.log(scale)
    found = minimize_scalar(
        lambda log_std: -leave_one_out(points, math.exp(log_std)),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-4},
    )
    if found.x < low + 0.01:
        raise ConfigError("exact duplicates make the leave-one-out bandwidth zero; drop them or give std")
    return math.exp(float(found.x))


def empirical_mixture(points: Centroids, labels: Labels, *, std: float | None = None) -> Mixture:
    """A labelled data set as a mixture with one mode per point.

    Args:
        points: One data point per row.
        labels: Class of each point.
        std: Bandwidth; chosen by leave-one-out likelihood if None.

    Raises:
        ConfigError: if the data holds NaN or infinity, or a single class.
        ShapeError: if there is not one label per point.
    """
    if len(labels) != len(points):
        raise ShapeError(f"expected one label per row, got {len(labels)} labels for {len(points)} rows")
    if not bool(torch.isfinite(points).all()):
        bad = int((~torch.isfinite(points).all(1)).sum())
        raise ConfigError(f"{bad} of {len(points)} rows hold NaN or infinity; clean or drop them first", field="x")
    if (classes := len(torch.unique(labels))) < 2:
        raise ConfigError(f"guidance needs at least 2 classes, got {classes}", field="labels")
    return mixture(points, std=bandwidth(points) if std is None else std, labels=labels)
