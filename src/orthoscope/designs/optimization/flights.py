r"""Where many piecewise schedules take a class in mean-field theory, all panels of all of them in one pass.

`theory.moments.solve` goes panel by panel, for any strengths and any modes, and locates events to rounding; outcomes
are its numbers. A search asks thousands of times for one schedule or a few, where that spends its time on calls and
not on numbers. Here the schedules are piecewise and the modes Gaussian, and whole paths are arrays:

- the pull of free modes does not depend on the state, so one pass over all panels is the path;
- the pull of frozen modes does, and the whole path below condensation is passed over until it stays;
- an event is a root of the polynomial through the nodes of one panel.

Accuracy:
    1e-11 in shift and excess against `solve`, regimes the same (`tests/designs/optimization/test_flights.py`).

Source:
    derived in explanation/design.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from orthoscope.designs.optimization.laws import effort_weight
from orthoscope.designs.optimization.parametrization import Pieces, line_share
from orthoscope.numerics import Array, unit_gauss, unit_integrals
from orthoscope.theory.energy import GaussianModes
from orthoscope.theory.flow import NODES

_MODES = GaussianModes()
# Largest growth exponent within one panel, and width of it in log-variance: a polynomial then has 13 digits.
_GROWTH, _WIDEST = 2.0, 0.25
_PASSES = 60  # most passes over a frozen path; a dozen do
_SETTLED = 1e-13  # change of the shift at which a frozen path stays
_TIE = 1e-9  # closeness in log v below which the own mode wins against condensation
_STEPS = 40  # most steps to an event; five do
_ROUNDING, _NEAR = 1e-14, 1e-13  # value of a margin, and share of a panel, at which an event counts as found
_SLACK = 1e-9  # of a panel's width that is not worth another panel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Flights:
    """Where paths go, one element per schedule.

    Attributes:
        first: log-variance of the first event, or of clean data.
        condensed: Whether the first event is that the weight of the other modes condenses.
        lost: Whether another mode then captures the path.
        committed: Whether the path commits, lost ones aside.
        shift: Overlap minus 1 at clean data; that of a lost path as if it had committed at the first event.
        excess: Variance per coordinate minus that of the class, likewise.
        margin: By how much the own mode outweighs the others at the first event, minus by how much they are condensed
            there; of a path without events only the latter, at clean data.
        effort: Cost of control of each schedule, as in `laws.effort`.
    """

    first: Array
    condensed: NDArray[np.bool_]
    lost: NDArray[np.bool_]
    committed: NDArray[np.bool_]
    shift: Array
    excess: Array
    margin: Array
    effort: Array

    def regime(self, row: int) -> str:
        """As in `goals.Outcome`."""
        return "captured" if self.lost[row] else "committed" if self.committed[row] else "dense"


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """Panels of every row, shapes (rows, panels) and (rows, panels, points): both ends and the nodes in between.

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


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Schedules side by side, those with fewer pieces filled up by pieces without length."""

    edges: Array
    high: Array
    low: Array

    @classmethod
    def of(cls, many: Sequence[Pieces]) -> _Rows:
        count = max(pieces.high.size for pieces in many)

        def padded(array: Array, size: int) -> Array:
            return array if array.size == size else np.append(array, np.full(size - array.size, array[-1]))

        return cls(
            np.stack([padded(pieces.edges, count + 1) for pieces in many]),
            np.stack([padded(pieces.high, count) for pieces in many]),
            np.stack([padded(pieces.low, count) for pieces in many]),
        )

    def below(self, start: Array, factor: float, rows: NDArray[np.intp]) -> _Grid:
        """Panels of some rows from where each starts, even within each piece."""
        edges, high, low = self.edges[rows], self.high[rows], self.low[rows]
        length = edges[:, :-1] - edges[:, 1:]
        left = np.clip(start[:, None] - edges[:, 1:], 0.0, length)
        strongest = np.maximum(np.abs(high), np.abs(low))
        widest = np.minimum(_WIDEST, _GROWTH / (2 * factor * (1 + strongest)))
        counts = np.ceil(left / widest - _SLACK).clip(0).astype(np.intp)
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
        if np.any(jump := (high - low)[at, piece]):
            down = (edges[at, piece][..., None] - y) / np.maximum(whole, 1e-300)[..., None]
            strength = strength + jump[..., None] * line_share(whole[..., None], down.clip(0, 1))[0]
        return _Grid(top, width, np.exp(y), strength)


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


def _passed(grid: _Grid, pull: Array, first: Array, factor: float) -> Array:
    """Shift and excess, (2, rows, panels, points), along paths from `first`, (2, rows), under a given pull."""
    h, w, v, width = pull[..., 1:-1], grid.strength[..., 1:-1], grid.variance[..., 1:-1], grid.width[..., None]
    integrals = unit_integrals(NODES).T
    growth = (factor * width * (1 + w * h)) @ integrals
    growth = np.stack([growth, 2 * growth])
    push = factor * width * w
    source = np.stack([push * (1 - h), -2 * push * h * v])
    gained = (source * np.exp(growth[..., :-1])) @ integrals
    decay = np.exp(-growth)
    states, state = np.empty((*decay.shape[:-1], NODES + 2)), first
    for j in range(grid.width.shape[1]):
        states[:, :, j, 0] = state
        state = decay[:, :, j, -1] * (state + gained[:, :, j, -1])
    states[..., 1:] = decay * (states[..., :1] + gained)
    return states


def _cell(margin: Array) -> NDArray[np.intp]:
    """Index, along all points of a row, of the first at which its margin is positive; one beyond if there is none."""
    flat = margin.reshape(len(margin), -1) > 0
    index = np.argmax(flat, axis=1)
    return np.where(flat[np.arange(len(flat)), index], index, flat.shape[1])


def _crossing(grid: _Grid, margin: Array, cell: NDArray[np.intp], rows: NDArray[np.intp]) -> Array:
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
        if np.all((np.abs(value) <= _ROUNDING) | (np.abs(x - before) <= _NEAR)):
            break
        low, high = np.where(value > 0, low, x), np.where(value > 0, x, high)
    found[rows] = grid.top[rows, panel] - grid.width[rows, panel] * x
    return found


def fly(many: Sequence[Pieces], *, rate: float, factor: float, begin: tuple[float, float]) -> Flights:
    """Follow many piecewise schedules to clean data.

    Args:
        many: The schedules.
        rate: Class rate, nats per dimension.
        factor: The drift factor k.
        begin: Shift and excess at the start.

    Source:
        derived in explanation/design.
    """
    rows = _Rows.of(many)
    every, bottom = np.arange(len(many)), rows.edges[:, -1]
    grid = rows.below(rows.edges[:, 0], factor, every)
    start = np.repeat(np.array(begin)[:, None], len(many), axis=1)
    states = _passed(grid, 1 / (1 + grid.variance), start, factor)

    leads, condensations = _leads(states, grid.variance, rate)
    cells = [_cell(margin) for margin in (leads, condensations)]
    none = grid.variance[0].size
    near = [cells[0] <= np.minimum(cells[1] + 1, none - 1), cells[1] <= np.minimum(cells[0], none - 1)]
    own, others = (
        _crossing(grid, margin, cell, np.flatnonzero(one))
        for margin, cell, one in zip((leads, condensations), cells, near, strict=True)
    )
    condensed = others > own + _TIE
    first = np.maximum(np.where(condensed, others, own), bottom)
    state = _reached(grid, states, first)
    lead, condensation = _leads(state, np.exp(first), rate)
    margin = np.where(condensed | (own > -np.inf), lead, 0.0) - condensation
    orders = factor * np.array([[1.0], [2.0]])
    end = state * np.exp(orders * (bottom - first))
    lost, committed = np.zeros(len(many), dtype=np.bool_), ~condensed & (own > -np.inf)
    if condensed.any():
        frozen = np.flatnonzero(condensed)
        lost[frozen], at, later = _thaw(rows.below(first[frozen], factor, frozen), state[:, frozen], rate, factor)
        committed[frozen] = np.isfinite(at) & ~lost[frozen]
        kept = frozen[~lost[frozen]]
        decay = np.exp(orders * (bottom[frozen] - np.maximum(at, bottom[frozen])))
        end[:, kept] = (later * decay)[:, ~lost[frozen]]
    return Flights(
        first=first,
        condensed=condensed,
        lost=lost,
        committed=committed,
        shift=end[0],
        excess=end[1],
        margin=margin,
        effort=_cost(grid, np.exp(bottom), factor),
    )


def _cost(grid: _Grid, base: Array, factor: float) -> Array:
    v, w = grid.variance[..., 1:-1], grid.strength[..., 1:-1]
    weight = effort_weight(v, base[:, None, None], 1.0, factor) * v
    return ((weight * w**2) @ unit_gauss(NODES)[1] * grid.width).sum(axis=1) / base


def _leads(state: Array, v: Array, rate: float) -> tuple[Array, Array]:
    """By how much the own mode outweighs exponentially many others, and by how much these are condensed."""
    shift, excess = state
    condensed = _MODES.condensation_rate((1 + shift) ** 2 + v + excess, v)
    return _MODES.speciation_rate(shift, excess, v) - rate, condensed - rate


def _reached(grid: _Grid, states: Array, y: Array) -> Array:
    """Shift and excess of every row at one log-variance each."""
    rows = np.arange(y.size)
    panel = np.maximum((grid.top >= y[:, None]).sum(axis=1) - 1, 0)
    width = grid.width[rows, panel]
    share = np.where(width > 0, (grid.top[rows, panel] - y) / np.where(width > 0, width, 1.0), 0.0)
    return _between(states[:, rows, panel], share.clip(0, 1))


def _thaw(grid: _Grid, begin: Array, rate: float, factor: float) -> tuple[NDArray[np.bool_], Array, Array]:
    """Frozen paths: whether another mode captures them, at which log-variance they commit, and their state there.

    A path that does neither is told at clean data, with -inf for the moment.
    """
    v, rates = grid.variance, np.array(rate)
    free = 1 / (1 + v)
    states = _passed(grid, free, begin, factor)
    frozen: Array | None = None
    for _ in range(_PASSES):
        before = states[0]
        square = (1 + states[0]) ** 2 + v + states[1]
        frozen = _MODES.frozen_pull(square, rates) if frozen is None else _nearer(frozen, square, rate)
        states = _passed(grid, np.minimum(free, frozen), begin, factor)
        if np.all(np.abs(states[0] - before) <= _SETTLED * (1 + np.abs(before))):
            break
    leads = _MODES.margin(states[0], states[1], v, rates)[0]
    cell, caught = _cell(leads), _cell(np.minimum(-grid.strength, _leads(states, v, rate)[1]))
    own = _crossing(grid, leads, cell, np.flatnonzero(cell < np.minimum(caught + 1, v[0].size)))
    # Just when another mode captures a path does not matter, but for what comes first.
    lost = (caught < v[0].size) & (caught <= cell)
    return lost, own, np.where(own > -np.inf, _reached(grid, states, own), states[:, :, -1, -1])


def _nearer(pull: Array, square: Array, rate: float) -> Array:
    """One step of Newton's method towards `GaussianModes.frozen_pull`: the state changes as much between passes."""
    step = (-np.log1p(-pull) - pull + square * pull**2 - 2 * rate) / (pull / (1 - pull) + 2 * square * pull)
    return np.clip(pull - step, pull / 2, (1 + pull) / 2)
