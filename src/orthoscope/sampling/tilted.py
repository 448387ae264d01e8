r"""Samples of the tilted law $p_c^{1+w}p_u^{-w}$, which guidance alone does not draw from: weighted paths.

Along the guided reverse process of any noise content, with $v$ falling, a path that carries the weight

$$ d\log W = \tfrac12 w(1+w)\,|s_c - s_u|^2\,d\tau + \frac{dw}{d\tau}\log\frac{p_c}{p_u}\,d\tau $$

represents the tilted law at every level (derived in explanation/tilted). Paths of one island are resampled from their
weights when the effective sample size falls; islands never meet, so that their spread is an honest standard error.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from orthoscope import rng
from orthoscope.errors import ConfigError, DivergenceError
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.quantities import Estimate
from orthoscope.sampling.grid import Grid, geometric, through
from orthoscope.sampling.langevin import Look, look, move
from orthoscope.sampling.noise import Independent
from orthoscope.sampling.proposal import check_tilt, proposal
from orthoscope.sampling.steps import Exponential
from orthoscope.targets import Pair
from orthoscope.typing import PerRow, Rows

Islands = Float[Tensor, "islands particles"]


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class TiltedSample:
    """Weighted samples of the tilted law at the last level of their grid.

    Attributes:
        x: Rows of all islands, one island after the other.
        weights: Weight of each row; each island's weights sum to 1.
        log_normalizer: Log of the integral of p_c^(1+w) p_u^(-w), in nats: w times the Renyi divergence of order 1+w
            of the conditional from the unconditional law.
        times: Variance times of the grid.
        ess: Effective sample size as a share of the particles at each time, averaged over islands, before resampling.
        resampled: How often an island was resampled.
        acceptance: Share of Langevin moves accepted; nan without moves.
    """

    x: Rows
    weights: Islands
    log_normalizer: Estimate
    times: tuple[float, ...]
    ess: NDArray[np.float64]
    resampled: int
    acceptance: float

    def expect(self, values: PerRow) -> Estimate:
        """The mean of a function of the rows under the tilted law, with its error between islands.

        Accuracy:
            Bias of self-normalized weights, about 1 / (effective sample size of one island).
        """
        means = (self.weights * values.double().reshape(self.weights.shape)).sum(1).numpy()
        count = len(means)
        stderr = float(means.std(ddof=1) / math.sqrt(count))
        return Estimate(value=float(means.mean()), stderr=stderr, n=values.numel(), dof=count - 1)

    @property
    def mean(self) -> tuple[Estimate, ...]:
        """Mean of each coordinate."""
        return tuple(self.expect(column) for column in self.x.T)

    @property
    def variance(self) -> tuple[Estimate, ...]:
        """Variance of each coordinate."""
        columns = zip(self.x.double().T, self.mean, strict=True)
        return tuple(self.expect((column - mean.value).square()) for column, mean in columns)


def sample_tilted(
    pair: Pair,
    schedule: GuidanceSchedule,
    *,
    particles: int = 1024,
    islands: int = 16,
    steps: int = 60,
    t_max: float = 50.0,
    end: float = 0.0,
    lam: float = 1.0,
    threshold: float = 0.5,
    moves: int = 2,
    seed: int = 0,
) -> TiltedSample:
    """Weighted samples of p_c^(1+w) p_u^(-w), w the schedule's strength at the data side.

    They start from a Gaussian with the moments of the tilted law at t_max, weighted to that law, and follow the guided
    process. Guidance drives paths away from where the tilted law has its tails; Langevin moves at every level bring
    them back before the weights have to. Under the ODE without moves, paths are never resampled: copies would stay
    together.

    Args:
        pair: The two laws; float64 is advised.
        schedule: Guidance strength; it shapes the paths, and their law at the end only through its last value.
        particles: Paths per island.
        islands: Independent repetitions, between which errors are taken.
        steps: Steps of the geometric grid, to which the schedule's jumps are added.
        t_max: Variance time of the start.
        end: Variance time of the last level; above 0 for laws without width.
        lam: 1 for the reverse SDE, 0 for the probability-flow ODE.
        threshold: Islands are resampled, systematically, below this effective sample size as a share of the particles.
        moves: Metropolis-adjusted Langevin moves per level; 0 for weights alone.
        seed: Root seed.

    Accuracy:
        Second order in the step, for states and weights; weights degenerate as the dimension grows, see `ess`.

    Raises:
        ConfigError: if a number is out of range, or there is no tilted law at some level.
        DivergenceError: if a state stops being finite.

    Source:
        [skreta2025feynman], Feynman-Kac correctors; derived in explanation/tilted.
    """
    if islands < 2 or particles < 2:
        raise ConfigError(f"expected at least 2 islands of 2 particles for an error, got {islands} of {particles}")
    if moves < 0:
        raise ConfigError(f"moves must be >= 0, got {moves}")
    if not 0 <= threshold <= 1:
        raise ConfigError(f"threshold is a share of the particles in [0, 1], got {threshold}")
    narrow, offset = pair.absorbed()
    assert isinstance(narrow, Pair)
    process = VarianceExploding(offset=offset)
    switches = [time for time in schedule.switches() if time > end] if schedule.clock != "step" else []
    levels = through(geometric(process, t_max, steps, end=end), process, switches)
    strengths = _strengths(schedule, levels)
    check_tilt(narrow, levels, [late for _, late in strengths], seed)
    x, log_weights = proposal(narrow, levels.levels[0], strengths[0][0], islands * particles, seed)
    weights = log_weights.reshape(islands, particles)
    cloud = _Cloud(narrow, Exponential(lam=lam), x, weights, threshold=threshold, moves=moves, seed=seed)
    return cloud.run(levels, strengths)


def _strengths(schedule: GuidanceSchedule, grid: Grid) -> list[tuple[float, float]]:
    """Strength at both ends of every step."""
    found = [
        (float(schedule.strength(level)), float(schedule.strength(next_level.from_noise_side(level.step))))
        for level, next_level in itertools.pairwise(grid.levels)
    ]
    if not np.isfinite(found).all():
        raise ConfigError("the schedule has no finite strength at clean data; use a table or end at a time > 0")
    return found


class _Cloud:
    """All islands on their way down."""

    def __init__(
        self, pair: Pair, step: Exponential, x: Rows, log_weights: Islands, *, threshold: float, moves: int, seed: int
    ) -> None:
        self.pair, self.step, self.x, self.log_weights = pair, step, x, log_weights
        self.islands, self.particles = log_weights.shape
        self.moves, self.threshold = moves, threshold if moves or step.lam > 0 else 0.0
        self.log_z = torch.zeros(self.islands, dtype=torch.float64)
        self.resampled = 0
        self.accepted: list[float] = []
        streams = [rng.stream(seed, "tilted noise", island) for island in range(self.islands)]
        self.noise = Independent(streams, (self.particles, pair.dim), like=x)
        self.choices = rng.stream(seed, "tilted choices")

    def run(self, grid: Grid, strengths: Sequence[tuple[float, float]]) -> TiltedSample:
        """Follow the grid to its last level."""
        seen, ess = look(self.pair, self.x, grid.levels[0]), [self._ess()]
        for k, (level, next_level) in enumerate(itertools.pairwise(grid.levels)):
            begin, stop = strengths[k]
            seen = self._move(self._resample(seen), level, next_level, begin)
            ahead = self._advance(seen, level, next_level, begin, stop)
            following = strengths[k + 1][0] if k + 1 < len(strengths) else stop
            span = math.log(level.variance / next_level.variance)
            gain = begin * (1 + begin) * seen.strain(level) + stop * (1 + stop) * ahead.strain(next_level)
            before, after = (part.log_cond - part.log_uncond for part in (seen, ahead))
            gain = gain * span / 2 + (stop - begin) * (before + after) / 2 + (following - stop) * after
            self.log_weights = self.log_weights + gain.reshape(self.log_weights.shape)
            seen = ahead
            ess.append(self._ess())
        return TiltedSample(
            x=self.x,
            weights=self.log_weights.softmax(1),
            log_normalizer=self._log_normalizer(),
            times=grid.times,
            ess=np.stack(ess).mean(1),
            resampled=self.resampled,
            acceptance=float(np.mean(self.accepted)) if self.accepted else math.nan,
        )

    def _advance(self, seen: Look, level: NoiseLevel, next_level: NoiseLevel, begin: float, stop: float) -> Look:
        z = self._normal(level, next_level) if self.step.lam > 0 else None
        first = seen.guided(begin)
        predicted = self.step(self.x, level, next_level, first, z)
        cond, uncond = self.pair.cond.denoised(predicted, next_level), self.pair.uncond.denoised(predicted, next_level)
        x = self.step(self.x, level, next_level, (first + (1 + stop) * cond - stop * uncond) / 2, z)
        if not bool(torch.isfinite(x).all()):
            raise DivergenceError(
                f"the state is not finite after step {level.step}; use more steps or a smaller strength",
                step=int(level.step or 0),
                time=float(level.time),
                last_good=self.x,
            )
        self.x = x
        return look(self.pair, x, next_level)

    def _normal(self, level: NoiseLevel, next_level: NoiseLevel) -> Rows:
        return self.noise(level, next_level).reshape(self.x.shape)

    def _move(self, seen: Look, level: NoiseLevel, next_level: NoiseLevel, w: float) -> Look:
        for _ in range(self.moves):
            uniform = torch.from_numpy(self.choices.random(len(self.x)))
            normal = self._normal(level, next_level)
            self.x, seen, taken = move(self.pair, self.x, seen, level, w, normal, uniform)
            self.accepted.append(float(taken.double().mean()))
        return seen

    def _ess(self) -> NDArray[np.float64]:
        """Effective share of the particles, island by island."""
        return np.asarray(1 / self.log_weights.softmax(1).square().sum(1) / self.particles)

    def _resample(self, seen: Look) -> Look:
        poor = np.flatnonzero(self._ess() < self.threshold)
        if not len(poor):
            return seen
        rows = torch.arange(self.x.shape[0]).reshape(self.log_weights.shape)
        self.log_weights = self.log_weights.clone()
        for island in poor:
            self.log_z[island] += self.log_weights[island].logsumexp(0) - math.log(self.particles)
            rows[island] = rows[island][systematic(self.log_weights[island].softmax(0), self.choices.random())]
            self.log_weights[island] = 0.0
        self.resampled += len(poor)
        self.x = self.x[rows.ravel()]
        return seen.pick(rows.ravel())

    def _log_normalizer(self) -> Estimate:
        logs = self.log_z + self.log_weights.logsumexp(1) - math.log(self.particles)
        largest = float(logs.max())
        z = (logs - largest).exp().numpy()
        stderr = float(z.std(ddof=1) / math.sqrt(self.islands) / z.mean())
        value = largest + math.log(z.mean())
        return Estimate(value=value, stderr=stderr, n=self.islands * self.particles, dof=self.islands - 1)


def systematic(weights: PerRow, uniform: float) -> Tensor:
    """Indices drawn from normalized weights with one uniform number: each at least floor(n * weight) times."""
    n = len(weights)
    positions = (torch.arange(n, dtype=torch.float64) + uniform) / n
    return torch.searchsorted(weights.double().cumsum(0), positions).clamp_max(n - 1)
