r"""Schedules that are a little off: what a design with a margin has to survive.

With a `Margin` every strength may be off by up to `strength`, and every switch time by up to the share `switch`, each
on its own. What is asked for is then asked of all these schedules. A smooth quantity is least in a corner of that box
when it is monotone in each number, so the search keeps to corners: of schedules with few numbers all, otherwise those
to which the gradients point, and of tables only those of `corners`. `judged` can sample the inside too, as the check of
an answer.

Source:
    derived in explanation/design.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from orthoscope.designs.optimization.goals import MINIMIZED, QUANTITIES, Goal, Margin, Outcome, Quantity, Within
from orthoscope.designs.optimization.laws import Law, Outcomes, Response, answers
from orthoscope.designs.optimization.parametrization import PieceGradient, Pieces
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.numerics import Array

_FEW = 5  # numbers of a schedule, all of whose corners are tried
_TABLE = 8  # pieces beyond which no gradients are asked


@dataclass(frozen=True, slots=True, eq=False)
class Corner:
    """Which way each number is off, from -1 to 1, in the order of `Pieces`."""

    edges: Array
    high: Array
    low: Array

    def moved(self, pieces: Pieces, margin: Margin) -> Pieces:
        """The schedule that is off this way; switches stay in order and within the run."""
        time = np.exp(pieces.edges) - pieces.base
        inner = np.minimum.accumulate(np.minimum(time[1:-1] * (1 + margin.switch * self.edges), time[0]))
        return Pieces(
            base=pieces.base,
            edges=np.concatenate([pieces.edges[:1], np.log(pieces.base + np.maximum(inner, 0.0)), pieces.edges[-1:]]),
            high=pieces.high + margin.strength * self.high,
            low=pieces.low + margin.strength * self.low,
        )

    def pullback(self, pieces: Pieces, margin: Margin, gradient: PieceGradient) -> PieceGradient:
        """Derivatives by the numbers of the pieces from those by the numbers of the schedule that is off."""
        edges = gradient.edges.copy()
        moved = self.moved(pieces, margin).edges
        inside = moved[1:-1] < pieces.edges[0]
        edges[..., 1:-1] *= inside * (1 + margin.switch * self.edges) * np.exp(pieces.edges - moved)[1:-1]
        return PieceGradient(edges=edges, high=gradient.high, low=gradient.low)

    def same(self, other: Corner) -> bool:
        """Whether both are off the same way."""
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in ("edges", "high", "low"))


def corners(pieces: Pieces) -> list[Corner]:
    """All corners of a schedule with few numbers, each flat piece moved as a whole.

    Of longer ones those in which all strengths move one way, and all switches one way.

    Source:
        derived in explanation/design.
    """
    count = pieces.high.size
    lines = count == 1 and pieces.high[0] != pieces.low[0]
    strengths = count + lines
    if strengths + count - 1 <= _FEW:
        signs = np.array(list(product((1.0, -1.0), repeat=strengths + count - 1)))
        return [Corner(row[strengths:], row[:count], row[strengths - count : strengths]) for row in signs]
    ways = product((1.0, -1.0), repeat=2)
    return [Corner(np.full(count - 1, edges), np.full(count, level), np.full(count, level)) for edges, level in ways]


def steepest(gradient: PieceGradient, sign: float = 1.0) -> Corner:
    """The corner in which a number falls most, to first order, or rises most for sign -1.

    Source:
        derived in explanation/design.
    """
    numbers = (gradient.edges[1:-1], gradient.high, gradient.low)
    return Corner(*(-sign * np.sign(each) for each in numbers))


def hardest(
    law: Law, pieces: Pieces, response: Response, margin: Margin, names: Sequence[Quantity]
) -> tuple[list[Corner], list[Pieces], Outcomes]:
    """The corners in which quantities are worst and the class nearest to another regime; all tried, and what they do.

    Worst is least, or largest for a quantity that is minimized.

    Accuracy:
        As far as corners go, see the module's head.

    Source:
        derived in explanation/design.
    """
    signs, rows = [-1.0 if name in MINIMIZED else 1.0 for name in names], [QUANTITIES.index(name) for name in names]
    table = pieces.high.size > _TABLE
    gradient = None if table else response.gradient
    tried, nearest = list[Corner](), list[Corner]()
    if gradient is not None:
        tried = [steepest(gradient.row(row), sign) for row, sign in zip(rows, signs, strict=True)]
        nearest = [] if response.margin is None else [steepest(gradient.row(len(QUANTITIES)))]
    tried += nearest + (corners(pieces) if law.jumps or not tried else [])
    moved = [corner.moved(pieces, margin) for corner in tried]
    found = law.sketches(moved, names)
    worst = [int(np.nanargmin(sign * found.values[:, row])) for row, sign in zip(rows, signs, strict=True)]
    other = [k for k, regime in enumerate(found.regimes) if regime != response.regime]
    unique: list[Corner] = []
    for corner in (*(tried[k] for k in (*worst, *other[:1], *other[1:][-1:])), *nearest):
        if not any(corner.same(known) for known in unique):
            unique.append(corner)
    return unique, moved, found


def judged(law: Law, goal: Goal, schedule: GuidanceSchedule, probes: int = 0) -> Outcome:
    """What a schedule does, as it is and within the margin of a goal.

    Args:
        law: The law.
        goal: The goal.
        schedule: The schedule.
        probes: Number of schedules tried that are off at random, beside the corners.

    Accuracy:
        See the module's head.

    Source:
        derived in explanation/design.
    """
    outcome = law.evaluate(schedule)
    if not goal.margin:
        return outcome
    pieces, names = law.pieces(schedule), tuple(dict.fromkeys((goal.objective, *goal.floors)))
    _, moved, found = hardest(law, pieces, law.respond(pieces), goal.margin, names)
    values, regimes = found.values, list(found.regimes)
    if probes:
        moved += (probed := _probed(pieces, goal.margin, probes))
        also = law.sketches(probed, names)
        values, regimes = np.vstack([values, also.values]), [*regimes, *also.regimes]
    signs, columns = [-1.0 if name in MINIMIZED else 1.0 for name in names], [QUANTITIES.index(name) for name in names]
    # Sketches tell which are worst; what is answered is then their outcome.
    worst = {int(np.nanargmin(sign * values[:, column])) for sign, column in zip(signs, columns, strict=True)}
    exact = law.outcomes([moved[k] for k in sorted(worst)], names).values
    values = np.vstack([exact, answers(outcome)])
    least = {
        name: sign * float(np.nanmin(sign * values[:, column]))
        for name, sign, column in zip(names, signs, columns, strict=True)
    }
    kept = tuple(sorted({regime for regime in (outcome.regime, *regimes) if regime}))
    return replace(outcome, within=Within(least=least, regimes=kept))


def _probed(pieces: Pieces, margin: Margin, count: int) -> list[Pieces]:
    stream, size = np.random.default_rng(0), pieces.high.size
    flat, many = np.array_equal(pieces.high, pieces.low), []
    for k in range(count):
        edges, high, low = (stream.uniform(-1, 1, n) for n in (size - 1, size, size))
        signs = (edges, high, high if flat and k % 2 else low)
        many.append(Corner(*(np.sign(s) if k % 4 < 2 else s for s in signs)).moved(pieces, margin))
    return many
