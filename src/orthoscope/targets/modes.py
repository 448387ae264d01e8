r"""Reading many modes without ever holding a rows-by-modes matrix.

The posterior over modes given $x$ at total variance $v$ has logits $(x\cdot m_k - |m_k|^2/2)/v + \log\pi_k$. Written as
an inner product of an extended query $(x/v,\,1/v,\,1)$ with an extended key $(m_k,\,-|m_k|^2/2,\,\log\pi_k)$, the
posterior mean is one attention read in which keys and values are the same stored array; it never depends on $v$. The
width is padded to a multiple of 8, without which fused attention on a CPU loses more than half of its speed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from orthoscope.typing import Centroids, PerRow, Rows, Vector

_ALIGN = 8  # columns; vector width of fused CPU kernels
_BLOCK = 1 << 22  # logits held at once by the blockwise passes: 32 MiB in float64

Table = Float[Tensor, "modes columns"]


def mode_table(centroids: Centroids, log_weights: PerRow, center: Vector | None = None) -> Table:
    """Keys of the posterior over modes: centroid from the center, minus half its square, log-weight, zeros.

    Measured from the center of the modes, logits lose no digits however far from the origin the data lies.
    """
    modes, dim = centroids.shape
    columns = math.ceil((dim + 2) / _ALIGN) * _ALIGN
    table = centroids.new_zeros(modes, columns)
    table[:, :dim] = centroids
    if center is not None:
        table[:, :dim] -= center
    for block in _blocks(modes, _BLOCK // columns):
        table[block, dim] = table[block, :dim].double().square().sum(1).div(-2).to(table.dtype)
    table[:, dim + 1] = log_weights
    return table


def _queries(table: Tensor, x: Tensor, variance: float | Tensor, dim: int) -> Tensor:
    """Extended queries (x / v, 1 / v, 1, 0 ...) of rows at total variance v."""
    queries = table.new_zeros(len(x), table.shape[1])
    queries[:, :dim] = x / variance
    queries[:, dim : dim + 1] = 1 / torch.as_tensor(variance, dtype=table.dtype)
    queries[:, dim + 1] = 1
    return queries


def posterior_mean(table: Table, x: Rows, variance: float | Tensor) -> Rows:
    """Posterior mean of the centroid given each row.

    Args:
        table: From `mode_table`.
        x: Rows in unscaled coordinates, measured from the center.
        variance: Total variance v = noise + width, a number or a column with one per row.

    Returns:
        The mean, measured from the center.

    Accuracy:
        Rounding in the logits, about eps * |m|^2 / v with m measured from the center: below 1e-4 in float32 at d = 64,
        v = 0.25.
    """
    return _read(table, x, variance)[:, : x.shape[1]]


def posterior_spread(table: Table, x: Rows, variance: float | Tensor) -> PerRow:
    """Total posterior variance of the centroid given each row, from the same read; arguments as `posterior_mean`.

    Accuracy:
        Rounding of a difference of squares, about eps * |m|^2.
    """
    read, dim = _read(table, x, variance).double(), x.shape[1]
    return (-2 * read[:, dim] - read[:, :dim].square().sum(1)).clamp_min(0)  # column dim holds -|m|^2 / 2


def _read(table: Table, x: Rows, variance: float | Tensor) -> Tensor:
    queries = _queries(table, x, variance, x.shape[1])[None, None]
    keys = table[None, None]
    return F.scaled_dot_product_attention(queries, keys, keys, scale=1.0)[0, 0]


def log_partition(
    table: Table, x: Rows, variance: float | Tensor, *, members: Tensor | None = None
) -> Float[Tensor, "n"]:
    """Log of the sum over modes of exp(logit), in float64, block by block.

    Args:
        table: From `mode_table`.
        x: Rows in unscaled coordinates, measured from the center.
        variance: Total variance, a number or a column.
        members: Boolean mask of the modes to sum over; all if None.
    """
    queries = _queries(table.new_empty(0, table.shape[1], dtype=torch.float64), x.double(), variance, x.shape[1])
    total = torch.full((len(x),), -math.inf, dtype=torch.float64, device=x.device)
    for block in _blocks(len(table), max(1, _BLOCK // max(len(x), table.shape[1]))):
        logits = queries @ table[block].double().T
        if members is not None:
            logits = logits.masked_fill(~members[block], -math.inf)
        total = torch.logaddexp(total, logits.logsumexp(1))
    return total


def _blocks(length: int, size: int) -> Iterator[slice]:
    for start in range(0, length, max(size, 1)):
        yield slice(start, min(start + size, length))
