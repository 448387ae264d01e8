r"""Piecewise schedules with free breakpoints, and how their numbers move what is integrated along them.

A schedule is a row of *pieces* between edges in log-variance $y = \log(c + t)$, from the noise side to the data.
Within a piece the strength is a straight line in t; edges may coincide, and a piece without length is a jump. Constant
strength, intervals, linear and step windows and three phases are pieces with some numbers tied together.

Quadrature nodes sit at fixed fractions f of each piece, so that their positions and strengths are smooth functions of
the edges. With $L$ the length of the piece in $y$ a line from `high` to `low` has

$$ w = \text{low} + (\text{high} - \text{low})\,\sigma, \qquad \sigma(L, f) = \frac{e^{L(1-f)} - 1}{e^L - 1}, $$

which is regular at $L = 0$.

Source:
    derived in explanation/design.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import GuidanceSchedule, Tabulated
from orthoscope.numerics import Array

_NOTHING = 1e-9  # length of a piece that counts as none
_SHORT = 1e-4  # length below which the share of a line is expanded
_CURVED = 64  # lines that stand for a stretch of a schedule that is not straight in t


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pieces:
    """A piecewise schedule in log-variance.

    Attributes:
        base: Smallest variance, c in y = log(c + t).
        edges: y of the edges, descending, one more than there are pieces.
        high: Strength at the noise side of each piece.
        low: Strength at its data side.
    """

    base: float
    edges: Array
    high: Array
    low: Array

    def schedule(self) -> Tabulated:
        """The same strengths as a schedule in variance time; pieces without length are left out."""
        time = np.exp(self.edges) - self.base
        time[time < _NOTHING * self.base] = 0.0
        kept = np.flatnonzero(np.diff(self.edges) < -_NOTHING)
        time[kept[1:]] = time[kept[:-1] + 1]  # what is left out leaves no gap
        if not kept.size:
            return Tabulated(at=(0.0,), strengths=(float(self.low[-1]),))
        at = [t for j in kept[::-1] for t in (time[j + 1], time[j])]
        strengths = [w for j in kept[::-1] for w in (self.low[j], self.high[j])]
        points = [(t, w) for i, (t, w) in enumerate(zip(at, strengths, strict=True)) if not _repeats(at, strengths, i)]
        return Tabulated(at=tuple(float(t) for t, _ in points), strengths=tuple(float(w) for _, w in points))

    def cut(self, y: float) -> Pieces:
        """What lies above y: the piece that contains y ends there."""
        j = self._containing(y)
        share = float(line_share(self.edges[j] - self.edges[j + 1], _fraction(self, j, y))[0])
        end = self.low[j] + (self.high[j] - self.low[j]) * share
        return Pieces(
            base=self.base,
            edges=np.append(self.edges[: j + 1], y),
            high=self.high[: j + 1],
            low=np.append(self.low[:j], end),
        )

    def uncut(self, y: float, gradient: PieceGradient) -> tuple[PieceGradient, Array]:
        """Gradient with respect to these pieces, and to y, from that with respect to `cut(y)`."""
        j, k = self._containing(y), self.high.size
        length, span = self.edges[j] - y, self.edges[j] - self.edges[j + 1]
        gap = self.high[j] - self.low[j]
        # share = expm1(y - bottom) / expm1(span), with y - bottom = span - length.
        share, _ = line_share(span, _fraction(self, j, y))
        by_y = np.exp(span - length) / np.expm1(span) if span > 0 else 0.0
        by_span = -share * np.exp(span) / np.expm1(span) if span > 0 else 0.0  # at fixed y - bottom
        ends = gradient.low[..., -1]
        shape = ends.shape
        edges, high, low = np.zeros((*shape, k + 1)), np.zeros((*shape, k)), np.zeros((*shape, k))
        edges[..., : j + 1], high[..., : j + 1] = gradient.edges[..., : j + 1], gradient.high
        low[..., :j] = gradient.low[..., :j]
        high[..., j] += ends * share
        low[..., j] += ends * (1 - share)
        edges[..., j] += ends * gap * by_span
        edges[..., j + 1] += ends * gap * (-by_y - by_span)
        return PieceGradient(edges=edges, high=high, low=low), gradient.edges[..., j + 1] + ends * gap * by_y

    def _containing(self, y: float) -> int:
        return int(np.clip(np.searchsorted(-self.edges, -y, side="left") - 1, 0, self.high.size - 1))


def _fraction(pieces: Pieces, j: int, y: float) -> Array:
    span = pieces.edges[j] - pieces.edges[j + 1]
    return np.asarray((pieces.edges[j] - y) / span if span > 0 else 0.0)


def _repeats(at: list[float], strengths: list[float], i: int) -> bool:
    """Whether a tabulated point lies on the straight line, or at the same point, as its neighbours."""
    same = [0 <= j < len(at) and at[j] == at[i] and strengths[j] == strengths[i] for j in (i - 1, i + 1)]
    if same[0]:
        return True  # the second of two equal points
    level = [0 <= j < len(at) and strengths[j] == strengths[i] for j in (i - 1, i + 1 + same[1])]
    return all(level)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PieceGradient:
    """Derivatives with respect to the numbers of `Pieces`; leading axes are the quantities differentiated."""

    edges: Array
    high: Array
    low: Array

    def row(self, index: int) -> PieceGradient:
        """The derivatives of one quantity."""
        return PieceGradient(edges=self.edges[index], high=self.high[index], low=self.low[index])


def line_share(length: Array | float, fraction: Array) -> tuple[Array, Array]:
    """Share of the noise side's strength at a fraction of a line, and its derivative by the length.

    Accuracy:
        Relative error below 1e-8 in the derivative, to rounding in the share.

    Source:
        derived in explanation/design.
    """
    length, rest = np.broadcast_arrays(np.asarray(length, dtype=np.float64), 1 - fraction)
    short = length < _SHORT
    long = np.where(short, 1.0, length)
    share = np.expm1(long * rest) / np.expm1(long)
    slope = rest * np.exp(long * rest) / np.expm1(long) - share / -np.expm1(-long)
    f = 1 - rest
    flat = rest * (1 - length * f / 2 * (1 + length * (1 - 2 * f) / 6))
    flat_slope = -rest * f / 2 * (1 + length * (1 - 2 * f) / 3)
    return np.where(short, flat, share), np.where(short, flat_slope, slope)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panels:
    """Nodes of integration along pieces: each piece is divided evenly into panels with the same inner fractions.

    Attributes:
        pieces: The pieces.
        piece: Index of the piece of each panel.
        counts: Number of panels of each panel's piece.
        fraction: Fraction of its piece at each node, shape (panels, nodes).
        width: Length of each panel in y.
        position: y of each node.
        strength: Strength at each node.
        share: Share of the noise side's strength, see the module's head, and
        share_slope: its derivative by the length of the piece.
    """

    pieces: Pieces
    piece: NDArray[np.intp]
    counts: NDArray[np.intp]
    fraction: Array
    width: Array
    position: Array
    strength: Array
    share: Array
    share_slope: Array

    @property
    def time_above(self) -> Array:
        """Variance base + t at the nodes."""
        return np.exp(self.position)

    def pullback(self, strength: Array, position: Array, width: Array) -> PieceGradient:
        """Gradient by the numbers of the pieces from that by strengths, positions and widths of the panels."""
        p, f = self.pieces, self.fraction
        by_length = (strength * (p.high - p.low)[self.piece][:, None] * self.share_slope).sum(-1)
        by_length = by_length + width / self.counts
        top = (position * (1 - f)).sum(-1) + by_length
        bottom = (position * f).sum(-1) - by_length
        collect = np.zeros((self.piece.size, p.high.size))
        collect[np.arange(self.piece.size), self.piece] = 1.0
        top, bottom = top @ collect, bottom @ collect
        edges = np.zeros((*top.shape[:-1], p.high.size + 1))
        edges[..., :-1] += top
        edges[..., 1:] += bottom
        return PieceGradient(
            edges=edges,
            high=(strength * self.share).sum(-1) @ collect,
            low=(strength * (1 - self.share)).sum(-1) @ collect,
        )


def panels(pieces: Pieces, fractions: Array, widest: Array | float) -> Panels:
    """Divide pieces into panels.

    Args:
        pieces: The pieces.
        fractions: Fractions of a panel at which its nodes sit.
        widest: Largest width of a panel in y, one for all pieces or one each.

    Raises:
        ConfigError: if that takes too many panels.

    Source:
        derived in explanation/design.
    """
    length = -np.diff(pieces.edges)
    counts = np.maximum(np.ceil(length / widest - 1e-9), 1).astype(np.intp)
    if counts.sum() > 20_000:
        raise ConfigError(f"strength is too large for the theory: {counts.sum()} panels; use a smaller bound")
    piece = np.repeat(np.arange(length.size), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    within = np.arange(piece.size) - first
    fraction = (within[:, None] + fractions) / counts[piece][:, None]
    share, slope = line_share(length[piece][:, None], fraction)
    return Panels(
        pieces=pieces,
        piece=piece,
        counts=counts[piece],
        fraction=fraction,
        width=(length / counts)[piece],
        position=pieces.edges[piece][:, None] - length[piece][:, None] * fraction,
        strength=pieces.low[piece][:, None] + (pieces.high - pieces.low)[piece][:, None] * share,
        share=share,
        share_slope=slope,
    )


def from_schedule(schedule: GuidanceSchedule, t_max: float, base: float) -> Pieces:
    """A schedule as pieces; stretches that are not straight in t become many short lines.

    Accuracy:
        Exact for constant, interval, linear, step and tabulated schedules in the variance clock; in other clocks
        straight stretches bend, and are followed by lines that are even in log-variance.

    Raises:
        ConfigError: if the schedule reads the clock `step`.

    Source:
        derived in explanation/design.
    """
    marks = np.unique([0.0, *(t for t in schedule.switches() if 0 < t < t_max), t_max])[::-1]
    if schedule.clock != "variance":
        marks = np.concatenate([_between(a, b, base) for a, b in pairwise(marks)] + [[0.0]])
    high, low = marks[:-1], marks[1:]
    inner = [low + (high - low) * share for share in (0.75, 0.25)]
    upper, lower = (schedule.at_time(t) for t in inner)
    # Straight in between: both ends from the inside, where a jump cannot reach.
    return Pieces(
        base=base,
        edges=np.log(base + marks),
        high=np.where(upper == lower, upper, 1.5 * upper - 0.5 * lower),
        low=np.where(upper == lower, lower, 1.5 * lower - 0.5 * upper),
    )


def extremes(schedule: GuidanceSchedule, t_max: float) -> tuple[float, float]:
    """Smallest and largest strength of a run, for schedules that are monotone between their switches.

    Source:
        derived in explanation/design.
    """
    times = np.array([0.0, *(t for t in schedule.switches() if 0 < t < t_max), t_max])
    # Both sides of every jump; the sides beyond the run do not count.
    sides = np.concatenate([times, np.nextafter(times[:-1], np.inf), np.nextafter(times[1:], 0.0)])
    strengths = schedule.at_time(sides)
    return float(strengths.min()), float(strengths.max())


def _between(high: float, low: float, base: float) -> Array:
    return np.exp(np.linspace(np.log(base + high), np.log(base + low), _CURVED + 1)[:-1]) - base
