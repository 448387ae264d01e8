r"""The unconditional law of a mixture, read only while a row's class is still open.

Along the guided reverse SDE the odds $O = (1 - p)/p$ of leaving the class that is asked for form a supermartingale
(constant strength $w$: $(1 + O)^{1+2w}$ is a martingale). Once they are small they stay small, and the unconditional
mean is that of the class. How small they have to be for a wanted tolerance is computed by `theory.odds`; why, is
derived in explanation/stopping.

The statement is one about the reverse SDE (`lam=1`). The probability-flow ODE has no such martingale: there, `Active`
bounds what it leaves out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool
from torch import Tensor

from orthoscope.denoise.base import Denoiser, Evaluation, ExactDenoiser, Label, Memory
from orthoscope.errors import ConfigError, ShapeError
from orthoscope.prediction import per_row
from orthoscope.process import NoiseLevel
from orthoscope.targets.mixture import IsotropicModes
from orthoscope.targets.modes import read
from orthoscope.typing import Rows

Mask = Bool[Tensor, "n"]


@dataclass(frozen=True, eq=False)
class Committed(Denoiser):
    """The exact unconditional denoiser of a mixture, which stops reading the other classes for decided rows.

    To be the reference of a guided denoiser, whatever label that passes on:
    `Guided(main=Exact(target), reference=Committed(target, label, odds=odds), schedule=schedule)`. Its memory is the
    mask of committed rows. A row whose odds are found at or below `odds` is committed from the next step on, for good.

    Attributes:
        target: The mixture, in memory or streamed, absorbed or not.
        label: Class that rows are asked to stay in: a number, or one per row. Each of several classes takes a pass of
            its own over the others.
        odds: Odds of leaving the class at which a row is committed, in [0, 1); 0 never commits.

    Accuracy:
        Until a row commits, rounding. After, its mean is off by at most the probability 1 - p of the other classes
        times their distance.
    """

    target: IsotropicModes
    label: int | Tensor
    odds: float = field(kw_only=True)
    _exact: ExactDenoiser = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Reject odds that are none."""
        if not 0 <= self.odds < 1:
            raise ConfigError(f"the odds at which a row is committed must lie in [0, 1), got {self.odds:g}")
        object.__setattr__(self, "_exact", ExactDenoiser(self.target))

    def evaluate(self, x: Rows, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        """The unconditional denoised mean; of committed rows, that of their class.

        Raises:
            ConfigError: if a label is not present.
            ShapeError: if labels or memory do not have one entry per row.
        """
        self._exact.check(level)
        committed = self._mask(x, memory)
        noise = per_row(level.variance, x)
        v = torch.as_tensor(noise + self.target.width, dtype=x.dtype, device=x.device).expand(len(x), 1)
        away, mean, modes_read = x - self.target.center, torch.empty_like(x), 0
        for one, rows in self._groups(x):
            mean[rows], committed[rows], seen = self._read(one, away[rows], v[rows], committed[rows])
            modes_read += seen
        mu = mean + self.target.center
        width = self.target.width
        denoised = (width * x + noise * mu) / (noise + width) if width else mu
        return Evaluation(denoised=denoised, memory=committed, modes_read=modes_read)

    def _read(self, label: int, x: Rows, v: Tensor, committed: Mask) -> tuple[Rows, Mask, int]:
        """Mean centroid of rows of one class, which of them are committed from now on, and the modes read."""
        own = self._exact.law(label)
        assert isinstance(own, IsotropicModes)
        inside = read(own.tables(), x, v)
        mean, modes_read, others = inside.mean, len(x) * own.size, self.target.size - own.size
        still = (~committed).nonzero().squeeze(1)
        if len(still) and others:
            outside = read(self.target.tables(without=label), x[still], v[still])
            log_odds = outside.log_sum - inside.log_sum[still]  # of disjoint sums: never 1 - p
            mean[still] = mean[still].lerp(outside.mean, torch.sigmoid(log_odds).to(mean)[:, None])
            committed[still] = log_odds <= (math.log(self.odds) if self.odds else -math.inf)
            modes_read += len(still) * others
        return mean, committed, modes_read

    def _groups(self, x: Rows) -> Iterator[tuple[int, Tensor]]:
        """Each class asked for, with the indices of its rows."""
        if not isinstance(self.label, Tensor):
            yield self.label, torch.arange(len(x), device=x.device)
            return
        if self.label.shape != (len(x),):
            raise ShapeError(f"expected one label per row, got {tuple(self.label.shape)} for {len(x)} rows")
        for one in torch.unique(self.label).tolist():
            yield one, (self.label == one).nonzero().squeeze(1)

    @staticmethod
    def _mask(x: Rows, memory: Memory) -> Mask:
        """The rows committed so far, a copy; none before the first step."""
        if memory is None:
            return torch.zeros(len(x), dtype=torch.bool, device=x.device)
        if not isinstance(memory, Tensor) or memory.dtype != torch.bool or memory.shape != (len(x),):
            raise ShapeError(
                f"expected the mask of {len(x)} rows that a `Committed` left as memory, got {memory!r:.60}"
            )
        return memory.clone()
