"""Constrained search within one family of schedules, with exact gradients.

Sequential quadratic programming (SLSQP) from several starts. Whatever the start, the best point visited that keeps
every floor is returned, so that a search is never worse than where it began.

Source:
    derived in explanation/design.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np

from orthoscope.designs.optimization.families import Family
from orthoscope.designs.optimization.goals import QUANTITIES, Goal, Margin, Quantity
from orthoscope.designs.optimization.laws import Law, Response
from orthoscope.designs.optimization.margin import Corner, hardest
from orthoscope.designs.optimization.parametrization import Pieces
from orthoscope.numerics import Array

TOLERANCE = 1e-7  # by which a floor may be missed
_AIM = 1e-9  # floors are aimed at from so much above
PENALTY = 100.0  # of missing a floor, against the objective, when starts are ranked
_LOST = 1e3
_SEARCHES = 6  # one after the other, with corners that turned out worse, or closer by ...
_NEARER, _NEAREST = 5.0, 0.005  # ... by this factor, down to this reach, in units of the family's numbers
_PATIENCE, _MORE = 15, 5  # evaluations without a better one after which a search ends: so many, and per number ...
_MOST_NUMBERS = 6  # ... up to this
_SAME = 1e-5  # distance of two points, in units of the family's numbers, that is worth no second polish


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
        margin: By how much a schedule may be off.
    """

    law: Law
    objective: Quantity
    sign: float
    floors: Mapping[Quantity, float]
    low: float
    high: float
    margin: Margin = field(default_factory=Margin)

    @classmethod
    def of(cls, law: Law, goal: Goal) -> Task:
        """The task of a goal. Floors are raised by what a search may miss them, so that they are kept."""
        floors = {name: floor + TOLERANCE for name, floor in goal.floors.items()}
        return cls(
            law=law,
            objective=goal.objective,
            sign=goal.sign,
            floors=floors,
            low=goal.low,
            high=goal.high,
            margin=goal.margin,
        )

    def towards(self, floor: Quantity, others: Mapping[Quantity, float]) -> Task:
        """The task to make a floor's quantity as large as possible."""
        return replace(self, objective=floor, sign=1.0, floors=others)

    @property
    def family(self) -> Family:
        """A family over the whole run, to be resized."""
        base = self.law.base
        top, bottom = float(np.log(base + self.law.t_max)), float(np.log(base))
        return Family(name="constant", count=1, top=top, bottom=bottom, low=self.low, high=self.high)

    def gain(self, response: Response) -> float:
        """The objective, signed so that more is better."""
        return self.sign * response.value(self.objective)

    def violation(self, response: Response, regime: str | None = None) -> float:
        """Largest amount by which a floor is missed; more than any if the class is lost or the regime another."""
        if response.lost or (regime is not None and response.regime != regime):
            return _LOST - (response.margin or 0.0)
        return max((max(floor - response.value(name), 0.0) for name, floor in self.floors.items()), default=0.0)

    def found(self, family: Family, point: Array) -> Found:
        """What a point does, judged in all corners of the margin."""
        pieces = family.pieces(point)
        response = self.law.respond(pieces)
        one = Found(family, point, response, missed=self.violation(response), lost=response.lost)
        if not self.margin or response.lost:
            return one
        hard, _, outcomes = hardest(self.law, pieces, response, self.margin, tuple(self.floors))
        off = any(regime != response.regime for regime in outcomes.regimes)
        short = [
            floor - float(np.nanmin(outcomes.values[:, QUANTITIES.index(name)])) for name, floor in self.floors.items()
        ]
        return replace(one, missed=_LOST if off else max([one.missed, *short]), lost=off, corners=tuple(hard))

    def better(self, one: Found | None, other: Found | None) -> Found | None:
        """The better of two: first by feasibility, then by gain, or by how little is missed."""
        if one is None or other is None:
            return one or other
        return min(one, other, key=self.rank)

    def ahead(self, one: Found | None, other: Found | None) -> bool:
        """Whether one point is better than another by more than what floors may be missed by."""
        if one is None or other is None:
            return one is not None
        (missed, rank), (its_missed, its_rank) = self.rank(one), self.rank(other)
        return missed < its_missed - TOLERANCE or (missed <= its_missed and rank < its_rank - TOLERANCE)

    def rank(self, found: Found) -> tuple[float, float]:
        """By what is missed, and then by gain: less is better."""
        return (0.0, -self.gain(found.response)) if found.missed <= TOLERANCE else (found.missed, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A point of a family and what it does.

    Attributes:
        family: The family.
        point: The point.
        response: What its schedule does.
        missed: Largest amount by which a floor is missed, within the margin.
        lost: Whether the class is lost, or in another regime, anywhere within the margin.
        corners: Where in the margin most is missed.
    """

    family: Family
    point: Array
    response: Response
    missed: float
    lost: bool
    corners: tuple[Corner, ...] = ()

    @property
    def pieces(self) -> Pieces:
        """The schedule in pieces."""
        return self.family.pieces(self.point)


class Stalled(Exception):
    """A search that no longer finds anything better."""


@dataclass(slots=True)
class _Walk:
    """Evaluations along one search, remembered: an optimizer asks for values and slopes of the same point in turn."""

    task: Task
    family: Family
    corners: tuple[Corner, ...] = ()
    known: dict[bytes, tuple[Found, tuple[Response, ...]]] = field(default_factory=dict)
    best: Found | None = None
    idle: int = 0  # evaluations since the best one
    steep: dict[bytes, list[Array]] = field(default_factory=dict)

    def at(self, point: Array) -> tuple[Found, tuple[Response, ...]]:
        """The point, and what its schedule does as it is and in the corners."""
        inside = np.clip(point, 0, 1)
        if (key := inside.tobytes()) not in self.known:
            task, pieces = self.task, self.family.pieces(inside)
            moved = (corner.moved(pieces, task.margin) for corner in self.corners)
            responses = tuple(task.law.responses([pieces, *moved]))
            missed = max(task.violation(each, responses[0].regime) for each in responses)
            lost = any(each.lost or each.regime != responses[0].regime for each in responses)
            found = Found(self.family, inside.copy(), responses[0], missed, lost)
            self.known = {key: (found, responses), **dict(list(self.known.items())[:3])}
            before, self.best = self.best, task.better(self.best, found)
            self.idle = 0 if task.ahead(self.best, before) else self.idle + 1
            if self.idle > _PATIENCE + _MORE * min(self.family.size, _MOST_NUMBERS):
                raise Stalled
        return self.known[key]

    def slopes(self, point: Array) -> list[Array]:
        """Derivatives by the point of everything that `at` knows, those of the last point remembered."""
        if (key := point.tobytes()) not in self.steep:
            found, responses = self.at(point)
            pieces = found.pieces
            moved = [
                corner.pullback(pieces, self.task.margin, response.gradient)
                for corner, response in zip(self.corners, responses[1:], strict=True)
            ]
            self.steep = {key: [self.family.pullback(gradient) for gradient in (responses[0].gradient, *moved)]}
        return self.steep[key]


def climb(task: Task, family: Family, start: Array, iterations: int = 100, precision: float = 1e-11) -> Found:
    """The best point of a family that searches from `start` visit.

    With a margin a search looks at the corners in which most is missed, and starts again where others turn out worse.
    One that gains nothing starts again closer by. From where the class is lost within the margin no corner leads back:
    that point is the answer.

    Accuracy:
        A local optimum, to about 1e-9 in the objective where it is smooth.

    Source:
        derived in explanation/design; [mutapcic2009cutting] for the corners.
    """
    best, reach = task.found(family, start), 1.0
    known, strict, least = list(best.corners), task, np.inf
    for _ in range(_SEARCHES if task.margin else 1):
        if task.margin and best.lost:
            break
        before = best
        found = task.found(family, _climbed(strict, family, best.point, tuple(known), reach, iterations, precision))
        new = [corner for corner in found.corners if not any(corner.same(other) for other in known)]
        known, missed = [*known, *new], found.missed - TOLERANCE
        best = task.better(best, found) or best
        gained = best is not before and task.gain(best.response) > task.gain(before.response) + TOLERANCE
        if missed > 0 and new:
            continue
        if (
            missed > 0 and not found.lost and missed < least
        ):  # less is kept inside the margin than in the corners looked at
            least = missed
            strict = replace(strict, floors={name: floor + missed for name, floor in strict.floors.items()})
        elif best is before and best.missed > TOLERANCE:
            break  # what is asked for cannot be had here
        elif not gained:
            reach /= _NEARER
        elif np.abs(best.point - before.point).max() < 0.99 * reach:
            break
        else:
            reach = min(2 * reach, 1.0)
        if reach < _NEAREST:
            break
    return best


def _climbed(
    task: Task,
    family: Family,
    start: Array,
    corners: tuple[Corner, ...],
    reach: float,
    iterations: int,
    precision: float,
) -> Array:
    # Loaded on first use: scipy.optimize is slow to import.
    from scipy.optimize import minimize

    walk = _Walk(task, family, corners)
    (_, first), slopes = walk.at(start), walk.slopes(start)[0]
    row = QUANTITIES.index(task.objective)
    scale = task.sign / max(float(np.linalg.norm(slopes[row])), 1e-6)
    rows = [QUANTITIES.index(name) for name in task.floors]
    floors = np.array(list(task.floors.values()))
    floor_scale = 1 / np.maximum(np.linalg.norm(slopes[rows], axis=1), 1e-3) if rows else np.ones(0)
    order = family.order()

    def value(point: Array) -> float:
        response = walk.at(point)[0].response
        return float(np.nan_to_num(-scale * response.values[row], nan=_LOST, posinf=_LOST, neginf=_LOST))

    def slope(point: Array) -> Array:
        return np.nan_to_num(-scale * walk.slopes(point)[0][row])

    def margins(point: Array) -> Array:
        kept = [
            np.append(
                (np.nan_to_num(response.values[rows], nan=-_LOST) - floors - _AIM) * floor_scale,
                [] if response.margin is None else [response.margin],
            )
            for response in walk.at(point)[1]
        ]
        return np.concatenate([*kept, order @ point])

    def margin_slopes(point: Array) -> Array:
        found = [np.nan_to_num(slopes) for slopes in walk.slopes(point)]
        return np.vstack([*(np.vstack([f[rows] * floor_scale[:, None], f[len(QUANTITIES) :]]) for f in found), order])

    constrained = rows or len(order) or first[0].margin is not None
    with suppress(Stalled):
        minimize(
            value,
            start,
            jac=slope,
            bounds=list(zip(np.maximum(start - reach, 0.0), np.minimum(start + reach, 1.0), strict=True)),
            constraints=[{"type": "ineq", "fun": margins, "jac": margin_slopes}] if constrained else [],
            method="SLSQP",
            options={"maxiter": iterations, "ftol": precision},
        )
    assert walk.best is not None
    return walk.best.point


def best_of(
    task: Task,
    family: Family,
    points: Iterable[Array],
    most: int = 3,
    polish: Callable[[Task, Found], Found] = lambda task, found: found,
) -> Found | None:
    """Search from the most promising of many starts: the feasible ones, and the best with missed floors priced.

    What is found is polished.

    Source:
        derived in explanation/design.
    """
    tried = [task.found(family, point) for point in points]

    def price(found: Found) -> float:
        return PENALTY * found.missed - task.gain(found.response)

    kept = sorted((f for f in tried if f.missed <= TOLERANCE), key=price)
    if task.margin:
        tried = [f for f in tried if not f.lost] or tried[:1]
    best: Found | None = None
    climbed: list[Found] = []
    for found in _distinct([*kept[: (most + 1) // 2], *sorted(tried, key=price)])[:most]:
        one = climb(task, family, found.point)
        if all(np.abs(one.point - other.point).max() > _SAME for other in climbed):
            # All of them: which of two climbs ends higher does not tell which is polished to more.
            best = task.better(best, polish(task, one))
        climbed.append(one)
    return task.better(best, min(climbed, key=task.rank, default=None))


def _distinct(found: Sequence[Found]) -> list[Found]:
    unique: list[Found] = []
    for one in found:
        if not any(one is other for other in unique):
            unique.append(one)
    return unique
