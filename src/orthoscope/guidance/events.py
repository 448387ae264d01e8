"""What rules ask of strengths and of the events of a row."""

from __future__ import annotations

import torch
from torch import Tensor

from orthoscope.process import Scalar


def is_zero(w: Scalar) -> bool:
    """Whether the strength is one number, and zero: then the conditional prediction is all there is."""
    return getattr(w, "ndim", 0) == 0 and float(w) == 0


def row_dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of two events, row by row, as a column that multiplies rows; at least in single precision."""
    wide = torch.promote_types(a.dtype, torch.float32)
    return (a.to(wide) * b.to(wide)).flatten(1).sum(dim=1).reshape(-1, *[1] * (a.ndim - 1))


def row_norm(a: Tensor) -> Tensor:
    """Euclidean norm of an event, row by row, as a column that multiplies rows; at least in single precision."""
    return row_dot(a, a).sqrt()
