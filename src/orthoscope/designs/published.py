"""Published schedules under the goal of a design: each family at the mean scale that serves the goal best.

A pipeline holds its strength during a step. Schedules stated over steps, or curved ones, are therefore taken as what a
run of geometric steps holds, which makes them piecewise constant in time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from orthoscope.designs.optimization import Goal, Outcome, extremes
from orthoscope.errors import ConfigError
from orthoscope.guidance.published import PUBLISHED
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Interval, Tabulated
from orthoscope.numerics import Array, bracketed_root
from orthoscope.settings import on_geometric_steps

STEPS = 32  # of the run that holds them
_COARSE, _FINE = 7, 3  # scales tried: over the whole range, then each time between the neighbours of the best
_MISSED = 1e6
_TOLERANCE = 1e-7
_STEPS_TO_BOUND = 30  # most scales tried for the largest one that fits

Trial = Callable[[Sequence[GuidanceSchedule]], Iterable[Outcome]]
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


def published_schedules(
    trial: Trial, goal: Goal, *, base: float, t_max: float, zooms: int = 5, names: Iterable[str] = tuple(PUBLISHED)
) -> dict[str, GuidanceSchedule]:
    """Every published family that fits the bounds on the strength, at its best mean scale without a margin.

    Args:
        trial: What each of some schedules of one family does.
        goal: What is asked.
        base: Smallest variance of the law.
        t_max: Variance time of the start.
        zooms: How often the search narrows.
        names: Which of them.
    """
    others = (name for name in names if name != "constant")  # which is one of the simple families already
    found = {name: _best(_held(PUBLISHED[name], base, t_max), trial, goal, zooms, t_max) for name in others}
    return {name: schedule for name, schedule in found.items() if schedule is not None}


def _held(published: Family, base: float, t_max: float) -> Family:
    return lambda scale: held(published(scale), base, t_max)


def _best(family: Family, trial: Trial, goal: Goal, zooms: int, t_max: float) -> GuidanceSchedule | None:
    # Scales of a family grow with the mean scale, and scale 1 is no guidance in most of them.
    high = _largest(lambda scale: _room(family, scale, goal, t_max), 1 + max(goal.high, 0.0))
    if high is None:
        return None
    scores: dict[float, float] = {}
    scales = np.linspace(1.0, high, _COARSE).tolist()
    for _ in range(zooms + 1):
        new = sorted({*scales} - scores.keys())
        if not new:
            break
        scores |= zip(new, (_score(one, goal) for one in trial([family(scale) for scale in new])), strict=True)
        order = sorted(scores)
        at = order.index(max(scales, key=lambda scale: scores[scale]))
        scales = np.linspace(order[max(at - 1, 0)], order[min(at + 1, len(order) - 1)], _FINE + 2).tolist()
    return family(max(scores, key=lambda scale: scores[scale]))


def _score(outcome: Outcome, goal: Goal) -> float:
    score = outcome.gain(goal) - _MISSED * min(outcome.violation(goal), _MISSED)
    return score if math.isfinite(score) else -math.inf


def _room(family: Family, scale: float, goal: Goal, t_max: float) -> float:
    """By how much the largest strength stays within its bound; -inf at a scale that the family does not have.

    Negative, too, by what the smallest is below its own: that one grows with the scale, or not at all.
    """
    try:
        schedule = family(scale)
    except ConfigError:
        return -math.inf
    low, high = extremes(schedule, t_max)
    return min(goal.high - high, low - goal.low if low < goal.low else np.inf) + _TOLERANCE


def _largest(room: Callable[[float], float], high: float) -> float | None:
    """The largest scale with room."""
    if (at_low := room(1.0)) < 0:
        return None
    if (at_high := room(high)) >= 0:
        return high
    fitting = [1.0]

    def asked(scale: Array) -> Array:
        if (found := room(float(scale[0]))) >= 0:
            fitting.append(float(scale[0]))
        return np.array([found])

    ends = np.array([at_low]), np.array([at_high])
    bracketed_root(asked, np.array([1.0]), np.array([float(high)]), values=ends, steps=_STEPS_TO_BOUND)
    return max(fitting)
