r"""Where weighted paths start: a Gaussian like the tilted law, and whether there is a tilted law at all.

The tilted law $p_c^{1+w}p_u^{-w}$ need not exist: where the unconditional law falls off faster than
$p_c^{(1+w)/w}$ it cannot be normalized. Its tails decide: far out its score must point inwards in every direction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from orthoscope import rng
from orthoscope.errors import ConfigError
from orthoscope.process import NoiseLevel
from orthoscope.sampling.grid import Grid
from orthoscope.targets import Gaussian, Pair, Target
from orthoscope.targets.covariant import covariant
from orthoscope.typing import PerRow, Rows

_SAMPLES = 4096  # behind the moments of a proposal; what they miss is in the weights
_FAR = 1e4  # spreads between the probed tails and the middle
_DIRECTIONS, _SEARCHES = 16, 24


def _moments(law: Target, seed: int, name: str) -> tuple[Tensor, Tensor]:
    if isinstance(law, Gaussian):
        return law.mean.double(), torch.diag(law.variance.double())
    x = law.sample(_SAMPLES, rng.stream(seed, "moments", name)).double()
    return x.mean(0), torch.cov(x.T).reshape(law.dim, law.dim)


def proposal(pair: Pair, level: NoiseLevel, w: float, rows: int, seed: int) -> tuple[Rows, PerRow]:
    """States at a level and their unnormalized log-weights to the tilted law there.

    They are drawn from the Gaussian that tilting two Gaussians with the moments of the two laws gives.

    Raises:
        ConfigError: if these moments have no tilted law: the start is not noisy enough.
    """
    eye = torch.eye(pair.dim, dtype=torch.float64)
    (mu_c, c), (mu_u, u) = (_moments(law, seed, name) for law, name in ((pair.cond, "cond"), (pair.uncond, "uncond")))
    c, u = (torch.linalg.inv(cov + level.variance * eye) for cov in (c, u))
    precision = (1 + w) * c - w * u
    if not bool(torch.linalg.eigvalsh(precision).min() > 0):
        raise _no_tilt(w, float(level.time), "start at a larger t_max")
    cov = torch.linalg.inv(precision)
    start = covariant(cov @ ((1 + w) * c @ mu_c - w * u @ mu_u), cov=(cov + cov.T) / 2)
    x = start.sample(rows, rng.stream(seed, "proposal"))
    rounded = x.to(pair.dtype)
    tilted = (1 + w) * pair.cond.log_prob(rounded, level) - w * pair.uncond.log_prob(rounded, level)
    return rounded, tilted - start.log_prob(x)


def _no_tilt(w: float, time: float, cure: str) -> ConfigError:
    return ConfigError(
        f"p_c^(1+w) p_u^(-w) cannot be normalized at w = {w:g}, t = {time:g}: the unconditional law is too narrow "
        f"for this strength; {cure}"
    )


def check_tilt(pair: Pair, grid: Grid, strengths: Sequence[float], seed: int) -> None:
    """Reject strengths at which the tails of the tilted law do not fall off.

    Args:
        pair: The two laws, of one offset with the grid.
        grid: Levels; each is probed where the strength varies, else the last.
        strengths: Strength at the end of every step.
        seed: Seed of the directions probed.

    Accuracy:
        Directions are searched for by power iteration: certain for Gaussians, and for laws whose tails are alike in
        all directions.

    Raises:
        ConfigError: if there is no tilted law at some level.
    """
    probed = list(zip(grid.levels[1:], strengths, strict=True))
    for level, w in probed if len(set(strengths)) > 1 else probed[-1:]:
        if not 0 >= w >= -1 and _largest_outward(pair, level, w, seed) >= 0:
            raise _no_tilt(w, float(level.time), "use a smaller one")


def _largest_outward(pair: Pair, level: NoiseLevel, w: float, seed: int) -> float:
    """Largest radial component of the tilted score far out, times the variance, per unit of radius."""
    stream = rng.stream(seed, "tails")
    spread = max(float(law.sample(64, stream).double().square().sum(1).mean()) for law in (pair.cond, pair.uncond))
    radius = _FAR * (1 + abs(w)) * math.sqrt(spread + float(level.variance))
    random = stream.standard_normal((_DIRECTIONS, pair.dim))
    eye = np.eye(pair.dim)
    directions = torch.from_numpy(np.concatenate([eye, -eye, random])).to(pair.dtype)
    outward = directions.new_tensor([-math.inf])
    for _ in range(_SEARCHES):
        directions = directions / directions.norm(dim=1, keepdim=True)
        x = radius * directions
        guided = (1 + w) * pair.cond.denoised(x, level) - w * pair.uncond.denoised(x, level)
        pull = guided / radius - directions
        outward = (pull * directions).sum(1)
        directions = pull + 2 * (1 + abs(w)) * directions  # the shift puts the outermost direction on top
    return float(outward.max())
