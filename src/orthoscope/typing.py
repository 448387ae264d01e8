"""Names for array shapes, checked in the tests: the axes of the whole package are written down here once.

`n` counts rows (trajectories), `dim` coordinates, `modes` mixture modes; `*event` is any event shape.
"""

from __future__ import annotations

from typing import TypeAlias

from jaxtyping import Float, Int
from torch import Tensor

Rows: TypeAlias = Float[Tensor, "n dim"]
Events: TypeAlias = Float[Tensor, "n *event"]
PerRow: TypeAlias = Float[Tensor, "n"]
Centroids: TypeAlias = Float[Tensor, "modes dim"]
Vector: TypeAlias = Float[Tensor, "dim"]
Labels: TypeAlias = Int[Tensor, "rows"]
