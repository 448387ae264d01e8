r"""Predictor-corrector sampling: a step of the probability-flow ODE, then Langevin steps at the level it reached.

Neither part knows about guidance; both ask a denoiser. With the conditional law as predictor and the tilted score of
strength $2w$ as corrector, one Langevin step per level and small steps, this is the guided reverse SDE of strength $w$,
because half of $s_c$ and half of $s_c + 2w(s_c - s_u)$ add up to $s_c + w(s_c - s_u)$.
"""

from __future__ import annotations

import itertools
import math

from orthoscope.denoise import Denoiser, Label
from orthoscope.errors import ConfigError
from orthoscope.sampling.grid import Grid
from orthoscope.sampling.noise import Noise
from orthoscope.sampling.steps import Exponential
from orthoscope.typing import Events


def predictor_corrector(
    predictor: Denoiser,
    corrector: Denoiser,
    x: Events,
    grid: Grid,
    *,
    noise: Noise,
    corrections: int = 1,
    label: Label = None,
) -> Events:
    r"""Samples at the last level of the grid.

    A Langevin step stays at its level $v'$ and is exact for a frozen denoised mean $D$ of the corrector; it injects as
    much noise as the reverse SDE does between the two levels: $x' = D + \rho\,(x - D) + \sqrt{v'(1 - \rho^2)}\,z$ with
    $\rho^2 = v'/v$.

    Args:
        predictor: Denoiser of the probability-flow step.
        corrector: Denoiser of the Langevin steps.
        x: State at the first level.
        grid: Levels to visit.
        noise: Source of noise, asked once per Langevin step.
        corrections: Langevin steps per level; many of them equilibrate to the corrector's own law.
        label: Class asked for.

    Accuracy:
        First order in the step, whatever the order of the predictor: the two parts alternate.

    Raises:
        ConfigError: if there is no Langevin step.

    Source:
        [bradley2024classifier], classifier-free guidance as a predictor-corrector; derived in explanation/tilted.
    """
    if corrections < 1:
        raise ConfigError(f"a predictor-corrector needs at least one correction per level, got {corrections}")
    flow = Exponential(lam=0.0, order=1)
    for level, next_level in itertools.pairwise(grid.levels):
        x = flow(x, level, next_level, predictor(x, level, label), None)
        share = next_level.variance / level.variance
        here = next_level.from_noise_side(level.step)
        for _ in range(corrections):
            center = corrector(x, here, label)
            amplitude = math.sqrt(next_level.variance * (1 - share))
            x = center + math.sqrt(share) * (x - center) + amplitude * noise(level, next_level)
    return x
