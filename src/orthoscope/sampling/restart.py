"""Restarts: within an interval of noise levels a run goes back up in noise and down again, several times.

Going up adds fresh noise and carries the law of every level exactly to that of a noisier one; going down is the step's
own work. With an exact denoiser and fine steps the law at the end stays what it was, while each return forgets a part
of the errors made before. Under guidance the law of a level is not what noise makes of a later one, and restarts change
what is sampled. Derived in explanation/numerics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from orthoscope.denoise import Denoiser
from orthoscope.errors import ConfigError
from orthoscope.process import NoiseLevel
from orthoscope.sampling.given import advanced, as_step
from orthoscope.sampling.noise import Noise
from orthoscope.sampling.state import State
from orthoscope.sampling.steps import Exponential, Step

_FLOW = Exponential(lam=0.0)


class _Progress(NamedTuple):
    """What a restart carries: the levels of the interval seen so far, whether it is over, and what its step carries."""

    seen: tuple[NoiseLevel, ...] = ()
    is_over: bool = False
    inner: Any = None


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Restart:
    """Any step, with restarts in an interval of variance times.

    The interval begins at the first level of the run at or below `high` and ends at the first one at or below `low`,
    or where the run ends. From there the run returns to its beginning, and visits the same levels again.

    Attributes:
        low: Variance time at which the interval ends.
        high: Variance time at which it begins.
        times: Number of returns.
        step: What goes down.

    Accuracy:
        That of the step; each return costs as many evaluations as the interval. Noise must be fresh whenever it is
        asked for: `IndependentNoise`, not a path that is fixed between two levels.

    Source:
        [xu2023restart], on the run's own levels.
    """

    low: float
    high: float
    times: int = 1
    step: Step = _FLOW

    def __post_init__(self) -> None:
        """Reject intervals that are none, and steps."""
        object.__setattr__(self, "step", as_step(self.step))
        if not 0 <= self.low < self.high:
            raise ConfigError(f"a restart needs variance times 0 <= low < high, got {self.low:g} and {self.high:g}")
        if self.times < 0:
            raise ConfigError(f"times is a number of restarts and must be >= 0, got {self.times}")

    @property
    def needs_noise(self) -> bool:
        """Whether it goes back up at all, or its step asks."""
        return self.times > 0 or self.step.needs_noise

    def __call__(self, state: State, next_level: NoiseLevel, denoiser: Denoiser, noise: Noise) -> State:
        """The state at the next level, after all restarts where the interval ends.

        Raises:
            ConfigError: if the run ends and no level that it started a step from lay in the interval.
        """
        seen, is_over, inner = state.carried or _Progress()
        if self.low < state.level.time <= self.high:
            seen = (*seen, state.level)
        state = advanced(self.step, replace(state, carried=inner), next_level, denoiser, noise)
        is_last = next_level.step == next_level.steps
        if seen and not is_over and (is_last or next_level.time <= self.low):
            for _ in range(self.times):
                state = self._again(state, (*seen, next_level), denoiser, noise)
            is_over = True
        if is_last and not is_over:
            raise ConfigError(f"no level of the run lies in the restart interval {self.low:g} to {self.high:g}")
        return replace(state, carried=_Progress(seen, is_over, state.carried))

    def _again(self, state: State, levels: tuple[NoiseLevel, ...], denoiser: Denoiser, noise: Noise) -> State:
        """Up to the first of the levels and down through the others."""
        top = levels[0]
        x = state.x + math.sqrt(top.variance - state.level.variance) * noise(state.level, top)
        state = replace(state, x=x, level=top, carried=None)
        for level in levels[1:]:
            state = advanced(self.step, state, level, denoiser, noise)
        return state
