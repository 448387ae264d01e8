r"""Grids: the noise levels that a run visits, from the noise side to clean data.

All grids place their levels by a density in $\log v$, $v = \sigma^2$:

- `geometric`: uniform;
- `refined`: half of the levels concentrated round one variance, where the class is decided;
- `equalized`: equal drops of the posterior variance of the target, measured on its own noised samples.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from orthoscope import rng
from orthoscope.errors import ConfigError
from orthoscope.process import NoiseLevel, Process
from orthoscope.targets import Target

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Noise levels in the order in which a run visits them, numbered.

    Attributes:
        levels: At least two levels, strictly descending in time.
    """

    levels: tuple[NoiseLevel, ...]

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.levels) - 1

    @property
    def times(self) -> tuple[float, ...]:
        """Variance times, descending."""
        return tuple(float(level.time) for level in self.levels)


def grid(process: Process, times: Sequence[float]) -> Grid:
    """The grid through given variance times, descending to clean data or to the noise at which a run stops.

    Raises:
        ConfigError: if the times are not finite, strictly descending and >= 0.
    """
    if len(times) < 2 or not times[-1] >= 0 or not all(math.isfinite(t) for t in times):
        raise ConfigError("a grid needs at least two finite times, all >= 0; steps must be >= 1")
    if any(b >= a for a, b in itertools.pairwise(times)):
        raise ConfigError("the times of a grid must be strictly descending")
    levels = (process.at(float(t)) for t in times)
    steps = len(times) - 1
    return Grid(tuple(replace(level, step=k, steps=steps) for k, level in enumerate(levels)))


def _check(process: Process, t_max: float, steps: int, end: float = 0.0) -> None:
    if not (math.isfinite(t_max) and t_max > 0):
        raise ConfigError(f"t_max must be finite and > 0 to make a grid, got {t_max}")
    if steps < 1:
        raise ConfigError(f"steps must be >= 1, got {steps}")
    if not 0 <= end < t_max:
        raise ConfigError(f"a grid ends at a time from 0 to below t_max = {t_max:g}, got end={end:g}")
    if process.offset + end <= 0:
        raise ConfigError(
            "this grid divides log(sigma^2) and cannot reach 0: use a process with an offset > 0, or an end > 0"
        )


def _through_density(
    process: Process, t_max: float, steps: int, share: Callable[[FloatArray], FloatArray], end: float = 0.0
) -> Grid:
    """Levels at equal shares of a cumulative density over log v, descending."""
    fine = np.linspace(math.log(process.offset + t_max), math.log(process.offset + end), 4097)
    cumulative = share(fine)
    cumulative = (cumulative - cumulative[0]) / (cumulative[-1] - cumulative[0])
    log_v = np.interp(np.linspace(0, 1, steps + 1), cumulative, fine)
    times = np.exp(log_v) - process.offset
    times[0], times[-1] = t_max, end
    return grid(process, times.tolist())


def geometric(process: Process, t_max: float, steps: int, *, end: float = 0.0) -> Grid:
    """Equal ratios of the variance that the denoiser sees.

    Args:
        process: Chart.
        t_max: Variance time of the first level.
        steps: Number of steps.
        end: Variance time of the last level; above 0 for a target without width, whose process has no offset.

    Raises:
        ConfigError: if a number is out of range, or neither the process has an offset nor the grid an end > 0.
    """
    _check(process, t_max, steps, end)
    return _through_density(process, t_max, steps, lambda log_v: -log_v, end)


def geometric_in_time(process: Process, t_max: float, steps: int, *, end: float) -> Grid:
    """Equal ratios of the variance time, as networks ask: errors of their denoised means count with dt/t.

    Args:
        process: Chart.
        t_max: Variance time of the first level.
        steps: Number of steps.
        end: Variance time of the last level, > 0.

    Raises:
        ConfigError: if a number is out of range.
    """
    _check(process, t_max, steps, end)
    if end <= 0:
        raise ConfigError(f"levels that are even in the logarithm of the time end above 0, got {end}", field="end")
    return grid(process, np.geomspace(t_max, end, steps + 1).tolist())


def refined(process: Process, t_max: float, steps: int, *, center: float, width: float, weight: float = 0.5) -> Grid:
    """Geometric, with a share of the levels concentrated round one variance time.

    Args:
        process: Chart with an offset.
        t_max: Variance time of the first level.
        steps: Number of steps.
        center: Variance time at which the class is decided.
        width: Width of the concentration in log v; the transition's is about dim**-0.5.
        weight: Share of the levels that is concentrated.

    Raises:
        ConfigError: if a number is out of range, or the process has no offset.
    """
    _check(process, t_max, steps)
    if not (width > 0 and 0 <= weight < 1 and center >= 0):
        raise ConfigError(f"expected width > 0, 0 <= weight < 1 and center >= 0, got {width}, {weight} and {center}")
    middle = math.log(process.offset + center)
    span = math.log((process.offset + t_max) / process.offset)

    def share(log_v: FloatArray) -> FloatArray:
        return -(1 - weight) * log_v / span - weight / 2 * np.tanh((log_v - middle) / width)

    return _through_density(process, t_max, steps, share)


def equalized(
    process: Process,
    t_max: float,
    steps: int,
    *,
    posterior_variance: Callable[[NoiseLevel], float],
    weight: float = 0.5,
) -> Grid:
    """Geometric, with a share of the levels placed at equal drops of the posterior variance.

    Args:
        process: Chart with an offset.
        t_max: Variance time of the first level.
        steps: Number of steps.
        posterior_variance: Variance of the clean state given the noisy one, at a level; see `posterior_variance`.
        weight: Share of the levels that is placed so.

    Raises:
        ConfigError: if a number is out of range, or the process has no offset.
    """
    _check(process, t_max, steps)
    if not 0 <= weight < 1:
        raise ConfigError(f"weight must lie in [0, 1), got {weight}")
    nodes = np.linspace(math.log(process.offset + t_max), math.log(process.offset), 49)
    left = np.array([posterior_variance(process.at(max(math.exp(u) - process.offset, 0.0))) for u in nodes])
    dropped = np.maximum.accumulate(left[0] - left)  # measured, so not exactly monotone
    span = nodes[0] - nodes[-1]
    scale = dropped[-1] or 1.0

    def share(log_v: FloatArray) -> FloatArray:
        return -(1 - weight) * log_v / span + weight * np.interp(-log_v, -nodes, dropped) / scale

    return _through_density(process, t_max, steps, share)


def posterior_variance(target: Target, *, n: int = 256, seed: int = 0) -> Callable[[NoiseLevel], float]:
    """Total posterior variance of the clean state at a level, over the target's own noised samples.

    Accuracy:
        Exact for each sample; a mean over n of them, the same at every level.
    """
    stream = rng.stream(seed, "posterior variance")
    clean = target.sample(n, stream)
    normal = torch.from_numpy(stream.standard_normal((n, target.dim))).to(clean)

    def at(level: NoiseLevel) -> float:
        return float(target.posterior_variance(clean + float(level.sigma) * normal, level).mean())

    return at


def through(base: Grid, process: Process, times: Sequence[float]) -> Grid:
    """The grid with further variance times inserted, so that no step straddles a jump of a schedule."""
    inside = {t for t in times if base.times[-1] < t < base.times[0]}
    return grid(process, sorted(inside | set(base.times), reverse=True))
