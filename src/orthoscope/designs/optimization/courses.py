"""Panels along many piecewise schedules side by side, and what is integrated and found on them.

Every row has panels of its own, even within each of its pieces, so that rows of any schedules go together without
each other's edges. A panel is known at both ends and at the nodes of a Gauss rule in between.

Source:
    derived in explanation/design.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from orthoscope.designs.optimization.parametrization import Pieces, line_share
from orthoscope.numerics import Array, unit_gauss, unit_integrals
from orthoscope.theory.flow import NODES

# Largest growth exponent within one panel, and width of it in log-variance: a polynomial then has 13 digits.
_GROWTH, _WIDEST = 2.0, 0.25
_STEPS = 40  # most steps to an event; five do
_ROUNDING, _NEAR = 1e-14, 1e-13  # value of a margin, and share of a panel, at which an event counts as found
_ORDERS = np.array([1.0, 2.0]).reshape(2, 1, 1, 1)  # in which shift and excess grow
_FEW = 2  # rows up to which numbers are added faster one by one than as arrays
_SLACK = 1e-9  # of a panel's width that is not worth another panel


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """Panels of every row, shapes (rows, panels) and (rows, panels, points).

    Attributes:
        top: Log-variance of the noise side of each panel.
        width: Width of it.
        variance: v at the points.
        strength: Strength at them.
    """

    top: Array
    width: Array
    variance: Array
    strength: Array

    def passed(self, pull: Array, first: Array, factor: float) -> Array:
        """Shift and excess, (2, rows, panels, points), along paths from `first`, (2, rows), under a given pull."""
        h, w, v, width = pull[..., 1:-1], self.strength[..., 1:-1], self.variance[..., 1:-1], self.width[..., None]
        integrals = unit_integrals(NODES).T
        growth = _ORDERS * ((factor * width * (1 + w * h)) @ integrals)
        push = factor * width * w
        source = np.empty((2, *push.shape))
        source[0], source[1] = push * (1 - h), -2 * push * h * v
        gained = (source * np.exp(growth[..., :-1])) @ integrals
        decay = np.exp(-growth)
        begins = _chained(decay[..., -1], gained[..., -1], first)[..., None]
        states = np.empty((*begins.shape[:-1], NODES + 2))
        states[..., :1] = begins
        np.multiply(decay, begins + gained, out=states[..., 1:])
        return states

    def reached(self, states: Array, y: Array) -> Array:
        """Shift and excess of every row at one log-variance each."""
        rows = np.arange(y.size)
        panel = np.maximum((self.top >= y[:, None]).sum(axis=1) - 1, 0)
        width = self.width[rows, panel]
        share = np.where(width > 0, (self.top[rows, panel] - y) / np.where(width > 0, width, 1.0), 0.0)
        return _between(states[:, rows, panel], share.clip(0, 1))

    def first(self, margin: Array) -> NDArray[np.intp]:
        """Index of the first of all points of a row at which its margin is positive; one beyond if there is none."""
        flat = margin.reshape(len(margin), -1) > 0
        index = np.argmax(flat, axis=1)
        return np.where(flat[np.arange(len(flat)), index], index, flat.shape[1])

    def crossing(self, margin: Array, cell: NDArray[np.intp], rows: NDArray[np.intp]) -> Array:
        """log-variance at which the margin of some rows turns positive, between the point of a cell and the one before.

        -inf for all others. The secant through the last two places, or the middle where it leaves the bracket, of the
        polynomial through the margin in the panel.
        """
        found = np.full(len(cell), -np.inf)
        if not rows.size:
            return found
        panel, point = np.divmod(cell[rows], NODES + 2)
        values, at = margin[rows, panel], np.arange(rows.size)
        before, x = np.maximum(point - 1, 0), point  # a jump happens where a panel starts
        was, value = values[at, before], values[at, x]
        before, x = _points()[before], _points()[x]
        low, high = before, x
        for _ in range(_STEPS):
            gap = value - was
            step = x - value * (x - before) / np.where(gap == 0, 1.0, gap)
            step = np.where((step < low) | (step > high), (low + high) / 2, step)
            before, was, x = x, value, step
            value = _between(values, x)
            if ((np.abs(value) <= _ROUNDING) | (np.abs(x - before) <= _NEAR)).all():
                break
            low, high = np.where(value > 0, low, x), np.where(value > 0, x, high)
        found[rows] = self.top[rows, panel] - self.width[rows, panel] * x
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Schedules side by side, those with fewer pieces filled up by pieces without length.

    Attributes:
        edges: log-variance of the edges, descending, shape (rows, pieces + 1).
        high: Strength at the noise side of each piece, (rows, pieces).
        low: Strength at its data side.
        wider: How much wider panels are than full digits need.
    """

    edges: Array
    high: Array
    low: Array
    wider: float

    @classmethod
    def of(cls, many: Sequence[Pieces], wider: float = 1.0) -> Stack:
        """Pieces side by side."""
        count = max(pieces.high.size for pieces in many)

        def padded(array: Array, size: int) -> Array:
            return array if array.size == size else np.append(array, np.full(size - array.size, array[-1]))

        return cls(
            np.stack([padded(pieces.edges, count + 1) for pieces in many]),
            np.stack([padded(pieces.high, count) for pieces in many]),
            np.stack([padded(pieces.low, count) for pieces in many]),
            wider,
        )

    def below(self, start: Array, factor: float, rows: NDArray[np.intp]) -> Course:
        """Panels of some rows from where each starts, even within each piece."""
        edges, high, low = self.edges[rows], self.high[rows], self.low[rows]
        length = edges[:, :-1] - edges[:, 1:]
        left = np.minimum(np.maximum(start[:, None] - edges[:, 1:], 0.0), length)
        strongest = np.maximum(np.abs(high), np.abs(low))
        widest = self.wider * np.minimum(_WIDEST, _GROWTH / (2 * factor * (1 + strongest)))
        counts = np.maximum(np.ceil(left / widest - _SLACK), 0).astype(np.intp)
        counts[left <= 0] = 0
        ends = np.cumsum(counts, axis=1)
        index = np.arange(max(int(ends[:, -1].max()), 1))
        # Panels beyond a row's last have no width.
        piece = np.minimum((ends[:, None, :] <= index[:, None]).sum(axis=-1), high.shape[1] - 1)
        at = np.arange(len(rows))[:, None]
        count = np.maximum(counts[at, piece], 1)
        within = np.minimum(index - (ends - counts)[at, piece], count)
        span, whole = left[at, piece], length[at, piece]
        width = np.where(within < count, span / count, 0.0)
        top = edges[at, piece + 1] + span * (1 - within / count)
        y = top[..., None] - width[..., None] * _points()
        strength = np.broadcast_to(low[at, piece][..., None], y.shape)
        if (jump := (high - low)[at, piece]).any():
            down = (edges[at, piece][..., None] - y) / np.maximum(whole, 1e-300)[..., None]
            strength = strength + jump[..., None] * line_share(whole[..., None], down.clip(0, 1))[0]
        return Course(top, width, np.exp(y), strength)


def _chained(decay: Array, gained: Array, first: Array) -> Array:
    """What panels begin with, (2, rows, panels): each adds what it gains to that, and then decays it."""
    begins = np.empty(decay.shape)
    if first.shape[1] > _FEW:
        state = first
        for j in range(decay.shape[-1]):
            begins[..., j] = state
            state = decay[..., j] * (state + gained[..., j])
        return begins
    flat = zip(decay.reshape(-1, decay.shape[-1]), gained.reshape(-1, decay.shape[-1]), first.flat, strict=True)
    for row, (shrink, more, begin) in zip(begins.reshape(-1, decay.shape[-1]), flat, strict=True):
        steps = zip(shrink[:-1].tolist(), more[:-1].tolist(), strict=True)
        row[:] = list(accumulate(steps, lambda state, step: step[0] * (state + step[1]), initial=float(begin)))
    return begins


@cache
def _points() -> Array:
    return np.concatenate([[0.0], unit_gauss(NODES)[0], [1.0]])


@cache
def _barycentric() -> Array:
    x = _points()
    gaps = x[:, None] - x + np.eye(x.size)
    return np.asarray(1 / gaps.prod(axis=1))


def _between(values: Array, at: Array) -> Array:
    """Polynomials through values at the points of a panel, at one place each; values (..., rows, points)."""
    gap = at[:, None] - _points()
    weights = _barycentric() / np.where(gap == 0, 1e-300, gap)
    return np.asarray((values * weights).sum(axis=-1) / weights.sum(axis=-1))
