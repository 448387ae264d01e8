r"""One transition of the reverse process with the denoised mean held fixed, exact for every noise content.

The reverse process with noise content `lam` (1: reverse SDE, 0: probability-flow ODE) is
$dx = \tfrac{1+\lambda^2}{2}\,\frac{D - x}{v}\,d\tau + \lambda\,dB$ with $v = \sigma^2$ falling at unit speed. For
constant $D$,

$$x' = D + (v'/v)^{(1+\lambda^2)/2}(x - D) + \sqrt{v'\,(1 - (v'/v)^{\lambda^2})}\;z .$$

With the width of the target absorbed into $v$ the only error left is that $D$ moves during the step. Derived in
explanation/numerics.
"""

from __future__ import annotations

import math

from orthoscope.errors import ConfigError
from orthoscope.process import NoiseLevel
from orthoscope.typing import Events


def check_noise_content(lam: float) -> None:
    """Reject noise contents that do not exist.

    Raises:
        ConfigError: unless 0 <= lam <= 1.
    """
    if not 0 <= lam <= 1:
        raise ConfigError(f"`lam` must lie in [0, 1] (1: SDE, 0: ODE), got {lam}", field="lam")


def renewed_share(ratio: float, lam: float) -> float:
    """Share of the variance that a step's noise makes anew, 1 - ratio^(lam^2), accurate where it is small.

    Args:
        ratio: Variance of the noise at the end of the step over that at its start.
        lam: Noise content.
    """
    return -math.expm1(lam**2 * math.log(ratio)) if ratio > 0 else float(lam > 0)


def transition(
    x: Events, level: NoiseLevel, next_level: NoiseLevel, denoised: Events, z: Events | None, *, lam: float
) -> Events:
    """The state at the next level.

    Args:
        x: State at `level`.
        level: Where the step starts.
        next_level: Where it ends, less noisy.
        denoised: Denoised mean, held fixed during the step.
        z: Standard normal of the shape of x; may be None when lam = 0.
        lam: Noise content in [0, 1].

    Raises:
        ConfigError: if lam > 0 and there is no noise.

    Source:
        derived in explanation/numerics.
    """
    ratio = next_level.variance / level.variance
    x = denoised + ratio ** ((1 + lam**2) / 2) * (x - denoised)
    amplitude = math.sqrt(next_level.variance * renewed_share(ratio, lam))
    if amplitude == 0:
        return x
    if z is None:
        raise ConfigError(f"a step with lam = {lam:g} needs noise; pass it, or lam=0 for the ODE")
    return x + amplitude * z
