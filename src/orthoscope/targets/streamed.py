"""Mixtures whose modes are not kept in memory: read from a file, or drawn again from their seed, at every evaluation.

A source hands out its centroids in blocks; each becomes a small table and is read by all rows before the next one is
needed, while a thread already prepares that. Only the modes of classes that were asked for by name stay in memory.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orthoscope.errors import ConfigError, ShapeError
from orthoscope.laws import Ensemble
from orthoscope.reading import map_array
from orthoscope.targets.ensembles import centroid_blocks
from orthoscope.targets.mixture import IsotropicModes, Mixture, check_std
from orthoscope.targets.modes import Table, blocks, mode_table
from orthoscope.typing import Centroids, Labels, PerRow, Rows, Vector

_BLOCK = 1 << 20  # numbers read from a file at once


class Source(ABC):
    """Where centroids come from, always in the same order."""

    dim: int
    modes: int

    @abstractmethod
    def blocks(self) -> Iterator[Centroids]:
        """All centroids, block by block, in float32."""

    def picked(self, indices: Tensor) -> Centroids:
        """The centroids of some modes, in any order; unless said otherwise, found by going through the blocks."""
        found, start = torch.empty(len(indices), self.dim), 0
        for block in self.blocks():
            here = (indices >= start) & (indices < start + len(block))
            found[here] = block[indices[here] - start]
            start += len(block)
            if start > int(indices.max()):
                break
        return found


@dataclass(frozen=True, eq=False, kw_only=True)
class Regenerated(Source):
    """Random centroids drawn again for every pass: the same numbers as `random_mixture` from the same stream.

    Attributes:
        dim: Dimension.
        modes: Number of modes.
        stream: Makes the random stream anew, from its start.
        ensemble: `gaussian` or `sphere`.
    """

    dim: int
    modes: int
    stream: Callable[[], np.random.Generator]
    ensemble: Ensemble = "gaussian"

    def blocks(self) -> Iterator[Centroids]:
        """All centroids, drawn from the start of the stream."""
        return centroid_blocks(self.dim, self.modes, self.stream(), ensemble=self.ensemble)


@dataclass(frozen=True, eq=False, kw_only=True)
class OnFile(Source):
    """Centroids in a NumPy file, one row per mode, of which one block at a time is in memory.

    Attributes:
        path: The file.
    """

    path: Path

    def __post_init__(self) -> None:
        """Look at the file's header.

        Raises:
            ConfigError: if the file cannot be read or does not hold numbers.
            ShapeError: if it is no matrix.
        """
        array = self._open()
        if array.dtype.kind != "f":
            raise ConfigError(f"expected floating-point centroids in {self.path}, got {array.dtype}")
        if array.ndim != 2 or not array.size:
            raise ShapeError(f"expected one centroid per row in {self.path}, got an array of shape {array.shape}")
        object.__setattr__(self, "modes", array.shape[0])
        object.__setattr__(self, "dim", array.shape[1])

    def blocks(self) -> Iterator[Centroids]:
        """All centroids; the file is mapped anew for each block, so that what was read does not stay in memory.

        Raises:
            ConfigError: if a number is not finite.
        """
        for block in blocks(self.modes, _BLOCK // self.dim):
            centroids = torch.from_numpy(np.array(self._open()[block], dtype=np.float32))
            if not bool(torch.isfinite(centroids).all()):
                raise ConfigError(f"rows {block.start} to {block.stop} of {self.path} hold NaN or infinity; drop them")
            yield centroids

    def picked(self, indices: Tensor) -> Centroids:
        """The centroids of some modes, read alone."""
        return torch.from_numpy(np.array(self._open()[indices.cpu().numpy()], dtype=np.float32))

    def _open(self) -> NDArray[Any]:
        return map_array(self.path, "an .npy file with one centroid per row")


@dataclass(frozen=True, eq=False, kw_only=True)
class Streamed(IsotropicModes):
    """Isotropic modes of common width and equal weights that stay where they come from; made by `streamed`.

    Attributes:
        source: Where they come from.
        labels: Class of each mode; None if mode k is class k.
    """

    source: Source
    labels: Labels | None = field(default=None, repr=False)
    _classes: dict[int, Centroids] = field(default_factory=dict, repr=False)

    @property
    def size(self) -> int:
        """Number of modes."""
        return self.source.modes

    @property
    def log_total(self) -> float:
        """Log of the number of modes."""
        return math.log(self.size)

    def tables(self, *, without: int | None = None) -> Iterator[Table]:
        """One table per block of the source, the next one prepared while one is read."""
        return ahead(self._tables(torch.empty(0, dtype=torch.long) if without is None else self._members(without)))

    def _tables(self, left_out: Tensor) -> Iterator[Table]:
        start = 0
        for block in self.source.blocks():
            here = left_out[(left_out >= start) & (left_out < start + len(block))] - start
            start += len(block)
            if len(here):
                kept = torch.ones(len(block), dtype=torch.bool)
                kept[here] = False
                block = block[kept]
            centroids = block.to(self.center)
            yield mode_table(centroids, centroids.new_zeros(len(centroids)), self.center)

    def conditional(self, label: int) -> Mixture:
        """The modes of one class, as a mixture in memory."""
        if label not in self._classes:
            self._classes[label] = self.source.picked(self._members(label)).to(self.center)
        own = self._classes[label]
        table = mode_table(own, own.new_zeros(len(own)), self.center)
        return Mixture(table=table, labels=torch.full((len(own),), label), center=self.center, std=self.std)

    def transport(self, uniform: PerRow, normal: Rows) -> Rows:
        """Pick a mode by the uniform number, then add its Gaussian."""
        mode = (uniform.double().cpu() * self.size).long().clamp_max(self.size - 1)
        return self.source.picked(mode).to(self.center) + self.std * normal.to(self.center)

    def _members(self, label: int) -> Tensor:
        if self.labels is None:
            members = torch.tensor([label] if 0 <= label < self.size else [])
        else:
            members = torch.nonzero(self.labels == label).flatten().cpu()
        if not len(members):
            raise ConfigError(f"label {label} is not present; classes are those of {self.size} modes")
        return members.long()


def streamed(
    source: Source,
    *,
    std: float,
    labels: Labels | None = None,
    center: Vector | None = None,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> Streamed:
    """A mixture of modes that are not kept in memory.

    Args:
        source: `Regenerated` or `OnFile`.
        std: Common within-mode standard deviation, >= 0.
        labels: Class of each mode; mode k is class k if None.
        center: Point near the modes' mean from which logits are measured; the origin if None.
        dtype: Floating-point type of reads, states and samples.
        device: Torch device on which modes are read.

    Raises:
        ConfigError: if std is negative or not finite.
        ShapeError: if there is not one label per mode.
    """
    check_std(std)
    if labels is not None and len(labels) != source.modes:
        raise ShapeError(f"expected one label per mode, got {len(labels)} labels for {source.modes} modes")
    center = torch.zeros(source.dim) if center is None else center
    return Streamed(source=source, std=float(std), labels=labels, center=center.to(device=device, dtype=dtype))


def ahead(tables: Iterator[Table]) -> Iterator[Table]:
    """The same items, each asked for in a thread while the one before is in use."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, tables, None)
        while (table := coming.result()) is not None:
            coming = thread.submit(next, tables, None)
            yield table
