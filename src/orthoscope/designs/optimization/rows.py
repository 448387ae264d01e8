"""Many piecewise schedules at once, as the strengths of one moment problem.

Source:
    derived in explanation/design.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orthoscope.designs.optimization.parametrization import Pieces
from orthoscope.numerics import Array
from orthoscope.theory.problem import Rows


@dataclass(frozen=True, slots=True, eq=False)
class PieceRows:
    """One piecewise schedule in each row (`theory.problem.Strengths`).

    Attributes:
        edges: Variance times of the edges, descending, shape (rows, pieces + 1).
        high: Strength at the noise side of each piece, (rows, pieces).
        low: Strength at its data side.
    """

    edges: Array
    high: Array
    low: Array
    graded: bool = False

    @classmethod
    def of(cls, many: Sequence[Pieces]) -> PieceRows:
        """Pieces side by side; the last edge is repeated where there are fewer."""
        count = max(pieces.high.size for pieces in many)

        def padded(array: Array, size: int) -> Array:
            return np.append(array, np.full(size - array.size, array[-1]))

        times = [np.maximum(np.exp(pieces.edges) - pieces.base, 0.0) for pieces in many]
        return cls(
            edges=np.stack([padded(time, count + 1) for time in times]),
            high=np.stack([padded(pieces.high, count) for pieces in many]),
            low=np.stack([padded(pieces.low, count) for pieces in many]),
        )

    @property
    def knots(self) -> tuple[float, ...]:
        """The inner edges of all."""
        return tuple(np.unique(self.edges[:, 1:-1]).tolist())

    def at(self, time: Array, rows: Rows) -> Array:
        """Each row at its times: a time on an edge belongs to the data side."""
        inner, row = self.edges[rows, None, 1:-1], rows[:, None]
        piece = ((inner >= time[..., None]) & (inner > 0)).sum(axis=-1)
        top, bottom = self.edges[row, piece], self.edges[row, piece + 1]
        high, low = self.high[row, piece], self.low[row, piece]
        return low + (high - low) * ((time - bottom) / np.maximum(top - bottom, 1e-300)).clip(0, 1)

    def limit(self) -> Array:
        """The first strength of each row."""
        return self.high[:, 0]

    def take(self, rows: slice) -> PieceRows:
        """The schedules of a block of rows."""
        return PieceRows(self.edges[rows], self.high[rows], self.low[rows])
