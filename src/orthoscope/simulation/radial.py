r"""The planted ensemble in a handful of numbers per trajectory, in any dimension.

The score of the planted ensemble sees of a state $x$ only its component $a$ along the centroid and its length
$r$ across it, and every sampler step has the form $x' = \alpha m + \beta x + \gamma z$ with coefficients that
depend on $(a, r, z_1, r')$ alone. In an orthonormal frame $e_1 = m/|m|$, $e_2$ along the rest of $x$,

$$ a' = \alpha|m| + \beta a + \gamma z_1, \qquad r'^2 = (\beta r + \gamma z_2)^2 + \gamma^2\chi^2_{d-2}, $$

so the law of $(a, r)$ is followed exactly, step by step, at a cost that does not grow with d. A second path with
the same noise and no guidance, whose law is known, rides along as a control variate: its part within the span of
$m$ and $x$ and its length outside of it need one more normal number per step.

Source:
    derived in explanation/finite-dimension.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.special import expit

from orthoscope import rng
from orthoscope.errors import ConfigError
from orthoscope.numerics import Array
from orthoscope.progress import Progress
from orthoscope.quantities import Estimate, allowing_unseen
from orthoscope.sampling import Grid, renewed_share
from orthoscope.simulation.coupled import controlled, unguided_law
from orthoscope.simulation.draw import draw
from orthoscope.simulation.setting import Simulation

_BLOCK = 8192  # pairs followed together: their state stays in the processor's cache
_FEWEST_DIM = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paths:
    """Trajectories in reduced coordinates; row i and row i of the second half share a centroid.

    Attributes:
        length: |m| of each row's centroid.
        along: Component of the state along the centroid.
        across: Length of the rest of the state.
        free_along: Component along the centroid of the unguided baseline, measured from the centroid.
        free_inside: Component of the baseline along the rest of the state.
        free_outside: Length of the baseline outside the plane of centroid and state.
    """

    length: Array
    along: Array
    across: Array
    free_along: Array
    free_inside: Array
    free_outside: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class RadialResult:
    """Estimates of a reduced simulation.

    Attributes:
        simulation: The setting.
        mean_shift: E[x.m]/E[|m|^2] minus 1.
        variance_shift: Variance per coordinate minus std^2.
        variance_shift_along: Variance along the centroid minus std^2.
        variance_shift_across: Variance per coordinate across it minus std^2.
        times: Variance times of the grid, descending.
        posterior: Mean posterior of the class at each time.
    """

    simulation: Simulation
    mean_shift: Estimate
    variance_shift: Estimate
    variance_shift_along: Estimate
    variance_shift_across: Estimate
    times: tuple[float, ...]
    posterior: tuple[Estimate, ...]


def radial(simulation: Simulation, *, length: float | None = None, progress: Progress | None = None) -> RadialResult:
    """Simulate a planted setting in reduced coordinates: `draws * samples` trajectories, two per centroid.

    Args:
        simulation: The setting; planted, in at least 4 dimensions.
        length: |m| of all centroids; each is drawn as N(0, I) if None.
        progress: Called with the blocks done and their number.

    Raises:
        ConfigError: if the setting has another rule, is not planted, or in fewer than 4 dimensions.
    """
    if simulation.setting.rule is not None:
        raise ConfigError("reduced coordinates follow linear guidance only; leave out the `rule`", field="rule")
    if not simulation.planted or simulation.dim < _FEWEST_DIM:
        raise ConfigError(
            f"reduced coordinates need the planted ensemble in at least {_FEWEST_DIM} dimensions, "
            f"got modes={simulation.modes} and dim={simulation.dim}; use `simulate`"
        )
    grid = draw(simulation).levels
    pairs = max(simulation.budget.draws * simulation.budget.samples // 2, 2)
    sizes = [min(_BLOCK, pairs - first) for first in range(0, pairs, _BLOCK)]
    columns: list[Array] = []
    moments = np.zeros((2, len(grid.levels)))
    for index, size in enumerate(sizes):
        stream = rng.stream(simulation.budget.seed, "radial", index)
        for level, paths in enumerate(follow(simulation, grid, size, stream, length=length)):
            own = expit(log_odds(simulation, paths.along, paths.across, paths.length, grid.levels[level].variance))
            pair_means = own.reshape(2, -1).mean(0)
            moments[:, level] += pair_means.sum(), (pair_means**2).sum()
        columns.append(pair_statistics(paths, simulation.dim))
        if progress is not None:
            progress(index + 1, len(sizes))
    return _result(simulation, grid, np.concatenate(columns, 1), moments / pairs, drawn=length is None)


def log_odds(simulation: Simulation, along: Array, across: Array, length: Array, variance: float) -> Array:
    """Log of p(class | x) / p(others | x) from reduced coordinates, as `Planted.log_odds`."""
    many = simulation.log_classes
    total = 1 + variance
    square = across**2
    gap = (along**2 + square) / total - ((along - length) ** 2 + square) / variance
    return -many - math.log(-math.expm1(-many)) + (gap + simulation.dim * math.log(total / variance)) / 2


def follow(
    simulation: Simulation, grid: Grid, pairs: int, stream: np.random.Generator, *, length: float | None = None
) -> Iterator[Paths]:
    """Yield the reduced paths at every level of the grid."""
    lengths = np.sqrt(stream.chisquare(simulation.dim, pairs)) if length is None else np.full(pairs, length)
    paths = _begin(simulation, grid, np.tile(lengths, 2), stream)
    yield paths
    for level, next_level in pairwise(grid.levels):
        ends = level, next_level, next_level.from_noise_side(level.step)
        strengths = (float(simulation.setting.schedule.strength(ends[k])) for k in (0, 2))
        paths = _step(simulation, paths, float(level.variance), float(next_level.variance), *strengths, stream=stream)
        yield paths


def _begin(simulation: Simulation, grid: Grid, length: Array, stream: np.random.Generator) -> Paths:
    exact = simulation.setting.start == "exact"
    width = math.sqrt(grid.levels[0].variance + (0 if exact else 1))
    along = width * stream.standard_normal(length.size) + (length if exact else 0)
    across = width * np.sqrt(stream.chisquare(simulation.dim - 1, length.size))
    return Paths(
        length=length,
        along=along,
        across=across,
        free_along=along - length,
        free_inside=across,
        free_outside=np.zeros_like(across),
    )


def _step(
    simulation: Simulation,
    at: Paths,
    high: float,
    low: float,
    strength: float,
    next_strength: float,
    *,
    stream: np.random.Generator,
) -> Paths:
    """One step of `Exponential` from variance `high` to `low`, in law."""
    lam = simulation.setting.lam
    ratio = low / high
    keep, noise = ratio ** ((1 + lam**2) / 2), math.sqrt(low * renewed_share(ratio, lam))
    first, second, third = stream.standard_normal((3, at.along.size))
    rest = np.sqrt(stream.chisquare(simulation.dim - 3, at.along.size))

    def mean(along: Array, across: Array, variance: float, w: float) -> tuple[Array, Array]:
        # Coefficients of centroid and state in the guided denoised mean.
        others = w * expit(-log_odds(simulation, along, across, at.length, variance))
        return 1 + others, -others / (1 + variance)

    def moved(centroid: Array, state: Array, amplitude: Array) -> tuple[Array, Array, Array, Array]:
        along = centroid * at.length + state * at.along + amplitude * first
        return along, state * at.across + amplitude * second, amplitude * third, amplitude * rest

    centroid, state = mean(at.along, at.across, high, strength)
    alpha, beta = (1 - keep) * centroid, keep + (1 - keep) * state
    gamma = np.full_like(alpha, noise)
    if simulation.numerics.order == 2:
        along, *others = moved(alpha, beta, gamma)
        end_centroid, end_state = mean(along, _norm(*others), low, next_strength)
        half = (1 - keep) / 2
        alpha, beta, gamma = (
            half * (centroid + end_centroid + end_state * alpha),
            keep + half * (state + end_state * beta),
            gamma * (1 + half * end_state),
        )
    along, *others = moved(alpha, beta, gamma)
    baseline = keep * at.free_inside + noise * second, keep * at.free_outside + noise * third, noise * rest
    across = _norm(*others)
    inside = sum(x * y for x, y in zip(others, baseline, strict=True)) / across
    return Paths(
        length=at.length,
        along=along,
        across=across,
        free_along=keep * at.free_along + noise * first,
        free_inside=inside,
        free_outside=np.sqrt(np.maximum(_norm(*baseline) ** 2 - inside**2, 0)),
    )


def _norm(first: Array, second: Array, third: Array) -> Array:
    return np.sqrt(first**2 + second**2 + third**2)


def pair_statistics(paths: Paths, dim: int) -> Array:
    """Per pair: shift, variance along and across, |m|^2/d - 1, and the unguided baselines' shift and variances.

    Two rows with one centroid give the variance about their common mean without knowing that mean.
    """

    def halves(value: Array) -> tuple[Array, Array]:
        return value[: value.size // 2], value[value.size // 2 :]

    def column(along: Array, square_across: Array, shift: Array) -> list[Array]:
        (a, b), (c, d), (e, f) = halves(along), halves(square_across), halves(shift)
        return [(e + f) / 2, (a - b) ** 2 / 2, (c + d) / (2 * (dim - 1))]

    guided = column(paths.along, paths.across**2, paths.along / paths.length - 1)
    square = paths.free_inside**2 + paths.free_outside**2
    excess = halves(paths.length)[0] ** 2 / dim - 1
    return np.array([*guided, excess, *column(paths.free_along, square, paths.free_along / paths.length)])


def _result(simulation: Simulation, grid: Grid, pairs: Array, posteriors: Array, *, drawn: bool) -> RadialResult:
    dim, base = simulation.dim, simulation.setting.law.std**2
    shift, along, across, excess, *baseline = pairs
    known_shift, known_variance = unguided_law(simulation, grid)
    free_shift, free_along, free_across = np.array(baseline) - [[known_shift], [known_variance], [known_variance]]
    lengths = (excess, excess**2 - 2 / dim) if drawn else ()  # |m|^2/d - 1 has mean 0 and variance 2/d
    weight = 1 + excess if drawn else 1.0  # of known mean 1: the ratio of means needs no division

    def estimate(values: Array, baseline: Array) -> Estimate:
        return replace(controlled(values, np.array([baseline, *lengths])), n=2 * shift.size)

    def mixed(first: Array, second: Array) -> Array:
        return (first + (dim - 1) * second) / dim

    mean, square = posteriors
    errors = np.sqrt(np.maximum(square - mean**2, 0) / (shift.size - 1))
    return RadialResult(
        simulation=simulation,
        mean_shift=estimate(weight * shift, weight * free_shift),
        variance_shift=estimate(mixed(along, across), mixed(free_along, free_across)).affine(shift=-base),
        variance_shift_along=estimate(along, free_along).affine(shift=-base),
        variance_shift_across=estimate(across, free_across).affine(shift=-base),
        times=grid.times,
        posterior=tuple(
            _share(Estimate(value=float(p), stderr=float(e), n=2 * shift.size))
            for p, e in zip(mean, errors, strict=True)
        ),
    )


def _share(found: Estimate) -> Estimate:
    return allowing_unseen(found, spread=found.stderr * math.sqrt(found.n), units=found.n)
