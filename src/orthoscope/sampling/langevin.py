r"""What exact laws say of states at one level, and Langevin moves that leave the tilted law there unchanged."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from orthoscope.process import NoiseLevel
from orthoscope.targets import Pair
from orthoscope.typing import PerRow, Rows

_STEP = 1.0  # of a move, in units of v / (1 + |w|): half of what is stable where the law is as narrow as the noise


class Look(NamedTuple):
    """What both laws say of states at one level.

    Attributes:
        cond: Denoised mean of the conditional law.
        uncond: Denoised mean of the unconditional law.
        log_cond: Log-density of the conditional law, in float64.
        log_uncond: Log-density of the unconditional law.
    """

    cond: Rows
    uncond: Rows
    log_cond: PerRow
    log_uncond: PerRow

    def guided(self, w: float) -> Rows:
        """The guided denoised mean."""
        return (1 + w) * self.cond - w * self.uncond

    def log_tilted(self, w: float) -> PerRow:
        """Log of p_c^(1+w) p_u^(-w), not normalized."""
        return (1 + w) * self.log_cond - w * self.log_uncond

    def strain(self, level: NoiseLevel) -> PerRow:
        """|s_c - s_u|^2 v / 2, in float64: what carries the weight per unit of log-variance."""
        return (self.cond - self.uncond).double().square().sum(1) / (2 * float(level.variance))

    def pick(self, rows: Tensor) -> Look:
        """The same for some of the rows."""
        return Look(*(part[rows] for part in self))

    def where(self, taken: Tensor, other: Look) -> Look:
        """Row by row the other look where `taken`."""
        columns = (taken[:, None], taken[:, None], taken, taken)
        return Look(*(torch.where(t, b, a) for t, a, b in zip(columns, self, other, strict=True)))


def look(pair: Pair, x: Rows, level: NoiseLevel) -> Look:
    """Ask both laws."""
    cond, uncond = pair.cond, pair.uncond
    return Look(cond.denoised(x, level), uncond.denoised(x, level), cond.log_prob(x, level), uncond.log_prob(x, level))


def move(
    pair: Pair, x: Rows, seen: Look, level: NoiseLevel, w: float, normal: Rows, uniform: PerRow
) -> tuple[Rows, Look, Tensor]:
    """One Langevin step at a fixed level, accepted or refused so that the tilted law stays as it is.

    Args:
        pair: The two laws.
        x: States.
        seen: What the laws say of them.
        level: Their level.
        w: Strength of the tilt.
        normal: Standard normal proposals.
        uniform: One uniform number per row, which decides.

    Returns:
        New states, what the laws say of them, and which rows moved.

    Source:
        Metropolis-adjusted Langevin algorithm [roberts1996exponential]; derived in explanation/tilted.
    """
    v = float(level.variance)
    size = _STEP / (1 + abs(w)) * x.shape[1] ** (-1 / 3)  # step over v
    proposed = x + size * (seen.guided(w) - x) + (2 * size * v) ** 0.5 * normal
    there = look(pair, proposed, level)
    forth = -normal.double().square().sum(1) / 2
    back = (x - proposed - size * (there.guided(w) - proposed)).double().square().sum(1) / (-4 * size * v)
    gain = there.log_tilted(w) - seen.log_tilted(w) + back - forth
    taken = uniform.log() < gain
    return torch.where(taken[:, None], proposed, x), seen.where(taken, there), taken
