r"""Reading many modes without ever holding a rows-by-modes matrix.

The posterior over modes given $x$ at total variance $v$ has logits $(x\cdot m_k - |m_k|^2/2)/v + \log\pi_k$. Written as
an inner product of an extended query $(x/v,\,1/v,\,1,\,-a)$ with an extended key $(m_k,\,-|m_k|^2/2,\,\log\pi_k,\,1)$,
they come out of one matrix product already lowered by a shift $a$ of the row, and a second product of their
exponentials with the same keys gives the sum over modes of $m_k$, of $|m_k|^2$ and of 1 at once. Keys never depend on
$v$. Rows and modes are taken in blocks whose logits stay in the processor's cache, and the shift is raised only when a
block exceeds it by so much that sums could overflow (explanation/scale).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from orthoscope.typing import Centroids, PerRow, Rows, Vector

_ALIGN = 8  # columns: products with a ragged inner dimension are slow on a CPU
_BLOCK = 1 << 22  # numbers of a table handled at once where a pass over it needs a copy: 32 MiB in float64
_ROWS = 1024  # rows whose logits are held at once on a CPU
_MODES = 4096  # modes read at once on a CPU, however few the rows
_LOGITS = 1 << 20  # logits held at once on a CPU: 4 MiB in float32, a part of its shared cache
_LOGITS_ELSEWHERE = 1 << 26  # on an accelerator
_FULL = 2.0**60  # a sum at which the shift is raised, far below the largest number
_LOG2E = math.log2(math.e)

Table = Float[Tensor, "modes columns"]


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Reading:
    """What one pass over the modes tells about each row.

    Attributes:
        mean: Posterior mean of the centroid, measured from the center.
        square: Posterior mean of the centroid's square, measured from the center.
        log_sum: Log of the sum over modes of exp(logit), in float64.
    """

    mean: Rows
    square: PerRow
    log_sum: PerRow

    @property
    def spread(self) -> PerRow:
        """Total posterior variance of the centroid, in float64.

        Accuracy:
            Rounding of a difference of squares, about eps * |m|^2.
        """
        return (self.square.double() - self.mean.double().square().sum(1)).clamp_min(0)


def mode_table(centroids: Centroids, log_weights: PerRow, center: Vector | None = None) -> Table:
    """Keys of the posterior over modes, see `completed`.

    Measured from the center of the modes, logits lose no digits however far from the origin the data lies.
    """
    modes, dim = centroids.shape
    table = blank_table(modes, dim, like=centroids)
    table[:, :dim] = centroids
    return completed(table, dim, log_weights, center)


def blank_table(modes: int, dim: int, *, like: Tensor) -> Table:
    """A table of zeros, to be filled with centroids and `completed`, so that they are never held twice."""
    return like.new_zeros(modes, table_columns(dim))


def table_columns(dim: int) -> int:
    """Numbers that a table keeps per mode."""
    return math.ceil((dim + 4) / _ALIGN) * _ALIGN


def completed(table: Table, dim: int, log_weights: PerRow | float, center: Vector | None = None) -> Table:
    """The same table, its centroids moved to the center and all other columns filled in place.

    After the centroid: minus half its square, log-weight, 1, what rounding took from the half square, zeros.
    """
    if center is not None:
        table[:, :dim] -= center
    for block in blocks(len(table), _BLOCK // table.shape[1]):
        half_square = torch.linalg.vector_norm(table[block, :dim], dim=1, dtype=torch.float64).square().div(-2)
        table[block, dim] = half_square.to(table.dtype)
        table[block, dim + 3] = (half_square - table[block, dim]).to(table.dtype)
    table[:, dim + 1] = log_weights
    table[:, dim + 2] = 1
    return table


def read(tables: Iterable[Table], x: Rows, variance: float | Tensor) -> Reading:
    """Posterior mean over all modes of several tables, and the log of their sum, from one pass over blocks.

    Args:
        tables: From `mode_table`, or slices of its rows, all of one type; taken one after the other and never kept.
        x: Rows in unscaled coordinates, measured from the center.
        variance: Total variance v = noise + width, a number or a column with one per row.

    Accuracy:
        Rounding in the logits, about eps * |m|^2 / v with m measured from the center: below 1e-4 in the mean in
        float32 at d = 64, v = 0.25. A table in bfloat16 is read with sums in float32, its mean good to 1 part in 100
        where rows are noised modes. Modes less probable than the best one by a factor of 2^126 count as zero.
    """
    sums, shift = _scan(tables, x, variance)
    dim, total = x.shape[1], sums[:, x.shape[1] + 2]
    return Reading(
        mean=sums[:, :dim] / total[:, None],
        square=-2 * sums[:, dim] / total,
        log_sum=(shift + total.double().log2()) / _LOG2E,
    )


def posterior_mean(table: Table, x: Rows, variance: float | Tensor) -> Rows:
    """Posterior mean of the centroid given each row, measured from the center; arguments and accuracy as `read`."""
    return read((table,), x, variance).mean


def log_sum(tables: Iterable[Table], x: Rows, variance: float | Tensor) -> PerRow:
    """Log of the sum over modes of exp(logit), computed in float64 whatever the tables' type; arguments as `read`."""
    doubles = (table[block].double() for table in tables for block in blocks(len(table), _BLOCK // table.shape[1]))
    sums, shift = _scan(doubles, x.double(), variance, only_total=True)
    return (shift + sums.squeeze(1).log2()) / _LOG2E


def log_partition(table: Table, x: Rows, variance: float | Tensor, *, members: Tensor | None = None) -> PerRow:
    """`log_sum` of one table, or of the modes in a boolean mask of it."""
    if members is None:
        return log_sum((table,), x, variance)
    parts = (table[block][members[block]] for block in blocks(len(table), _BLOCK // table.shape[1]))
    return log_sum(parts, x, variance)


def blocks(length: int, size: int) -> Iterator[slice]:
    """Consecutive slices of at most `size`, at least 1, that cover `length`."""
    for start in range(0, length, max(size, 1)):
        yield slice(start, min(start + size, length))


# The scan


def _scan(
    tables: Iterable[Table], x: Rows, variance: float | Tensor, *, only_total: bool = False
) -> tuple[Tensor, Tensor]:
    """Sums over modes of 2**(logit in bits - shift) times the columns of the table, or times 1, and the shifts."""
    scan: list[_Block] = []
    count = x.shape[0]  # far quicker than len, which torch answers in Python
    rows = _ROWS if x.device.type == "cpu" else max(1, min(count, 1 << 13))
    with _true_precision():
        for table in tables:
            if not scan:
                queries = _queries(table, x, variance)
                scan = [_Block(queries[block], x.shape[1], only_total) for block in blocks(max(count, 1), rows)]
            for block in scan:
                block.take(table)
    if not scan:
        return x.new_zeros(len(x), 1 if only_total else x.shape[1] + 3), torch.full(
            (len(x),), -math.inf, dtype=torch.float64, device=x.device
        )
    return torch.cat([block.sums for block in scan]), torch.cat([block.shift for block in scan])


def _queries(table: Table, x: Rows, variance: float | Tensor) -> Tensor:
    """Extended queries (x / v, 1 / v, 1, 0, 1 / v, 0 ...) of rows at variance v, in bits: exp2 is faster than exp."""
    dim = x.shape[1]
    inverse = _LOG2E / torch.as_tensor(variance, dtype=x.dtype, device=x.device)
    queries = table.new_zeros(x.shape[0], table.shape[1])
    queries[:, :dim] = x * inverse
    queries[:, dim : dim + 1] = queries[:, dim + 3 : dim + 4] = inverse
    queries[:, dim + 1] = _LOG2E
    return queries


class _Block:
    """Some rows on their way over the modes: their queries, shifts and sums.

    Sums are kept relative to 2**shift of the row; the shift starts at the largest logit of the first block of modes.
    """

    def __init__(self, queries: Tensor, dim: int, only_total: bool) -> None:
        self.queries, self.one = queries, dim + 2
        self.columns = slice(self.one, self.one + 1) if only_total else slice(None)
        self.total = 0 if only_total else self.one
        exact = torch.promote_types(queries.dtype, torch.float32)
        self.sums = queries.new_zeros(queries[:, self.columns].shape, dtype=exact)
        self.spare = torch.empty_like(self.sums)
        self.started = False
        self.reuse = not queries.requires_grad  # a gradient needs every intermediate result

    @property
    def shift(self) -> Tensor:
        """Minus what the queries add to every logit; minus infinity before the first mode."""
        shift = -self.queries[:, self.one].detach().double()
        return shift if self.started else torch.full_like(shift, -math.inf)

    def take(self, table: Table) -> None:
        """Read some modes; logits that turn out too large for the shift are computed again, below a higher one."""
        asked, modes = self.queries.shape[0], table.shape[0]
        rows = max(asked, 1)
        size = min(_LOGITS // rows, _MODES) if table.device.type == "cpu" else max(_LOGITS_ELSEWHERE // rows, 1)
        buffer = table.new_empty(rows * min(size, modes) if self.reuse else 0)
        for block in blocks(modes, size):
            keys = table[block]
            many = block.stop - block.start
            out = buffer[: asked * many].view(-1, many) if self.reuse else None
            fits = False
            if self.started:
                sums = self._plus(torch.mm(self.queries, keys.T, out=out), keys, out)
                fits = not asked or float(sums[:, self.total].detach().amax()) <= _FULL
            if not fits:
                sums = self._plus(self._lowered(torch.mm(self.queries, keys.T, out=out)), keys, out)
            self.sums, self.spare = sums, self.sums

    def _plus(self, logits: Tensor, keys: Tensor, out: Tensor | None) -> Tensor:
        powers, values = torch.exp2(logits, out=out), keys[:, self.columns]
        spare = self.spare if self.reuse else None
        if powers.dtype == self.sums.dtype:
            return torch.addmm(self.sums, powers, values, out=spare)
        return torch.add(self.sums, torch.mm(powers, values), out=spare)

    def _lowered(self, logits: Tensor) -> Tensor:
        """Logits below shifts raised to the largest of them."""
        before, excess = self.queries[:, self.one], logits.detach().amax(1)
        if self.started:
            excess.clamp_min_(0)
        after = before - excess
        excess = (before - after).detach()  # as rounded
        self.queries = self.queries.clone()
        self.queries[:, self.one] = after
        if self.started:
            self.sums = self.sums * torch.exp2(-excess)[:, None]
        self.started = True
        return logits - excess[:, None]


@contextmanager
def _true_precision() -> Iterator[None]:
    """Products in the full precision of their type, whatever faster kind was allowed globally."""
    before = torch.get_float32_matmul_precision()
    if before == "highest":
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
