"""Where to search a family in which outcomes jump: a grid over all its numbers, followed in one pass.

Source:
    derived in explanation/design.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise, product

import numpy as np

from orthoscope.designs.optimization.families import Family
from orthoscope.designs.optimization.goals import QUANTITIES, Quantity
from orthoscope.designs.optimization.laws import Law, Outcomes
from orthoscope.designs.optimization.margin import Corner
from orthoscope.designs.optimization.parametrization import Pieces
from orthoscope.designs.optimization.search import PENALTY, Task
from orthoscope.numerics import Array

_POSITIONS = {0: 0, 1: 16, 2: 7}  # edges on the grid, by how many are free
_LEVELS = {1: 41, 2: 14, 3: 5}  # strengths on it, likewise
_APART = 0.1  # least distance of two starts
_DIGITS = 6  # of a price that are known: what is equal in them is taken in the order of the grid
_LOST = 1e3


def surveyed(task: Task, family: Family, most: int = 3) -> list[Array]:
    """The most promising points of a grid, apart from each other; with a margin, judged when all is off one way.

    Accuracy:
        Constant strengths and both ends of lines: 41 levels. Steps: 16 switches and 14 levels of each strength.
        Intervals: 21 pairs of switches and 41 levels. Three phases: 21 pairs and 5 levels of each strength.

    Source:
        derived in explanation/design.
    """
    points, outcomes = _grid(task.law, family, (task.objective, *task.floors))
    missed, gain = _missed(task, outcomes), task.sign * outcomes.values[:, QUANTITIES.index(task.objective)]
    if task.margin:
        kept = np.flatnonzero(missed <= 0)
        for sign in (1.0, -1.0):
            if kept.size:
                moved = [_off(task, family, points[k], sign) for k in kept]
                off = _missed(task, task.law.sketches(moved, tuple(task.floors)))
                missed[kept] = np.maximum(missed[kept], off)
                kept = kept[off <= 0]
    price = PENALTY * missed - gain
    chosen: list[Array] = []
    for k in np.argsort(price.round(_DIGITS), kind="stable"):
        if all(np.abs(points[k] - other).max() > _APART for other in chosen):
            chosen.append(points[k])
        if len(chosen) == most:
            break
    return chosen


def _off(task: Task, family: Family, point: Array, sign: float) -> Pieces:
    pieces = family.pieces(point)
    strengths = np.full(pieces.high.size, sign)
    return Corner(np.zeros(pieces.edges.size - 2), strengths, strengths).moved(pieces, task.margin)


def _missed(task: Task, outcomes: Outcomes) -> Array:
    missed = np.where([regime == "captured" for regime in outcomes.regimes], _LOST, 0.0)
    for name, floor in task.floors.items():
        missed = np.maximum(missed, floor - outcomes.values[:, QUANTITIES.index(name)])
    return missed


@lru_cache(maxsize=16)
def _grid(law: Law, family: Family, names: tuple[Quantity, ...]) -> tuple[Array, Outcomes]:
    strengths, positions = len(family.free), family.positions
    count = _LEVELS[1 if family.lines else strengths]
    levels = (_levels(family, count) - family.low) / (family.high - family.low)
    edges = np.linspace(1, 0, _POSITIONS[positions] + 2)[1:-1]
    places = [p for p in product(edges, repeat=positions) if all(a > b for a, b in pairwise(p))]
    points = np.array([(*place, *level) for place in places for level in product(levels, repeat=strengths)])
    return points, law.sketches([family.pieces(point) for point in points], names, rough=True)


def _levels(family: Family, count: int) -> Array:
    """Strengths from the lowest to the highest, half of them negative where they may be, closer near 0."""
    low, high = family.low, family.high
    if low >= 0 or high <= 0:
        return low + (high - low) * np.linspace(0, 1, count) ** 2
    below = count // 2
    return np.concatenate([np.linspace(low, 0, below, endpoint=False), high * np.linspace(0, 1, count - below) ** 1.5])
