"""The best schedule of each simple family under a goal.

Source:
    derived in explanation/design.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from orthoscope.designs.optimization.commitment import climb_committed
from orthoscope.designs.optimization.families import Family, simple_families, starts
from orthoscope.designs.optimization.goals import Candidate, Goal
from orthoscope.designs.optimization.laws import Law
from orthoscope.designs.optimization.margin import judged
from orthoscope.designs.optimization.parametrization import Pieces, extremes
from orthoscope.designs.optimization.search import TOLERANCE, Found, Task, best_of, climb
from orthoscope.designs.optimization.survey import surveyed
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Interval, Linear, Step
from orthoscope.numerics import Array


def best_candidates(law: Law, goal: Goal, wider: Iterable[Candidate] = ()) -> tuple[Candidate, ...]:
    """The best constant, linear and step window, three-phase schedule and interval under a goal.

    Where a family cannot keep the floors its candidate is the member that comes closest, marked as not feasible.

    Args:
        law: The law.
        goal: What is asked.
        wider: The answers to the same goal with wider bounds on the strength. Those that keep the goal's bounds are
            answers to this one.

    Accuracy:
        Best of several local searches from a coarse scan of each family.

    Source:
        derived in explanation/design.
    """
    task, settled = Task.of(law, goal), dict[str, GuidanceSchedule]()
    for one in wider:
        low, high = extremes(one.schedule, law.t_max)
        if goal.low - TOLERANCE <= low and high <= goal.high + TOLERANCE:
            settled[one.name] = one.schedule
    found = searched(task, settled=settled)
    return tuple(candidate(law, goal, name, schedule_of(one)) for name, one in found.items())


def candidate(law: Law, goal: Goal, name: str, schedule: GuidanceSchedule, probes: int = 0) -> Candidate:
    """A schedule with its outcome, judged by a goal.

    Source:
        derived in explanation/design.
    """
    outcome = judged(law, goal, schedule, probes)
    feasible = outcome.violation(goal) <= 10 * TOLERANCE
    return Candidate(name=name, schedule=schedule, outcome=outcome, feasible=feasible)


def searched(
    task: Task,
    *,
    settled: Mapping[str, GuidanceSchedule] = MappingProxyType({}),
    near: Mapping[str, GuidanceSchedule] = MappingProxyType({}),
) -> dict[str, Found]:
    """The best point of each simple family; a family is also searched from the best of those that it contains.

    Args:
        task: What is asked.
        settled: Families that are not searched because their best is known.
        near: Where others are searched first.

    Source:
        derived in explanation/design.
    """
    run = task.family
    found: dict[str, Found] = {}

    def at(family: Family, schedules: Mapping[str, GuidanceSchedule]) -> Array | None:
        return family.embedded(task.law.pieces(schedules[family.name])) if family.name in schedules else None

    for family in simple_families(run.top, run.bottom, run.low, run.high):
        if (known := at(family, settled)) is not None:
            found[family.name] = task.found(family, known)
            continue
        smaller = [] if family.lines else [one.pieces for name, one in found.items() if name != "linear"]
        begin = [point for pieces in smaller if (point := family.embedded(pieces)) is not None]
        first = at(family, near)
        best = None if first is None else climb(task, family, first)
        if task.law.jumps:
            begin += surveyed(task, family)
            best = task.better(best, best_of(task, family, begin, most=2, polish=climb_committed))
        elif first is None or begin:
            begin += starts(family) if first is None else []
            best = task.better(best, best_of(task, family, begin, most=3 if first is None else 1))
        if best is not None:
            found[family.name] = best
    return found


def schedule_of(found: Found) -> GuidanceSchedule:
    """The plainest schedule that says the same: a constant, line, step or interval where it is one, else a table.

    Source:
        derived in explanation/design.
    """
    return plain(found.family, found.pieces)


def plain(family: Family, pieces: Pieces) -> GuidanceSchedule:
    """As `schedule_of`, for pieces of a family.

    Source:
        derived in explanation/design.
    """
    table = pieces.schedule()
    at, w = table.at, table.strengths
    if len(set(w)) == 1:
        return Constant(value=w[0])
    if family.name == "linear":
        slope = (w[1] - w[0]) / (at[1] - at[0])
        return Linear(w0=w[0], slope=slope)
    flat = all(a == b for a, b in zip(w[::2], w[1::2], strict=False)) and len(w) % 2 == 0
    if flat and len(at) == 4:
        return Step(early=w[2], late=w[0], switch=at[1])
    if flat and len(at) == 6 and w[0] == w[4]:
        return Interval(inside=w[2], low=at[1], high=at[3], outside=w[0])
    return table
