r"""Random mixtures with one mode per class: Gaussian or spherical centroids, many or exponentially many of them.

The number of classes is given, or follows from the rate $\beta$ as $M = \mathrm{round}(e^{\beta d})$.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

from orthoscope.errors import ConfigError, unknown
from orthoscope.laws import ENSEMBLES, Ensemble
from orthoscope.targets.mixture import Mixture, check_std, from_table
from orthoscope.targets.modes import blank_table, blocks, table_columns
from orthoscope.targets.planted import Planted
from orthoscope.typing import Centroids

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
            raise ConfigError(
                f"exp(rate * dim) = exp({rate * dim:.0f}) classes cannot be stored; use `modes` planted",
                field=("rate", "dim"),
            )
        classes = round(math.exp(rate * dim))
    if classes < 2:
        raise ConfigError(f"expected at least 2 classes, got {classes}; raise the number of classes, the rate or dim")
    return classes


def centroid_blocks(
    dim: int,
    classes: int,
    stream: np.random.Generator,
    *,
    ensemble: Ensemble = "gaussian",
    dtype: torch.dtype = torch.float32,
) -> Iterator[Centroids]:
    """Centroids N(0, I), or uniform on the sphere of squared radius dim, in blocks; drawn in float32 for any dtype.

    Raises:
        ConfigError: if the ensemble is unknown.
    """
    if ensemble not in ENSEMBLES:
        raise unknown("ensemble", ensemble, ENSEMBLES)
    for part in blocks(classes, _BLOCK // dim):
        block = torch.from_numpy(stream.standard_normal((part.stop - part.start, dim), dtype=np.float32)).to(dtype)
        yield block if ensemble == "gaussian" else block * (math.sqrt(dim) / block.norm(dim=1, keepdim=True))


def random_centroids(
    dim: int,
    classes: int,
    stream: np.random.Generator,
    *,
    ensemble: Ensemble = "gaussian",
    dtype: torch.dtype,
    out: Centroids | None = None,
) -> Centroids:
    """All of `centroid_blocks` in one array, or in one that is given."""
    centroids = torch.empty(classes, dim, dtype=dtype) if out is None else out
    start = 0
    for block in centroid_blocks(dim, classes, stream, ensemble=ensemble, dtype=dtype):
        centroids[start : start + len(block)] = block
        start += len(block)
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
    check_std(std)
    table = blank_table(count, dim, like=torch.empty(0, dtype=dtype))
    random_centroids(dim, count, stream, ensemble=ensemble, dtype=dtype, out=table[:, :dim])
    return from_table(table, dim, std=std)


def random_planted(
    dim: int, *, std: float, log_classes: float, stream: np.random.Generator, dtype: torch.dtype = torch.float32
) -> Planted:
    """The planted ensemble of a random centroid N(0, I)."""
    if dim < 1:
        raise ConfigError(f"dim must be at least 1, got {dim}")
    return Planted(centroid=torch.from_numpy(stream.standard_normal(dim)).to(dtype), std=std, log_classes=log_classes)


def mixture_bytes(dim: int, log_classes: float, dtype: torch.dtype = torch.float32) -> float:
    """Memory in bytes that a random mixture needs: its padded table and labels."""
    with np.errstate(over="ignore"):
        return float(np.exp(log_classes)) * (table_columns(dim) * dtype.itemsize + torch.int64.itemsize)
