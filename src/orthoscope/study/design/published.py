"""Published schedules under the goal of a design: each family at the mean scale that serves the goal best.

A pipeline holds its strength during a step. Schedules stated over steps, or curved ones, are therefore taken as what a
run of geometric steps holds, which makes them piecewise constant in time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from orthoscope.errors import ConfigError
from orthoscope.guidance.published import PUBLISHED
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Interval, Tabulated
from orthoscope.study.predictions import on_geometric_steps
from orthoscope.theory.design import Candidate, Goal, Outcome, extremes

STEPS = 32  # of the run that holds them
_COARSE, _FINE = 7, 3  # scales tried: over the whole range, then each time between the neighbours of the best
_MISSED = 1e6
_TOLERANCE = 1e-7
_BISECTIONS = 30

Evaluate = Callable[[GuidanceSchedule], Outcome]
Family = Callable[[float], GuidanceSchedule]


def held(schedule: GuidanceSchedule, base: float, t_max: float, steps: int = STEPS) -> GuidanceSchedule:
    """What a run of geometric steps in variance makes of a schedule.

    Args:
        schedule: In any clock.
        base: Smallest variance of the law.
        t_max: Variance time of the start.
        steps: Number of steps.
    """
    if schedule.clock == "variance" or isinstance(schedule, Constant):
        return schedule
    if isinstance(schedule, Interval) and schedule.clock == "sigma":
        return Interval(inside=schedule.inside, low=schedule.low**2, high=schedule.high**2)
    if schedule.clock != "step":
        top = base + t_max
        times = [top * (base / top) ** (k / steps) - base for k in range(steps)]
        strengths = schedule.at_time(times)
        schedule = Tabulated(
            at=tuple(x for k in range(steps) for x in (k / steps, (k + 1) / steps)),
            strengths=tuple(float(w) for v in strengths for w in (v, v)),
            clock="step",
        )
    return on_geometric_steps(schedule, math.sqrt(base), t_max, steps)


def published_candidates(
    evaluate: Evaluate,
    goal: Goal,
    *,
    base: float,
    t_max: float,
    zooms: int = 5,
    names: Iterable[str] = tuple(PUBLISHED),
    judge: Evaluate | None = None,
) -> Iterator[Candidate]:
    """Every published family that fits the bounds on the strength, at its best mean scale.

    With a margin the best scale without it is judged within it, as it was published.

    Args:
        evaluate: What a schedule does.
        goal: What is asked.
        base: Smallest variance of the law.
        t_max: Variance time of the start.
        zooms: How often the search narrows.
        names: Which of them.
        judge: What a schedule does within the margin of the goal, if it has one.
    """
    for name in names:
        if name == "constant":
            continue  # one of the simple families already
        found = _best(_held(PUBLISHED[name], base, t_max), evaluate, goal, zooms, t_max, judge)
        if found is not None:
            schedule, outcome = found
            yield Candidate(
                name=name, schedule=schedule, outcome=outcome, feasible=outcome.violation(goal) <= _TOLERANCE
            )


def _held(published: Family, base: float, t_max: float) -> Family:
    return lambda scale: held(published(scale), base, t_max)


def _best(
    family: Family, evaluate: Evaluate, goal: Goal, zooms: int, t_max: float, judge: Evaluate | None
) -> tuple[GuidanceSchedule, Outcome] | None:
    # Scales of a family grow with the mean scale, and scale 1 is no guidance in most of them.
    high = _largest(lambda scale: _fits(family, scale, goal, t_max), 1 + max(goal.high, 0.0))
    if high is None:
        return None
    known: dict[float, tuple[float, GuidanceSchedule, Outcome]] = {}

    def tried(scale: float) -> float:
        if scale not in known:
            schedule = family(scale)
            outcome = evaluate(schedule)
            score = outcome.gain(goal) - _MISSED * min(outcome.violation(goal), _MISSED)
            known[scale] = (score if math.isfinite(score) else -math.inf, schedule, outcome)
        return known[scale][0]

    scales = np.linspace(1.0, high, _COARSE).tolist()
    for _ in range(zooms + 1):
        best = max(scales, key=tried)
        order = sorted(known)
        at = order.index(best)
        scales = np.linspace(order[max(at - 1, 0)], order[min(at + 1, len(order) - 1)], _FINE + 2).tolist()
    _, schedule, outcome = max(known.values(), key=lambda entry: entry[0])
    return schedule, outcome if judge is None else judge(schedule)


def _fits(family: Family, scale: float, goal: Goal, t_max: float) -> bool:
    try:
        schedule = family(scale)
    except ConfigError:
        return False
    strengths = extremes(schedule, t_max)
    return goal.low - _TOLERANCE <= strengths[0] and strengths[1] <= goal.high + _TOLERANCE


def _largest(fits: Callable[[float], bool], high: float) -> float | None:
    if not fits(1.0):
        return None
    low = 1.0
    if fits(high):
        return high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
