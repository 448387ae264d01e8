r"""One step of the reverse process with the denoised mean held fixed, exact for every noise content.

The reverse process with noise content `lam` (1: reverse SDE, 0: probability-flow ODE) is
$dx = \tfrac{1+\lambda^2}{2}\,\frac{D - x}{v}\,d\tau + \lambda\,dB$ with $v = \sigma^2$ falling at unit speed. For
constant $D$,

$$x' = D + (v'/v)^{(1+\lambda^2)/2}(x - D) + \sqrt{v'\,(1 - (v'/v)^{\lambda^2})}\;z .$$

With the width of the target absorbed into $v$ the only error left is that $D$ moves during the step. Derived in
explanation/numerics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from orthoscope.errors import ConfigError
from orthoscope.process import NoiseLevel
from orthoscope.typing import Events


def renewed_share(ratio: float, lam: float) -> float:
    """Share of the variance that a step's noise makes anew, 1 - ratio^(lam^2), accurate where it is small.

    Args:
        ratio: Variance of the noise at the end of the step over that at its start.
        lam: Noise content.
    """
    return -math.expm1(lam**2 * math.log(ratio)) if ratio > 0 else float(lam > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponential:
    """The exact step for a frozen denoised mean, first or second order.

    Attributes:
        lam: Noise content in [0, 1]: 1 is the reverse SDE, 0 the probability-flow ODE.
        order: 1 freezes the mean at the start of the step; 2 averages it with the mean at the predicted end.
    """

    lam: float = 1.0
    order: int = 2

    def __post_init__(self) -> None:
        """Reject noise contents and orders that do not exist."""
        if not 0 <= self.lam <= 1:
            raise ConfigError(f"lam must lie in [0, 1] (1: SDE, 0: ODE), got {self.lam}")
        if self.order not in (1, 2):
            raise ConfigError(f"order must be 1 or 2, got {self.order}")

    def __call__(
        self, x: Events, level: NoiseLevel, next_level: NoiseLevel, denoised: Events, noise: Events | None
    ) -> Events:
        """The state at the next level.

        Args:
            x: State at `level`.
            level: Where the step starts.
            next_level: Where it ends, less noisy.
            denoised: Denoised mean, held fixed during the step.
            noise: Standard normal of the shape of x; may be None when lam = 0.

        Raises:
            ConfigError: if lam > 0 and there is no noise.
        """
        ratio = next_level.variance / level.variance
        x = denoised + ratio ** ((1 + self.lam**2) / 2) * (x - denoised)
        amplitude = math.sqrt(next_level.variance * renewed_share(ratio, self.lam))
        if amplitude == 0:
            return x
        if noise is None:
            raise ConfigError(f"a step with lam = {self.lam:g} needs noise; pass it, or lam=0 for the ODE")
        return x + amplitude * noise
