r"""Samples of the tilted law $p_c^{1+w}p_u^{-w}$, which guidance alone does not draw from: weighted paths.

Paths follow the guided reverse process and carry weights (`weighted`); islands of them never meet, so that their spread
is an honest standard error.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from orthoscope import rng
from orthoscope.denoise import ExactDenoiser
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.quantities import Estimate
from orthoscope.sampling.grid import Grid, geometric, through
from orthoscope.sampling.langevin import look
from orthoscope.sampling.loop import trajectory
from orthoscope.sampling.noise import IndependentNoise
from orthoscope.sampling.proposal import check_tilt, proposal
from orthoscope.sampling.state import State
from orthoscope.sampling.weighted import Islands, Weighted, Weights
from orthoscope.targets import Pair
from orthoscope.typing import PerRow, Rows


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
    threshold = threshold if moves or lam > 0 else 0.0
    choices = rng.stream(seed, "tilted choices")
    step = Weighted(pair=narrow, schedule=schedule, lam=lam, threshold=threshold, moves=moves, choices=choices)
    strengths = _strengths(step, levels)
    check_tilt(narrow, levels, [late for _, late in strengths], seed)
    x, log_weights = proposal(narrow, levels.levels[0], strengths[0][0], islands * particles, seed)
    start = Weights(
        log_weights=log_weights.reshape(islands, particles),
        log_normalizer=torch.zeros(islands, dtype=torch.float64),
        seen=look(narrow, x, levels.levels[0]),
    )
    streams = [rng.stream(seed, "tilted noise", island) for island in range(islands)]
    drawn = IndependentNoise(streams, (particles, narrow.dim), like=x)

    def noise(level: NoiseLevel, next_level: NoiseLevel) -> Rows:
        return drawn(level, next_level).reshape(x.shape)

    ess = []
    for state in trajectory(ExactDenoiser(narrow), x, levels, step=step, noise=noise, label=0, carried=start):
        ess.append(state.carried.ess)
    return _sample(state, levels, np.stack(ess).mean(1))


def _strengths(step: Weighted, grid: Grid) -> list[tuple[float, float]]:
    """Strength at both ends of every step."""
    found = [step.strengths(*ends) for ends in itertools.pairwise(grid.levels)]
    if not np.isfinite(found).all():
        raise ConfigError("the schedule has no finite strength at clean data; use a table or end at a time > 0")
    return found


def _sample(state: State, grid: Grid, ess: NDArray[np.float64]) -> TiltedSample:
    """What the last state of a run says."""
    weights: Weights = state.carried
    return TiltedSample(
        x=state.x,
        weights=weights.log_weights.softmax(1),
        log_normalizer=_log_normalizer(weights),
        times=grid.times,
        ess=ess,
        resampled=weights.resampled,
        acceptance=float(np.mean(weights.accepted)) if weights.accepted else math.nan,
    )


def _log_normalizer(weights: Weights) -> Estimate:
    """The mean weight, as its log, with the spread between islands."""
    islands, particles = weights.log_weights.shape
    logs = weights.log_normalizer + weights.log_weights.logsumexp(1) - math.log(particles)
    largest = float(logs.max())
    z = (logs - largest).exp().numpy()
    stderr = float(z.std(ddof=1) / math.sqrt(islands) / z.mean())
    return Estimate(value=largest + math.log(z.mean()), stderr=stderr, n=islands * particles, dof=islands - 1)
