"""Constrained search within one family of schedules, with exact gradients.

Sequential quadratic programming (SLSQP) from several starts. Whatever the start, the best point visited that keeps
every floor is returned, so that a search is never worse than where it began.

Source:
    derived in explanation/design.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from orthoscope.numerics import Array
from orthoscope.theory.design.families import Family
from orthoscope.theory.design.goals import QUANTITIES, Goal, Quantity
from orthoscope.theory.design.laws import Law, Response
from orthoscope.theory.design.parametrization import Pieces

TOLERANCE = 1e-7  # by which a floor may be missed
_AIM = 1e-9  # floors are aimed at from so much above
PENALTY = 100.0  # of missing a floor, against the objective, when starts are ranked
_LOST = 1e3
_PATIENCE = 15  # evaluations without a better one, beyond the number of variables, after which a search ends


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """One quantity to make extreme under floors, for a law.

    Attributes:
        law: The law.
        objective: The quantity.
        sign: 1 to maximize, -1 to minimize.
        floors: Least values of others.
        low: Smallest strength.
        high: Largest strength.
    """

    law: Law
    objective: Quantity
    sign: float
    floors: Mapping[Quantity, float]
    low: float
    high: float

    @classmethod
    def of(cls, law: Law, goal: Goal) -> Task:
        """The task of a goal."""
        return cls(law=law, objective=goal.objective, sign=goal.sign, floors=goal.floors, low=goal.low, high=goal.high)

    def towards(self, floor: Quantity, others: Mapping[Quantity, float]) -> Task:
        """The task to make a floor's quantity as large as possible."""
        return Task(law=self.law, objective=floor, sign=1.0, floors=others, low=self.low, high=self.high)

    @property
    def family(self) -> Family:
        """A family over the whole run, to be resized."""
        base = self.law.base
        top, bottom = float(np.log(base + self.law.t_max)), float(np.log(base))
        return Family(name="constant", count=1, top=top, bottom=bottom, low=self.low, high=self.high)

    def gain(self, response: Response) -> float:
        """The objective, signed so that more is better."""
        return self.sign * response.value(self.objective)

    def violation(self, response: Response) -> float:
        """Largest amount by which a floor is missed; more than any if the class is lost."""
        if response.lost:
            return _LOST - (response.margin or 0.0)
        return max((max(floor - response.value(name), 0.0) for name, floor in self.floors.items()), default=0.0)

    def better(self, one: Found | None, other: Found | None) -> Found | None:
        """The better of two: first by feasibility, then by gain, or by how little is missed."""
        if one is None or other is None:
            return one or other
        return min(one, other, key=lambda found: self._rank(found.response))

    def _rank(self, response: Response) -> tuple[float, float]:
        missed = self.violation(response)
        return (0.0, -self.gain(response)) if missed <= TOLERANCE else (missed, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """A point of a family and what it does."""

    family: Family
    point: Array
    response: Response

    @property
    def pieces(self) -> Pieces:
        """The schedule in pieces."""
        return self.family.pieces(self.point)


class _Stalled(Exception):
    """A search that no longer finds anything better."""


@dataclass(slots=True)
class _Walk:
    """Evaluations along one search, remembered: an optimizer asks for values and slopes of the same point in turn."""

    task: Task
    family: Family
    known: dict[bytes, Found] = field(default_factory=dict)
    best: Found | None = None
    idle: int = 0  # evaluations since the best one

    def at(self, point: Array) -> Found:
        inside = np.clip(point, 0, 1)
        if (key := inside.tobytes()) not in self.known:
            response = self.task.law.respond(self.family.pieces(inside))
            self.known = {key: Found(family=self.family, point=inside.copy(), response=response), **_last(self.known)}
            before, self.best = self.best, self.task.better(self.best, self.known[key])
            self.idle = self.idle + 1 if self.best is before else 0
            if self.idle > _PATIENCE + 5 * min(self.family.size, 6):
                raise _Stalled
        return self.known[key]

    def slopes(self, point: Array) -> Array:
        return self.family.pullback(self.at(point).response.gradient)


def _last(known: dict[bytes, Found]) -> dict[bytes, Found]:
    return dict(list(known.items())[:3])


def climb(task: Task, family: Family, start: Array, iterations: int = 100, precision: float = 1e-11) -> Found:
    """The best point of a family that a search from `start` visits.

    Accuracy:
        A local optimum, to about 1e-9 in the objective where it is smooth.

    Source:
        derived in explanation/design.
    """
    # Loaded on first use: scipy.optimize is slow to import.
    from scipy.optimize import minimize

    walk = _Walk(task, family)
    first, slopes = walk.at(start), walk.slopes(start)
    row = QUANTITIES.index(task.objective)
    scale = task.sign / max(float(np.linalg.norm(slopes[row])), 1e-6)
    rows = [QUANTITIES.index(name) for name in task.floors]
    floors = np.array(list(task.floors.values()))
    floor_scale = 1 / np.maximum(np.linalg.norm(slopes[rows], axis=1), 1e-3) if rows else np.ones(0)
    order = family.order()

    def value(point: Array) -> float:
        response = walk.at(point).response
        return float(np.nan_to_num(-scale * response.values[row], nan=_LOST, posinf=_LOST, neginf=_LOST))

    def slope(point: Array) -> Array:
        return np.nan_to_num(-scale * walk.slopes(point)[row])

    def margins(point: Array) -> Array:
        response = walk.at(point).response
        kept = (np.nan_to_num(response.values[rows], nan=-_LOST) - floors - _AIM) * floor_scale
        return np.concatenate([kept, [] if response.margin is None else [response.margin], order @ point])

    def margin_slopes(point: Array) -> Array:
        found = np.nan_to_num(walk.slopes(point))
        return np.vstack([found[rows] * floor_scale[:, None], found[len(QUANTITIES) :], order])

    constrained = rows or len(order) or first.response.margin is not None
    with suppress(_Stalled):
        minimize(
            value,
            start,
            jac=slope,
            bounds=[(0.0, 1.0)] * family.size,
            constraints=[{"type": "ineq", "fun": margins, "jac": margin_slopes}] if constrained else [],
            method="SLSQP",
            options={"maxiter": iterations, "ftol": precision},
        )
    assert walk.best is not None
    return walk.best


def best_of(task: Task, family: Family, points: Iterable[Array], most: int = 3) -> Found | None:
    """Search from the most promising of many starts: the feasible ones, and the best with missed floors priced.

    Source:
        derived in explanation/design.
    """
    tried = [_Walk(task, family).at(point) for point in points]

    def price(found: Found) -> float:
        return PENALTY * task.violation(found.response) - task.gain(found.response)

    kept = sorted((f for f in tried if task.violation(f.response) <= TOLERANCE), key=price)
    best: Found | None = None
    for found in _distinct([*kept[: (most + 1) // 2], *sorted(tried, key=price)])[:most]:
        best = task.better(best, climb(task, family, found.point))
    return best


def _distinct(found: Sequence[Found]) -> list[Found]:
    unique: list[Found] = []
    for one in found:
        if not any(one is other for other in unique):
            unique.append(one)
    return unique
