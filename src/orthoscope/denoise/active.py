r"""The unconditional law of a mixture from the modes that matter, with a proof for every row that the others do not.

At some state $x_0$ with variance $v_0$ a scan over all modes leaves, for a few groups of modes of nearly equal length,
what is left of the sum if only some modes, the *active* ones, are read. At a later state write
$x = \theta x_0 + \eta\mu_0 + r$ with $\mu_0$ the posterior mean at the scan. The logit of a mode has then become

$$ \frac{x\cdot m - |m|^2/2}{v} = \frac{\theta v_0}{v}\,\frac{x_0\cdot m - |m|^2/2}{v_0}
   + \frac{(\theta - 1)|m|^2/2 + \eta\,\mu_0\cdot m + r\cdot m}{v} , $$

of which every term is bounded over a group: a scaled sum of exponentials by its largest one or by the power mean, the
others by extremes over the group and by $|r||m|$. The bound holds for every path, deterministic or not, however far it
went; where it exceeds the tolerance the row is scanned again. Derived in explanation/stopping.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from orthoscope.denoise.base import Denoiser, Evaluation, ExactDenoiser, Label, Memory
from orthoscope.errors import ConfigError, ShapeError
from orthoscope.prediction import per_row
from orthoscope.process import NoiseLevel
from orthoscope.targets.mixture import Mixture
from orthoscope.targets.modes import Reading, read
from orthoscope.typing import PerRow, Rows

_GROUPS = 16  # of modes of nearly equal length
_PROBED = 64  # modes looked at, one in eight at most, before a set is chosen
_WORTH = 0.25  # largest share of active modes that is worth choosing a set
_SHORT = 1e-30  # length that counts as none
_ROUNDING = 100.0  # machine epsilons by which a product of lengths may be off
_LOGITS = 1 << 21  # logits held at once while choosing: 16 MiB in float64


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class ActiveSet:
    """The modes that are read, and for each row and group of the others what was left out at the row's last scan.

    Attributes:
        members: Which modes are active.
        table: Their rows of the table.
        x: State of each row at its last scan, from the center.
        mean: Posterior mean there.
        variance: Total variance there, a column.
        log_left: Log-sum over the modes of a group that are not active; +inf of a row that was never scanned.
        highest: Largest x.m - |m|^2/2 among them.
        along: Smallest and largest product of the posterior mean with one of them.
        log_weight: Log of their total weight, per group.
        lengths: Smallest and largest length of the modes of each group.
        wait: Scans to come before a set is chosen again.
        patience: What `wait` becomes when this set fails: twice as many each time.
    """

    members: Tensor
    table: Tensor
    x: Tensor
    mean: Tensor
    variance: Tensor
    log_left: Tensor
    highest: Tensor
    along: tuple[Tensor, Tensor]
    log_weight: Tensor
    lengths: tuple[Tensor, Tensor]
    wait: int = 0
    patience: int = 1

    def error(self, x: Rows, variance: Tensor, active: Reading) -> PerRow:
        """Bound on the error of the posterior mean of the active modes, in data units, up to rounding of the read.

        Args:
            x: States now, from the center, in float64.
            variance: Total variance now, a column.
            active: What reading the active modes gave.
        """
        length = self.lengths[1]
        eps = torch.finfo(self.table.dtype).eps
        reach = x.norm(dim=1, keepdim=True)
        rounding = _ROUNDING * eps * (reach + length.max()) * length.max() / variance
        share = (self.log_left_now(x, variance) + rounding - active.log_sum[:, None]).exp()
        return (share * (length + active.mean.double().norm(dim=1, keepdim=True))).sum(1)

    def log_left_now(self, x: Rows, variance: Tensor) -> Tensor:
        """Bound on the log-sum that is left out of each group at other states and variances."""
        theta, eta = _combination(x, self.x, self.mean)
        rest = (x - theta * self.x - eta * self.mean).norm(dim=1, keepdim=True)
        shortest, longest = self.lengths
        power = theta * self.variance / variance
        sharper = self.log_left + (power - 1) * self.highest / self.variance
        flatter = (1 - power) * self.log_weight + power * self.log_left
        scaled = torch.where(power >= 1, sharper, flatter)
        lengths = (theta - 1) / 2 * torch.where(theta >= 1, longest, shortest).square()
        along = torch.where(eta >= 0, eta * self.along[1], eta * self.along[0])
        bound = scaled + (lengths + along + rest * longest) / variance
        return bound.where(self.log_left.isfinite(), self.log_left)


@dataclass(frozen=True, eq=False)
class Active(Denoiser):
    """The denoiser of a mixture within a tolerance; without a label it reads only the modes that matter.

    Stands wherever `ExactDenoiser` does, `classifier_free` included; with a label it is that. Its memory is an
    `ActiveSet`, shared by the rows of a run.

    Attributes:
        target: The mixture; absorbed or not.
        tolerance: Largest error of the posterior mean of the centroid, in data units, of any row at any step, > 0.

    Accuracy:
        The tolerance, guaranteed, on top of the rounding of a read.
    """

    target: Mixture
    tolerance: float = field(kw_only=True)
    _exact: ExactDenoiser = field(init=False, repr=False)
    _groups: tuple[Tensor, ...] = field(init=False, repr=False)
    _lengths: tuple[Tensor, Tensor] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Reject tolerances that are none; sort the modes by length."""
        if not self.tolerance > 0:
            raise ConfigError(f"the tolerance of a posterior mean must be > 0, got {self.tolerance:g}; or use Exact")
        dim, table = self.target.dim, self.target.table
        lengths, order = table[:, :dim].double().norm(dim=1).sort()
        groups = order.tensor_split(min(_GROUPS, len(order)))
        parts = lengths.tensor_split(len(groups))
        object.__setattr__(self, "_exact", ExactDenoiser(self.target))
        object.__setattr__(self, "_groups", groups)
        object.__setattr__(self, "_lengths", (torch.stack([p[0] for p in parts]), torch.stack([p[-1] for p in parts])))

    @property
    def _log_share(self) -> float:
        """Log of the posterior probability above which a mode is active.

        What is left out would sum to half the tolerance if the square root of all modes stood there. The most probable
        mode is active in any case.
        """
        longest, size = max(float(self._lengths[1].max()), _SHORT), self.target.size
        return min(math.log(self.tolerance / (2 * longest * math.sqrt(size))), -math.log(2 * size))

    def evaluate(self, x: Rows, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        """The denoised mean, exact with a label, within the tolerance without.

        Raises:
            ShapeError: if the memory belongs to other rows or another denoiser.
        """
        if label is not None:
            return self._exact.evaluate(x, level, label, memory)
        self._exact.check(level)
        kept = self._checked(x, memory)
        width, noise = self.target.width, per_row(level.variance, x)
        v = torch.as_tensor(noise + width, dtype=x.dtype, device=x.device).expand(len(x), 1)
        mean, kept, modes_read = self._read(x - self.target.center, v, kept)
        mu = mean + self.target.center
        denoised = (width * x + noise * mu) / (noise + width) if width else mu
        return Evaluation(denoised=denoised, memory=kept, modes_read=modes_read)

    def _read(self, x: Rows, v: Tensor, kept: ActiveSet) -> tuple[Rows, ActiveSet, int]:
        """Posterior means, the set from now on, and the modes read."""
        mean, modes_read = torch.empty_like(x), 0
        fails = torch.ones(len(x), dtype=torch.bool, device=x.device)
        if len(kept.table):
            active = read((kept.table,), x, v)
            mean, modes_read = active.mean, len(x) * len(kept.table)
            fails = ~(kept.error(x.double(), v.double(), active) <= self.tolerance)  # NaN fails
        if not bool(fails.any()):
            return mean, kept, modes_read
        if float(fails.double().mean()) > 0.5:
            fails[:] = True
            kept = replace(self._empty(x), wait=kept.patience, patience=2 * kept.patience) if len(kept.table) else kept
        rows = fails.nonzero().squeeze(1)
        whole = read(self.target.tables(), x[rows], v[rows])
        mean[rows] = whole.mean
        kept, looked = self._renewed(kept, rows, x[rows].double(), v[rows].double(), whole)
        return mean, kept, modes_read + len(rows) * (self.target.size + looked)

    def _renewed(self, kept: ActiveSet, rows: Tensor, x: Rows, v: Tensor, whole: Reading) -> tuple[ActiveSet, int]:
        """The set grown by what scanned rows need, and how many modes each of them looked at for that."""
        if kept.wait:
            return replace(kept, wait=kept.wait - 1), 0
        cut = whole.log_sum[:, None] + self._log_share
        probe = torch.arange(0, self.target.size, max(self.target.size // _PROBED, 8), device=x.device)
        if float((self._logits(x, v, probe)[0] > cut).any(0).double().mean()) > _WORTH:
            return replace(kept, log_left=kept.log_left.index_fill(0, rows, math.inf)), len(probe)
        members, center = kept.members.clone(), whole.mean.double()
        log_left, highest, low, high, log_weight = [], [], [], [], []
        for group in self._groups:
            found = [
                self._left(x, v, center, part, cut, members) for part in torch.split(group, max(_LOGITS // len(x), 1))
            ]
            logs, tops, lows, highs, weights = zip(*found, strict=True)
            log_left.append(torch.stack(logs).logsumexp(0))
            highest.append(torch.stack(tops).amax(0))
            low.append(torch.stack(lows).amin(0))
            high.append(torch.stack(highs).amax(0))
            log_weight.append(torch.stack(weights).logsumexp(0))
        renewed = ActiveSet(
            members=members,
            table=self.target.table[members],
            x=kept.x.index_copy(0, rows, x),
            mean=kept.mean.index_copy(0, rows, center),
            variance=kept.variance.index_copy(0, rows, v),
            log_left=kept.log_left.index_copy(0, rows, torch.stack(log_left, 1)),
            highest=kept.highest.index_copy(0, rows, torch.stack(highest, 1)),
            along=(
                kept.along[0].index_copy(0, rows, torch.stack(low, 1)),
                kept.along[1].index_copy(0, rows, torch.stack(high, 1)),
            ),
            log_weight=torch.stack(log_weight),
            lengths=self._lengths,
            patience=kept.patience,
        )
        return renewed, len(probe) + self.target.size

    def _left(
        self, x: Rows, v: Tensor, center: Rows, part: Tensor, cut: Tensor, members: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Activate the modes of a part that matter to some row; sum and extremes of those that do not."""
        logits, keys, weights = self._logits(x, v, part)
        members[part] |= (logits > cut).any(0)
        out = ~members[part]
        if not bool(out.any()):
            nothing = x.new_full((len(x),), -math.inf)
            return nothing, nothing, -nothing, nothing, nothing.new_tensor(-math.inf)
        along = center @ keys[out].T
        highest = (v * (logits - weights))[:, out].amax(1)
        return logits[:, out].logsumexp(1), highest, along.amin(1), along.amax(1), weights[out].logsumexp(0)

    def _logits(self, x: Rows, v: Tensor, modes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of some modes in float64, their centroids and their log-weights."""
        dim, keys = self.target.dim, self.target.table[modes].double()
        squares = keys[:, :dim].square().sum(1)
        return (x @ keys[:, :dim].T - squares / 2) / v + keys[:, dim + 1], keys[:, :dim], keys[:, dim + 1]

    def _checked(self, x: Rows, memory: Memory) -> ActiveSet:
        if memory is None:
            return self._empty(x)
        if not isinstance(memory, ActiveSet) or memory.x.shape != x.shape or len(memory.members) != self.target.size:
            raise ShapeError(f"expected the active set of {len(x)} rows that an `Active` left as memory, got another")
        return memory

    def _empty(self, x: Rows) -> ActiveSet:
        """The set of no modes, in which no row can trust."""
        rows, groups = x.new_zeros(x.shape, dtype=torch.float64), x.new_zeros(len(x), len(self._groups)).double()
        return ActiveSet(
            members=torch.zeros(self.target.size, dtype=torch.bool, device=x.device),
            table=self.target.table[:0],
            x=rows,
            mean=rows,
            variance=rows.new_ones(len(x), 1),
            log_left=torch.full_like(groups, math.inf),
            highest=groups,
            along=(groups, groups),
            log_weight=groups[:1].squeeze(0) if len(x) else rows.new_zeros(len(self._groups)),
            lengths=self._lengths,
        )


def _combination(x: Rows, first: Rows, second: Rows) -> tuple[Tensor, Tensor]:
    """Coefficients, as columns, of the combination of two vectors that is nearest to each row; the first is >= 0."""
    aa, bb, ab = (first * first).sum(1), (second * second).sum(1), (first * second).sum(1)
    xa, xb = (x * first).sum(1), (x * second).sum(1)
    tiny = torch.finfo(x.dtype).tiny
    det = aa * bb - ab * ab
    apart = det > 1e-3 * aa * bb  # a combination of nearly parallel vectors would lose digits
    theta = torch.where(apart, (xa * bb - xb * ab) / det.clamp_min(tiny), xa / aa.clamp_min(tiny)).clamp_min(0)
    eta = torch.where(bb > tiny, (xb - theta * ab) / bb.clamp_min(tiny), torch.zeros_like(bb))
    return theta[:, None], eta[:, None]
