r"""Predictor-corrector sampling: a step of the probability-flow ODE, then Langevin steps at the level it reached.

Neither part knows about guidance; both ask a denoiser. With the conditional law as predictor and the tilted score of
strength $2w$ as corrector, one Langevin step per level and small steps, this is the guided reverse SDE of strength $w$,
because half of $s_c$ and half of $s_c + 2w(s_c - s_u)$ add up to $s_c + w(s_c - s_u)$.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from orthoscope.denoise import Denoiser
from orthoscope.errors import ConfigError
from orthoscope.process import NoiseLevel
from orthoscope.sampling.noise import Noise
from orthoscope.sampling.state import State
from orthoscope.sampling.transition import transition


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class PredictorCorrector:
    r"""A first-order step of the ODE by the run's denoiser, then Langevin steps by another one.

    A Langevin step stays at its level $v'$ and is exact for a frozen denoised mean $D$ of the corrector; it injects as
    much noise as the reverse SDE does between the two levels: $x' = D + \rho\,(x - D) + \sqrt{v'(1 - \rho^2)}\,z$ with
    $\rho^2 = v'/v$.

    Attributes:
        corrector: Denoiser of the Langevin steps, asked for the run's class.
        corrections: Langevin steps per level; many of them equilibrate to the corrector's own law.

    Accuracy:
        First order in the step, whatever the order of the predictor: the two parts alternate.

    Source:
        [bradley2024classifier], classifier-free guidance as a predictor-corrector; derived in explanation/tilted.
    """

    corrector: Denoiser
    corrections: int = 1

    def __post_init__(self) -> None:
        """Reject a corrector that does not correct."""
        if self.corrections < 1:
            raise ConfigError(f"a predictor-corrector needs at least one correction per level, got {self.corrections}")

    @property
    def needs_noise(self) -> bool:
        """Always: once per Langevin step."""
        return True

    def __call__(self, state: State, next_level: NoiseLevel, denoiser: Denoiser, noise: Noise) -> State:
        """The state at the next level; it carries the memory of the corrector's rule."""
        level, paid = state.level, [state.evaluate(denoiser)]
        x = transition(state.x, level, next_level, paid[0].denoised, None, lam=0.0)
        if next_level.variance == 0:
            return state.moved(x, next_level, *paid)  # clean data: nothing left to correct
        share = next_level.variance / level.variance
        amplitude = math.sqrt(next_level.variance * (1 - share))
        here = next_level.from_noise_side(level.step)
        for _ in range(self.corrections):
            paid.append(self.corrector.evaluate(x, here, state.label, state.carried))
            center = paid[-1].denoised
            x = center + math.sqrt(share) * (x - center) + amplitude * noise(level, next_level)
        return state.moved(x, next_level, *paid, carried=paid[1].memory)
