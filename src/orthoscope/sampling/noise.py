r"""Where a run's randomness comes from; always an argument, never global state.

`IndependentNoise` draws from one counter-based stream per trajectory, so its noise does not depend on the batch.
`BrownianPath` is one path that can be queried on any coarser grid: in the clock $v^{-\lambda^2}$ the noise of all
steps is the increment of one Brownian motion, which is what convergence tests and coupled step sizes need.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch

from orthoscope import rng
from orthoscope.errors import ConfigError
from orthoscope.process import NoiseLevel
from orthoscope.typing import Events

_STEPS, _NUMBERS = 8, 1 << 20  # drawn ahead, at most: what a run does not use of them is lost

# Standard normal noise of one step, independent between disjoint steps: (level, next level) -> one normal per row.
Noise: TypeAlias = Callable[[NoiseLevel, NoiseLevel], torch.Tensor]


def silence(level: NoiseLevel, next_level: NoiseLevel) -> Events:
    """The noise of a run that was given none.

    Raises:
        ConfigError: always.
    """
    raise ConfigError("this step needs noise; pass it, or a step without, such as Exponential(lam=0) for the ODE")


@dataclass(frozen=True, eq=False)
class IndependentNoise:
    """Fresh noise at every step, one stream per trajectory.

    Attributes:
        streams: One stream per row, from `rng.row_streams`; drawn from in order, some steps ahead, and by nobody else.
        shape: Event shape of one row.
        like: Tensor whose type and device the noise takes.
    """

    streams: Sequence[np.random.Generator]
    shape: tuple[int, ...]
    like: torch.Tensor
    _ahead: list[torch.Tensor] = field(default_factory=list, init=False, repr=False)

    def __call__(self, level: NoiseLevel, next_level: NoiseLevel) -> Events:
        """The next standard normal of every stream; levels play no part."""
        if not self._ahead:
            self._ahead.extend(self._drawn())
        return self._ahead.pop().to(self.like)

    def _drawn(self) -> Iterator[torch.Tensor]:
        """The noise of the next few steps, the last one first: a call of a stream costs more than a few numbers."""
        size = max(1, len(self.streams) * math.prod(self.shape))
        steps = max(1, min(_STEPS, _NUMBERS // size))
        double = self.like.dtype == torch.float64
        block = np.empty((len(self.streams), steps, *self.shape), dtype=np.float64 if double else np.float32)
        for row, stream in zip(block, self.streams, strict=True):
            stream.standard_normal(out=row, dtype=block.dtype)
        return (torch.from_numpy(np.ascontiguousarray(block[:, k])) for k in reversed(range(steps)))


@dataclass(frozen=True, eq=False)
class BrownianPath:
    """One Brownian path per trajectory, fixed on the variances of a finest grid.

    Attributes:
        seed: Root seed.
        rows: Number of trajectories.
        dim: Coordinates per row.
        variances: Noise variances of the finest grid, descending.
        lam: Noise content of the sampler, > 0.
        dtype: Floating-point type of the noise; the path itself is kept in float64.
    """

    seed: int
    rows: int
    dim: int
    variances: Sequence[float]
    lam: float = 1.0
    dtype: torch.dtype = torch.float64
    _path: torch.Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Draw the whole path once."""
        if not self.lam > 0:
            raise ConfigError("a run with lam = 0 has no noise and needs no path")
        clock = np.asarray(self.variances, dtype=np.float64) ** -(self.lam**2)
        normals = rng.stream(self.seed, "brownian").standard_normal((len(clock) - 1, self.rows, self.dim))
        steps = np.sqrt(np.diff(clock))[:, None, None] * normals
        path = np.concatenate([np.zeros((1, self.rows, self.dim)), np.cumsum(steps, 0)])
        object.__setattr__(self, "_path", torch.from_numpy(path))

    def __call__(self, level: NoiseLevel, next_level: NoiseLevel) -> Events:
        """The normalized increment between two levels of the finest grid."""
        start, end = self._index(level), self._index(next_level)
        v, v_next = self.variances[start], self.variances[end]
        increment = self._path[end] - self._path[start]
        return (increment / (v_next ** -(self.lam**2) - v ** -(self.lam**2)) ** 0.5).to(self.dtype)

    def _index(self, level: NoiseLevel) -> int:
        gaps = np.abs(np.log(np.asarray(self.variances) / level.variance))
        nearest = int(gaps.argmin())
        if gaps[nearest] > 1e-9:
            raise ConfigError(f"variance {level.variance} is not on this path's finest grid")
        return nearest
