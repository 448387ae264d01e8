r"""The step of weighted paths: it moves them as guidance does, and weighs them to the tilted law.

Along the guided reverse process of any noise content, with $v$ falling, a path that carries the weight

$$ d\log W = \tfrac12 w(1+w)\,|s_c - s_u|^2\,d\tau + \frac{dw}{d\tau}\log\frac{p_c}{p_u}\,d\tau $$

represents $p_c^{1+w}p_u^{-w}$ at every level (derived in explanation/tilted). Paths of one island are resampled from
their weights when the effective sample size falls; islands never meet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from orthoscope.denoise import Denoiser, Evaluation
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.process import NoiseLevel
from orthoscope.sampling.langevin import Look, look, move
from orthoscope.sampling.noise import Noise
from orthoscope.sampling.state import State
from orthoscope.sampling.transition import check_noise_content, transition
from orthoscope.targets import Pair
from orthoscope.typing import PerRow, Rows

Islands = Float[Tensor, "islands particles"]


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Weights:
    """What weighted paths carry.

    Attributes:
        log_weights: Of every path, since its island was last resampled.
        log_normalizer: What resampling took out of the weights, one number per island.
        seen: What both laws say of the states.
        resampled: How often an island was resampled.
        accepted: Share of accepted moves, one number per move.
    """

    log_weights: Islands
    log_normalizer: Float[Tensor, "islands"]
    seen: Look
    resampled: int = 0
    accepted: tuple[float, ...] = ()

    @property
    def ess(self) -> NDArray[np.float64]:
        """Effective sample size as a share of the particles, island by island."""
        return np.asarray(1 / self.log_weights.softmax(1).square().sum(1) / self.log_weights.shape[1])


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Weighted:
    """Resample, make Langevin moves, take a second-order exponential step, and weigh.

    Attributes:
        pair: The two laws.
        schedule: Guidance strength.
        lam: Noise content in [0, 1] of the guided process.
        threshold: Islands are resampled, systematically, below this effective sample size as a share of the particles.
        moves: Metropolis-adjusted Langevin moves at the level where the step starts.
        choices: Decides which paths are copied and which moves are accepted.

    Accuracy:
        Second order in the step, for states and weights.

    Source:
        [skreta2025feynman], Feynman-Kac correctors; derived in explanation/tilted.
    """

    pair: Pair
    schedule: GuidanceSchedule
    lam: float
    threshold: float
    moves: int
    choices: np.random.Generator

    def __post_init__(self) -> None:
        """Reject noise contents that do not exist."""
        check_noise_content(self.lam)

    @property
    def needs_noise(self) -> bool:
        """Unless it follows the ODE without moves."""
        return self.lam > 0 or self.moves > 0

    def strengths(self, level: NoiseLevel, next_level: NoiseLevel) -> tuple[float, float]:
        """Strength at both ends of a step."""
        end = next_level.from_noise_side(level.step)
        return float(self.schedule.strength(level)), float(self.schedule.strength(end))

    def __call__(self, state: State, next_level: NoiseLevel, denoiser: Denoiser, noise: Noise) -> State:
        """The state at the next level; it carries `Weights`, and finds them in the first state.

        The denoiser is the exact one of the pair: of the conditional law for a label, of the other for none.
        """
        level = state.level
        begin, stop = self.strengths(level, next_level)
        is_last = next_level.step == next_level.steps
        following = stop if is_last else float(self.schedule.strength(next_level))
        state = self._moved(self._resampled(state), begin, noise)
        weights: Weights = state.carried
        x, paid = self._advanced(state, next_level, weights.seen.guided(begin), stop, denoiser, noise)
        seen, ahead = weights.seen, look(self.pair, x, next_level)
        span = math.log(level.variance / next_level.variance)
        gain = begin * (1 + begin) * seen.strain(level) + stop * (1 + stop) * ahead.strain(next_level)
        before, after = (part.log_cond - part.log_uncond for part in (seen, ahead))
        gain = gain * span / 2 + (stop - begin) * (before + after) / 2 + (following - stop) * after
        log_weights = weights.log_weights + gain.reshape(weights.log_weights.shape)
        return state.moved(x, next_level, *paid, carried=replace(weights, log_weights=log_weights, seen=ahead))

    def _advanced(
        self, state: State, next_level: NoiseLevel, guided: Rows, stop: float, denoiser: Denoiser, noise: Noise
    ) -> tuple[Rows, tuple[Evaluation, ...]]:
        """The paths at the next level, and what they cost."""
        x, level = state.x, state.level
        z = noise(level, next_level) if self.lam > 0 else None
        predicted = transition(x, level, next_level, guided, z, lam=self.lam)
        cond, uncond = (denoiser.evaluate(predicted, next_level, label) for label in (state.label, None))
        guided = (guided + (1 + stop) * cond.denoised - stop * uncond.denoised) / 2
        looks, laws = 1 + self.moves, (self.pair.cond, self.pair.uncond)  # a look asks for means and densities
        read = 2 * looks * len(x) * sum(law.size for law in laws)
        seen = Evaluation(denoised=guided, calls=2 * looks, modes_read=read)
        return transition(x, level, next_level, guided, z, lam=self.lam), (seen, cond, uncond)

    def _moved(self, state: State, w: float, noise: Noise) -> State:
        """The state after its Langevin moves, none of which changes a weight."""
        x, weights = state.x, state.carried
        for _ in range(self.moves):
            uniform = torch.from_numpy(self.choices.random(len(x)))
            normal = noise(state.level, state.level)
            x, seen, taken = move(self.pair, x, weights.seen, state.level, w, normal, uniform)
            weights = replace(weights, seen=seen, accepted=(*weights.accepted, float(taken.double().mean())))
        return replace(state, x=x, carried=weights)

    def _resampled(self, state: State) -> State:
        """The state after copying paths of islands whose weights have become uneven."""
        weights: Weights = state.carried
        poor = np.flatnonzero(weights.ess < self.threshold)
        if not len(poor):
            return state
        logs, taken_out = weights.log_weights.clone(), weights.log_normalizer.clone()
        rows = torch.arange(len(state.x)).reshape(logs.shape)
        for island in poor:
            taken_out[island] += logs[island].logsumexp(0) - math.log(logs.shape[1])
            rows[island] = rows[island][systematic(logs[island].softmax(0), self.choices.random())]
            logs[island] = 0.0
        carried = Weights(
            log_weights=logs,
            log_normalizer=taken_out,
            seen=weights.seen.pick(rows.ravel()),
            resampled=weights.resampled + len(poor),
            accepted=weights.accepted,
        )
        return replace(state, x=state.x[rows.ravel()], carried=carried)


def systematic(weights: PerRow, uniform: float) -> Tensor:
    """Indices drawn from normalized weights with one uniform number: each at least floor(n * weight) times."""
    n = len(weights)
    positions = (torch.arange(n, dtype=torch.float64) + uniform) / n
    return torch.searchsorted(weights.double().cumsum(0), positions).clamp_max(n - 1)
