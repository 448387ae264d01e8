r"""What a design rests on, in numbers and in plain sentences.

The *switching function* of a schedule is the derivative of its Lagrangian by the strength at each moment,

$$ S(y) = \frac{\delta}{\delta w(y)}\Bigl(\text{objective} + \sum_i \lambda_i\,\text{floor}_i\Bigr) . $$

Pontryagin's principle: where $S > 0$ the best strength is the largest allowed, where $S < 0$ the smallest. Without a
cost of effort S has isolated zeros, and the optimum is bang-bang.

Source:
    derived in explanation/design.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from orthoscope.designs.optimization.goals import MINIMIZED, QUANTITIES, Candidate, Goal, Outcome, Quantity
from orthoscope.designs.optimization.laws import Law
from orthoscope.designs.optimization.parametrization import Pieces
from orthoscope.designs.optimization.search import TOLERANCE, Found, Task
from orthoscope.guidance.schedules import Constant, GuidanceSchedule
from orthoscope.numerics import Array

_BINDS = 1e-5  # distance from a floor, in units of its value or of 1, within which it holds with equality
_ON_BOUND = 1e-3  # distance from a bound, in units of their distance, within which a strength rests on it
_SHORT = 0.02  # share of the run, in log-variance, that an unsaturated piece may take in a bang-bang schedule
_CELLS = 128
_NEGLIGIBLE = 1e-6
_NO_EFFECT = 1e-4  # change of the variance ratio that counts as none
_LOSES = 0.02  # fall of the class posterior that is worth a warning


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Switching:
    """The switching function along a run.

    Attributes:
        time: Variance times, descending.
        value: Derivative of the Lagrangian by the strength, per unit of log-variance.
        strength: The strength there.
        gap: What the best admissible change of the schedule would gain, to first order: 0 at an optimum.
    """

    time: Array
    value: Array
    strength: Array
    gap: float


def switching_function(law: Law, goal: Goal, schedule: GuidanceSchedule, multipliers: Mapping[str, float]) -> Switching:
    """The switching function of a schedule, on even cells in log-variance.

    Accuracy:
        Averages over 128 cells per run.

    Source:
        derived in explanation/design.
    """
    pieces = law.pieces(schedule)
    edges = np.union1d(pieces.edges, np.linspace(pieces.edges[-1], pieces.edges[0], _CELLS + 1))[::-1]
    time = np.maximum(np.exp(edges) - pieces.base, 0.0)
    inside = (time[:-1] + time[1:]) / 2
    # Each cell is a part of one piece, and so straight in t.
    slope = (schedule.at_time(0.75 * time[:-1] + 0.25 * time[1:]) - schedule.at_time(inside)) / 0.25
    middle = schedule.at_time(inside)
    cells = Pieces(base=pieces.base, edges=edges, high=middle + slope / 2, low=middle - slope / 2)
    gradient = law.respond(cells).gradient
    both = gradient.high + gradient.low
    weights = np.zeros(len(both))
    weights[QUANTITIES.index(goal.objective)] = goal.sign
    for name, multiplier in multipliers.items():
        if name in goal.floors:
            weights[QUANTITIES.index(name)] += multiplier
    known = weights != 0
    value = weights[known] @ both[known]
    room = np.where(value > 0, goal.high - middle, middle - goal.low)
    return Switching(
        time=inside, value=value / -np.diff(edges), strength=middle, gap=float(np.abs(value) @ np.maximum(room, 0.0))
    )


def active(task: Task, found: Found) -> tuple[tuple[str, ...], dict[str, float]]:
    """Floors and bounds that hold with equality, and the multipliers of the floors.

    A multiplier is what the objective gains per unit by which its floor is lowered: the least-squares solution of the
    conditions of Karush, Kuhn and Tucker over the numbers that are free to move.

    Source:
        derived in explanation/design.
    """
    response, point = found.response, found.point
    names: list[Quantity] = [
        name for name, floor in task.floors.items() if response.value(name) - floor <= _BINDS * max(abs(floor), 1.0)
    ]
    strengths = point[found.family.positions :]
    lengths = np.append(-np.diff(found.pieces.edges), 1.0)[: strengths.size] if not found.family.silent else 1.0
    present = np.broadcast_to(lengths > _NEGLIGIBLE, strengths.shape)
    binding: list[str] = [*names]
    binding += ["low"] if (strengths[present] < _ON_BOUND).any() else []
    binding += ["high"] if (strengths[present] > 1 - _ON_BOUND).any() else []
    binding += ["capture"] if response.margin is not None and 0 <= response.margin < _BINDS and _negative(found) else []
    if not names:
        return tuple(binding), {}
    slopes = found.family.pullback(response.gradient)
    free = (point > _NEGLIGIBLE) & (point < 1 - _NEGLIGIBLE)
    target = -task.sign * slopes[QUANTITIES.index(task.objective)][free]
    columns = slopes[[QUANTITIES.index(name) for name in names]][:, free].T
    solution = np.linalg.lstsq(columns, target, rcond=None)[0] if free.any() else np.zeros(len(names))
    return tuple(binding), {name: float(max(value, 0.0)) for name, value in zip(names, solution, strict=True)}


def _negative(found: Found) -> bool:
    return bool((np.minimum(found.pieces.high, found.pieces.low) < 0).any())


def bang_bang(task: Task, found: Found) -> bool:
    """Whether the strength rests on its bounds but for a short share of the run, as far as it is felt.

    Source:
        derived in explanation/design.
    """
    pieces, span = found.pieces, task.high - task.low
    lengths = -np.diff(pieces.edges)
    off = [
        np.minimum(np.abs(w - task.low), np.abs(w - task.high)) > _ON_BOUND * span for w in (pieces.high, pieces.low)
    ]
    # After commitment nothing matters.
    gradient = found.response.gradient
    felt = np.abs(gradient.high + gradient.low)[QUANTITIES.index(task.objective)] > 0
    inside = (off[0] | off[1]) & felt
    return bool(lengths[inside].sum() <= _SHORT * lengths.sum())


def unattainable(goal: Goal, attainable: Mapping[str, float]) -> tuple[str, ...]:
    """Floors that cannot be kept, the one that is missed most, in units of its value, first.

    Source:
        derived in explanation/design.
    """
    floors = {str(name): floor for name, floor in goal.floors.items()}
    return tuple(sorted(attainable, key=lambda name: (attainable[name] - floors[name]) / max(abs(floors[name]), 1e-9)))


def missed_notes(goal: Goal, answer: Candidate, attainable: Mapping[str, float], alone: bool) -> tuple[str, ...]:
    """Which floors cannot be kept, and what can be had instead.

    Source:
        derived in explanation/design.
    """
    if answer.feasible:
        return ()
    floors = {str(name): floor for name, floor in goal.floors.items()}
    found = []
    for name in unattainable(goal, attainable):
        others = [] if alone else [f"{other} >= {floor:g}" for other, floor in floors.items() if other != name]
        beside = f" beside {' and '.join(others)}" if others else ""
        found.append(
            f"no schedule with strengths between {goal.low:g} and {goal.high:g} keeps {name} >= {floors[name]:g}"
            f"{beside}: the best attainable is {attainable[name]:.6g}"
        )
    return tuple(found) or ("no schedule found keeps all floors, though each can be kept beside the others: relax one",)


def notes(
    law: Law, goal: Goal, answer: Candidate, candidates: Sequence[Candidate], binding: Sequence[str], bang: bool
) -> tuple[str, ...]:
    """What a reader of a design should know, in plain sentences.

    Source:
        derived in explanation/design.
    """
    found: list[str] = []
    if bang and answer.feasible:
        found.append(
            "bang-bang: without a cost of effort the best strength rests on its bounds and jumps between them; "
            "wider bounds would change the answer"
        )
    if "capture" in binding:
        found.append(
            "the schedule ends just short of capture by another class: many schedules reach the same outcome, and "
            "finite dimension blurs this edge; design with the dimension"
        )
    found += window_notes(law, answer.schedule, answer.outcome)
    return (*found, *_help(law, goal, candidates, answer))


def window_notes(law: Law, schedule: GuidanceSchedule, outcome: Outcome) -> tuple[str, ...]:
    """When a negative window opens, when the class commits, and what the window does to variance and class.

    Source:
        derived in explanation/design.
    """
    times = np.exp(np.linspace(np.log(law.base), np.log(law.base + law.t_max), 513)) - law.base
    negative = schedule.at_time(np.maximum(times, 0.0)) < 0
    if not negative.any():
        return ()
    opens = f"the negative window opens at t = {times[negative].max():.3g}"
    if outcome.lost:
        return (f"{opens}, before the class has committed, and another class captures the path: the class is lost",)
    without = law.evaluate(without_negative(law, schedule))
    effect = outcome.variance_ratio - without.variance_ratio
    committed = outcome.speciation_time
    if abs(effect) < _NO_EFFECT:
        when = f", after the class has committed at t = {committed:.3g}" if committed is not None else ""
        return (f"{opens}{when}: it has no effect",)
    found = [
        f"{opens} and changes the variance ratio from {without.variance_ratio:.4g} to {outcome.variance_ratio:.4g}"
    ]
    if outcome.class_posterior is not None and without.class_posterior is not None:
        found[0] += f", the class posterior from {without.class_posterior:.4g} to {outcome.class_posterior:.4g}"
        if outcome.class_posterior < without.class_posterior - _LOSES:
            found.append("the window opens before the class is decided and loses it: ask for a class posterior")
    elif outcome.regime == "dense":
        found.append("no class ever commits, so a window acts down to clean data")
    return tuple(found)


def without_negative(law: Law, schedule: GuidanceSchedule) -> GuidanceSchedule:
    """The schedule with 0 in place of negative strengths.

    Source:
        derived in explanation/design.
    """
    pieces = law.pieces(schedule)
    time = np.maximum(np.exp(pieces.edges) - pieces.base, 0.0)
    crossing = pieces.high * pieces.low < 0
    high, low = pieces.high[crossing], pieces.low[crossing]
    zeros = time[1:][crossing] + (time[:-1] - time[1:])[crossing] * low / (low - high)
    edges = np.union1d(time, zeros)[::-1]
    upper, lower = (schedule.at_time(share * edges[:-1] + (1 - share) * edges[1:]) for share in (0.75, 0.25))
    ends = np.maximum(1.5 * upper - 0.5 * lower, 0.0), np.maximum(1.5 * lower - 0.5 * upper, 0.0)
    return Pieces(base=pieces.base, edges=np.log(pieces.base + edges), high=ends[0], low=ends[1]).schedule()


def _help(law: Law, goal: Goal, candidates: Sequence[Candidate], answer: Candidate) -> tuple[str, ...]:
    if goal.objective in MINIMIZED or not answer.feasible or goal.low >= 0:
        return ()
    plainly = [c for c in candidates if c.name in ("constant", "interval") and c.feasible]
    idle = law.evaluate(Constant(value=0.0))
    best = max((c.outcome.gain(goal) for c in plainly), default=-np.inf)
    if answer.outcome.gain(goal) <= best + max(1e-4 * abs(best), 10 * TOLERANCE):
        return ("no window helps: a constant strength or an interval does as well",)
    if answer.outcome.gain(goal) <= idle.gain(goal) + 1e-3 * max(abs(idle.gain(goal)), 1e-3):
        return ("no schedule helps: nothing is gained on no guidance at all under these floors",)
    return ()
