r"""Where many piecewise schedules take a class in mean-field theory, all panels of all of them in one pass.

`theory.moments.solve` goes panel by panel, for any strengths and any modes, and locates events to rounding; outcomes
are its numbers. A search asks thousands of times for one schedule or a few, where that spends its time on calls and
not on numbers. Here the schedules are piecewise and the modes Gaussian, and whole paths are arrays:

- the pull of free modes does not depend on the state, so one pass over all panels is the path;
- the pull of frozen modes does, and the whole path below condensation is passed over until it stays;
- captured paths follow from their lag, which needs one more pass;
- an event is a root of the polynomial through the points of one panel (`courses`).

Accuracy:
    1e-11 in shift and excess against `solve`, regimes the same (`tests/designs/optimization/test_flights.py`).

Source:
    derived in explanation/design.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orthoscope.designs.optimization.courses import Course, Stack
from orthoscope.designs.optimization.laws import effort_weight
from orthoscope.designs.optimization.parametrization import Pieces
from orthoscope.numerics import Array, unit_gauss
from orthoscope.theory.capture import capture, captured_state
from orthoscope.theory.energy import GaussianModes
from orthoscope.theory.flow import NODES

_MODES = GaussianModes()
_PASSES = 60  # most passes over a frozen path; a dozen do
_SETTLED = 1e-13  # change of the shift at which a frozen path stays
_TIE = 1e-9  # closeness in log v below which the own mode wins against condensation


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Flights:
    """Where paths go, one element per schedule.

    Attributes:
        first: log-variance of the first event, or of clean data.
        condensed: Whether the first event is that the weight of the other modes condenses.
        lost: Whether another mode then captures the path.
        committed: Whether the path commits, lost ones aside.
        shift: Overlap minus 1 at clean data; that of a lost path, unless it was followed, as if it had committed at the
            first event.
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


def fly(
    many: Sequence[Pieces], *, rate: float, factor: float, begin: tuple[float, float], follow: bool, wider: float = 1.0
) -> Flights:
    """Follow many piecewise schedules to clean data.

    Args:
        many: The schedules.
        rate: Class rate, nats per dimension.
        factor: The drift factor k.
        begin: Shift and excess at the start.
        follow: Whether to follow captured paths, too.
        wider: How much wider panels are than full digits need.

    Source:
        derived in explanation/design.
    """
    stack = Stack.of(many, wider)
    bottom, orders = stack.edges[:, -1], factor * np.array([[1.0], [2.0]])
    course = stack.below(stack.edges[:, 0], factor, np.arange(len(many)))
    start = np.repeat(np.array(begin)[:, None], len(many), axis=1)
    states = course.passed(1 / (1 + course.variance), start, factor)
    own, others = _events(course, *_leads(states, course.variance, rate))
    condensed = others > own + _TIE
    first = np.maximum(np.where(condensed, others, own), bottom)
    state = course.reached(states, first)
    lead, condensation = _leads(state, np.exp(first), rate)
    end = state * np.exp(orders * (bottom - first))
    lost, committed = np.zeros(len(many), dtype=np.bool_), ~condensed & (own > -np.inf)
    if condensed.any():
        frozen = np.flatnonzero(condensed)
        gone, at, later = _thaw(stack.below(first[frozen], factor, frozen), state[:, frozen], rate, factor)
        lost[frozen], committed[frozen] = gone, np.isfinite(at) & ~gone
        if follow and gone.any():
            below = stack.below(at[gone], factor, frozen[gone])
            at[gone], later[:, gone] = _carried(below, later[:, gone], at[gone], rate, factor)
        known = ~gone | follow
        decayed = later * np.exp(orders * (bottom[frozen] - np.maximum(at, bottom[frozen])))
        end[:, frozen[known]] = decayed[:, known]
    return Flights(
        first=first,
        condensed=condensed,
        lost=lost,
        committed=committed,
        shift=end[0],
        excess=end[1],
        margin=np.where(condensed | (own > -np.inf), lead, 0.0) - condensation,
        effort=_cost(course, np.exp(bottom), factor),
    )


def _cost(course: Course, base: Array, factor: float) -> Array:
    v, w = course.variance[..., 1:-1], course.strength[..., 1:-1]
    weight = effort_weight(v, base[:, None, None], 1.0, factor) * v
    return ((weight * w**2) @ unit_gauss(NODES)[1] * course.width).sum(axis=1) / base


def _leads(state: Array, v: Array, rate: float) -> tuple[Array, Array]:
    """By how much the own mode outweighs exponentially many others, and by how much these are condensed."""
    shift, excess = state
    condensed = _MODES.condensation_rate((1 + shift) ** 2 + v + excess, v)
    return _MODES.speciation_rate(shift, excess, v) - rate, condensed - rate


def _events(course: Course, leads: Array, condensations: Array) -> tuple[Array, Array]:
    """Where the own mode wins on free paths, and where the others condense; -inf where not, or not first."""
    cells, none = [course.first(leads), course.first(condensations)], leads[0].size
    near = cells[0] <= np.minimum(cells[1] + 1, none - 1), cells[1] <= np.minimum(cells[0], none - 1)
    own, others = (
        course.crossing(margin, cell, np.flatnonzero(one))
        for margin, cell, one in zip((leads, condensations), cells, near, strict=True)
    )
    return own, others


def _thaw(course: Course, begin: Array, rate: float, factor: float) -> tuple[NDArray[np.bool_], Array, Array]:
    """Frozen paths: whether another mode captures them, at which log-variance it does or they commit, and their state.

    A path that meets neither is told at clean data, with -inf for the moment.
    """
    v, rates = course.variance, np.array(rate)
    free = 1 / (1 + v)
    states = course.passed(free, begin, factor)
    frozen: Array | None = None
    for _ in range(_PASSES):
        before = states[0]
        square = (1 + states[0]) ** 2 + v + states[1]
        frozen = _MODES.frozen_pull(square, rates) if frozen is None else _nearer(frozen, square, rate)
        states = course.passed(np.minimum(free, frozen), begin, factor)
        if (np.abs(states[0] - before) <= _SETTLED * (1 + np.abs(before))).all():
            break
    leads = _MODES.margin(states[0], states[1], v, rates)[0]
    # What has spread over many modes again captures nothing.
    pulls = np.minimum(-course.strength, _leads(states, v, rate)[1])
    cell, caught = course.first(leads), course.first(pulls)
    none = v[0].size
    own = course.crossing(leads, cell, np.flatnonzero(cell < np.minimum(caught + 1, none)))
    taken = course.crossing(pulls, caught, np.flatnonzero(caught < np.minimum(cell + 1, none)))
    at, lost = np.maximum(own, taken), taken > own + _TIE
    return lost, at, np.where(at > -np.inf, course.reached(states, at), states[:, :, -1, -1])


def _nearer(pull: Array, square: Array, rate: float) -> Array:
    """One step of Newton's method towards `GaussianModes.frozen_pull`: the state changes as much between passes."""
    step = (-np.log1p(-pull) - pull + square * pull**2 - 2 * rate) / (pull / (1 - pull) + 2 * square * pull)
    return np.minimum(np.maximum(pull - step, pull / 2), (1 + pull) / 2)


def _carried(course: Course, begin: Array, y: Array, rate: float, factor: float) -> tuple[Array, Array]:
    """Captured paths from the moment of capture on: at which log-variance they return to their class, and their state.

    A path that does not is told at clean data, with -inf for the moment.
    """
    at = capture(_MODES, begin[0], begin[1], np.exp(y), np.array(rate)).rows(np.arange(y.size))
    lag = course.passed(np.zeros_like(course.variance), np.zeros_like(begin), factor)[0]
    points = (y.size, -1)
    told = captured_state(at, lag.reshape(points), course.variance.reshape(points), np.sqrt(2 * factor - 1))
    shift, excess, margin = (part.reshape(lag.shape) for part in told)
    states, cell = np.stack([shift, excess]), course.first(margin)
    own = course.crossing(margin, cell, np.flatnonzero(cell < margin[0].size))
    return own, np.where(own > -np.inf, course.reached(states, own), states[:, :, -1, -1])
