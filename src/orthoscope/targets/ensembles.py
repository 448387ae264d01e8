r"""Random mixtures with one mode per class: Gaussian or spherical centroids, many or exponentially many of them.

The number of classes is given, or follows from the rate $\beta$ as $M = \mathrm{round}(e^{\beta d})$.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch

from orthoscope.errors import ConfigError, unknown
from orthoscope.targets.mixture import Mixture, mixture
from orthoscope.targets.planted import Planted
from orthoscope.typing import Centroids

Ensemble = Literal["gaussian", "sphere"]
ENSEMBLES: tuple[Ensemble, ...] = ("gaussian", "sphere")
_BLOCK = 1 << 20  # numbers drawn at once, so that no float64 copy of all centroids is ever held


def class_count(dim: int, *, classes: int | None = None, rate: float | None = None) -> int:
    """The number of classes, given directly or by the rate.

    Raises:
        ConfigError: if neither or both are given, or fewer than two classes come out.
    """
    if dim < 1:
        raise ConfigError(f"dim must be at least 1, got {dim}")
    if (classes is None) == (rate is None):
        raise ConfigError("give either the number of classes or the rate, not both or neither")
    if classes is None:
        assert rate is not None
        if not (math.isfinite(rate) and rate > 0):
            raise ConfigError(f"rate must be finite and > 0, got {rate}")
        if rate * dim > math.log(2**62):
            raise ConfigError(f"exp(rate * dim) = exp({rate * dim:.0f}) classes cannot be stored; use --planted")
        classes = round(math.exp(rate * dim))
    if classes < 2:
        raise ConfigError(f"expected at least 2 classes, got {classes}; raise the number of classes, the rate or dim")
    return classes


def random_centroids(
    dim: int, classes: int, stream: np.random.Generator, *, ensemble: Ensemble = "gaussian", dtype: torch.dtype
) -> Centroids:
    """Centroids N(0, I), or uniform on the sphere of squared radius dim."""
    if ensemble not in ENSEMBLES:
        raise unknown("ensemble", ensemble, ENSEMBLES)
    centroids = torch.empty(classes, dim, dtype=dtype)
    rows = max(1, _BLOCK // dim)
    for start in range(0, classes, rows):
        block = centroids[start : start + rows]
        block.copy_(torch.from_numpy(stream.standard_normal(tuple(block.shape), dtype=np.float32)))
        if ensemble == "sphere":
            block *= math.sqrt(dim) / block.norm(dim=1, keepdim=True)
    return centroids


def random_mixture(
    dim: int,
    *,
    std: float,
    stream: np.random.Generator,
    classes: int | None = None,
    rate: float | None = None,
    ensemble: Ensemble = "gaussian",
    dtype: torch.dtype = torch.float32,
) -> Mixture:
    """A random mixture with one mode per class; class k is label k.

    Raises:
        ConfigError: if the setting is unusable (see `class_count`, `mixture`).
    Source:
        [ventura2026emergence], Gaussian centroids with M = exp(beta d).
    """
    count = class_count(dim, classes=classes, rate=rate)
    return mixture(random_centroids(dim, count, stream, ensemble=ensemble, dtype=dtype), std=std)


def random_planted(
    dim: int, *, std: float, log_classes: float, stream: np.random.Generator, dtype: torch.dtype = torch.float32
) -> Planted:
    """The planted ensemble of a random centroid N(0, I)."""
    if dim < 1:
        raise ConfigError(f"dim must be at least 1, got {dim}")
    return Planted(centroid=torch.from_numpy(stream.standard_normal(dim)).to(dtype), std=std, log_classes=log_classes)


def mixture_bytes(dim: int, log_classes: float, dtype: torch.dtype = torch.float32) -> float:
    """Memory in bytes that a random mixture needs, centroids and their padded table while it is built."""
    with np.errstate(over="ignore"):
        return float(np.exp(log_classes)) * (2 * dim + 16) * dtype.itemsize
