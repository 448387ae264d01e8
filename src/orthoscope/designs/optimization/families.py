"""Families of piecewise schedules: which numbers are free, and which tied.

A point of a family is a vector in the unit cube: positions of the inner edges, descending from the start (1) to clean
data (0) in log-variance, then strengths between the bounds. Every simple window is a family with few pieces.

Source:
    derived in explanation/design.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from orthoscope.designs.optimization.parametrization import PieceGradient, Pieces
from orthoscope.numerics import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Piecewise schedules with a given number of pieces.

    Attributes:
        name: What the family is called.
        count: Number of pieces.
        lines: Whether strengths belong to the edges, with straight lines in t between them, instead of to the pieces.
        silent: Pieces whose strength is 0.
        cells: Whether the edges are fixed, evenly in log-variance.
        top: log-variance of the start.
        bottom: log-variance of clean data.
        low: Smallest strength.
        high: Largest strength.
    """

    name: str
    count: int
    lines: bool = False
    silent: tuple[int, ...] = ()
    cells: bool = False
    top: float
    bottom: float
    low: float
    high: float

    @property
    def positions(self) -> int:
        """Number of free edges."""
        return 0 if self.cells else self.count - 1

    @property
    def free(self) -> tuple[int, ...]:
        """Pieces (or edges, for lines) whose strength is free."""
        return tuple(i for i in range(self.count + self.lines) if i not in self.silent)

    @property
    def size(self) -> int:
        """Number of free numbers."""
        return self.positions + len(self.free)

    def pieces(self, point: Array) -> Pieces:
        """The schedule at a point."""
        inner = np.linspace(1, 0, self.count + 1)[1:-1] if self.cells else point[: self.positions]
        strengths = np.zeros(self.count + self.lines)
        strengths[list(self.free)] = self.low + (self.high - self.low) * point[self.positions :]
        # Rounding of an optimizer must not leave the order.
        edges = np.empty(self.count + 1)
        edges[0], edges[1:-1], edges[-1] = 1.0, inner, 0.0
        edges = np.minimum.accumulate(np.minimum(np.maximum(edges, 0.0), 1.0))
        return Pieces(
            base=float(np.exp(self.bottom)),
            edges=self.bottom + (self.top - self.bottom) * edges,
            high=strengths[:-1] if self.lines else strengths,
            low=strengths[1:] if self.lines else strengths,
        )

    def pullback(self, gradient: PieceGradient) -> Array:
        """Derivatives by the point from those by the pieces."""
        if self.lines:
            strengths = np.zeros((*gradient.high.shape[:-1], self.count + 1))
            strengths[..., :-1] += gradient.high
            strengths[..., 1:] += gradient.low
        else:
            strengths = gradient.high + gradient.low
        edges = gradient.edges[..., 1:-1] if not self.cells else gradient.edges[..., :0]
        return np.concatenate(
            [edges * (self.top - self.bottom), strengths[..., list(self.free)] * (self.high - self.low)], axis=-1
        )

    def point(self, positions: Array, strengths: Array) -> Array:
        """The point with given positions in the unit interval and free strengths, clipped to the bounds."""
        scaled = (np.asarray(strengths, dtype=np.float64) - self.low) / (self.high - self.low)
        return np.clip(np.concatenate([np.asarray(positions, dtype=np.float64), scaled]), 0, 1)

    def order(self) -> Array:
        """Rows whose product with a point must not be negative: edges stay in order."""
        rows = np.zeros((max(self.positions - 1, 0), self.size))
        for i in range(len(rows)):
            rows[i, i], rows[i, i + 1] = 1, -1
        return rows

    def embedded(self, pieces: Pieces) -> Array | None:
        """The point that stands for given pieces, None if the family has too few pieces or silent ones.

        Cells take the strength in their middle. Lines take jumps as pieces without length.
        """
        if self.silent:
            return self._as_interval(pieces)
        if self.cells:
            middle = self.bottom + (self.top - self.bottom) * (1 - (np.arange(self.count) + 0.5) / self.count)
            schedule = pieces.schedule()
            return self.point(np.zeros(0), schedule.at_time(np.exp(middle) - pieces.base))
        unit = (pieces.edges - self.bottom) / (self.top - self.bottom)
        if self.lines:
            return self._as_lines(unit, pieces)
        spare = self.count - pieces.high.size
        if spare < 0 or not np.array_equal(pieces.high, pieces.low):
            return None
        edges = np.concatenate([unit[1:-1], np.zeros(spare)])
        return self.point(edges, np.append(pieces.high, np.full(spare, pieces.high[-1])))

    def _as_interval(self, pieces: Pieces) -> Array | None:
        unit, strengths = (pieces.edges - self.bottom) / (self.top - self.bottom), pieces.high
        if strengths[0]:  # silent pieces of no length at the ends of the run
            unit, strengths = np.append(1.0, unit), np.append(0.0, strengths)
        if strengths[-1]:
            unit, strengths = np.append(unit, 0.0), np.append(strengths, 0.0)
        if strengths.size != self.count or strengths[list(self.silent)].any() or (pieces.high != pieces.low).any():
            return None
        return self.point(unit[1:-1], strengths[list(self.free)])

    def _as_lines(self, unit: Array, pieces: Pieces) -> Array | None:
        positions, strengths = [float(unit[0])], [float(pieces.high[0])]
        for j in range(pieces.high.size):
            if pieces.high[j] != strengths[-1]:
                positions.append(float(unit[j]))
                strengths.append(float(pieces.high[j]))
            positions.append(float(unit[j + 1]))
            strengths.append(float(pieces.low[j]))
        spare = self.count + 1 - len(positions)
        if spare < 0:
            return None
        # Spare edges divide the longest pieces, where they change nothing but can bend later.
        schedule = pieces.schedule()
        for _ in range(spare):
            j = int(np.argmax(-np.diff(positions)))
            middle = (positions[j] + positions[j + 1]) / 2
            positions.insert(j + 1, middle)
            strengths.insert(j + 1, float(schedule.at_time(self._time(middle, pieces.base))))
        return self.point(np.array(positions[1:-1]), np.array(strengths))

    def _time(self, position: float, base: float) -> float:
        return max(float(np.exp(self.bottom + (self.top - self.bottom) * position)) - base, 0.0)

    def resized(self, count: int, *, lines: bool = False, cells: bool = False) -> Family:
        """A family over the same run and bounds with another number of pieces, all free."""
        name = "cells" if cells else f"{count} {'lines' if lines else 'pieces'}"
        return replace(self, name=name, count=count, lines=lines, cells=cells, silent=())


def simple_families(top: float, bottom: float, low: float, high: float) -> tuple[Family, ...]:
    """Constant, interval, linear and step windows, and three phases. The interval is left out if 0 is not allowed.

    Source:
        [kynkaanniemi2024applying] for the interval, [ventura2026emergence] for the linear window; derived in
        explanation/design.
    """
    constant = Family(name="constant", count=1, top=top, bottom=bottom, low=float(low), high=float(high))
    interval = (replace(constant, name="interval", count=3, silent=(0, 2)),) if low <= 0 <= high else ()
    return (
        constant,
        replace(constant, name="linear", lines=True),
        replace(constant, name="step", count=2),
        replace(constant, name="three_phase", count=3),
        *interval,
    )


def starts(family: Family) -> list[Array]:
    """Points from which a simple family is searched: weak and strong, early and late.

    Source:
        derived in explanation/design.
    """
    low, high = family.low, family.high
    middle = min(max(0.0, low), high)
    levels = np.unique(np.clip([low, middle, 0.3, 1.0, 3.0, high], low, high))
    inner = np.linspace(0.1, 0.9, 7)
    nowhere = np.zeros(0)
    if family.lines:
        late = np.unique([middle, (middle + low) / 2, low])
        return [family.point(nowhere, np.array([w, end])) for w in levels[levels >= middle] for end in late]
    if family.count == 1:
        return [family.point(nowhere, np.array([w])) for w in levels]
    if family.silent:
        edges = [(inner[j], inner[i]) for i in range(0, inner.size, 2) for j in range(i + 2, inner.size, 2)]
        return [family.point(np.array(pair), np.array([w])) for pair in edges for w in (1.0, high)]
    if family.count == 2:
        ends = [(1.0, low), (3.0, low), (high, low), (high, (low + middle) / 2), (high, middle)]
        return [family.point(np.array([a]), np.array(pair)) for a in inner for pair in ends]
    edges = [(inner[j], inner[i]) for i in range(1, inner.size, 2) for j in range(i + 1, inner.size, 2)]
    return [family.point(np.array(pair), np.array([high, late, high])) for pair in edges for late in (low, middle)]
