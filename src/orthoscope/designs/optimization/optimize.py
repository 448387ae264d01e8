"""The best schedule for a goal.

Three searches, each from the best of the one before: simple families; many even pieces, whose strengths alone are
free, so that the number of switches is found and not assumed; few pieces with free edges, or straight lines where the
objective is smooth in the strength. If no schedule keeps the floors, every floor is made as large as it can be, alone
and beside the others.

Source:
    derived in explanation/design.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from orthoscope.designs.optimization.baselines import candidate, plain, searched
from orthoscope.designs.optimization.commitment import climb_committed
from orthoscope.designs.optimization.diagnosis import active, bang_bang, missed_notes, notes, unattainable
from orthoscope.designs.optimization.families import Family
from orthoscope.designs.optimization.goals import MAXIMIZED, Design, Goal, Margin
from orthoscope.designs.optimization.laws import Law
from orthoscope.designs.optimization.margin import judged
from orthoscope.designs.optimization.parametrization import Pieces
from orthoscope.designs.optimization.search import TOLERANCE, Found, Task, climb
from orthoscope.errors import ConfigError
from orthoscope.numerics import Array

_CELLS = 32
_PROBES = 64  # schedules off at random by which an answer with a margin is checked
_FEW = 6  # pieces into which cells are merged
_LINES = 8
_NOTHING = 1e-5  # difference of strengths, in units of the bounds' distance, and length of a piece, that count as none


def design(law: Law, goal: Goal, *, extra: Iterable[Pieces] = ()) -> Design:
    """The best schedule for a goal, what binds, and the best of the simple families beside it.

    Args:
        law: What the schedule is for.
        goal: What is asked.
        extra: Further starts, such as the answer to a neighboring goal.

    Accuracy:
        The best of many local searches; never worse than the simple families to 1e-7, from which it starts.

    Raises:
        ConfigError: if the law cannot answer what the goal asks.

    Source:
        derived in explanation/design.
    """
    check(law, goal)
    extra = list(extra)
    bound = design(law, replace(goal, margin=Margin()), extra=extra) if goal.margin else None
    loose = () if bound is None else bound.candidates
    task, starts = Task.of(law, goal), [*extra, *([] if bound is None else [law.pieces(bound.schedule)])]
    simple = searched(
        task,
        settled={one.name: one.schedule for one in loose if not one.feasible},  # nor with a margin
        near={one.name: one.schedule for one in loose if one.feasible},
    )
    simple = {name: tidied(task, one) for name, one in simple.items()}
    best = tidied(task, refined(task, [*simple.values(), *(_placed(task, pieces) for pieces in starts)]))
    answer = candidate(law, goal, "best", plain(best.family, best.pieces), _PROBES)
    missed = answer.outcome.violation(goal)
    if best.missed <= TOLERANCE and not answer.feasible and np.isfinite(missed):
        # Inside the margin less is kept than in its corners.
        strict = replace(task, floors={name: floor + missed for name, floor in task.floors.items()})
        best = climb(strict, best.family, best.point)
        answer = candidate(law, goal, "best", plain(best.family, best.pieces), _PROBES)
    attainable, alone = ({}, True) if answer.feasible else attainables(task, best)
    candidates = tuple(candidate(law, goal, name, plain(f.family, f.pieces)) for name, f in simple.items())
    if bound is not None and answer.feasible and answer.outcome.gain(goal) > bound.outcome.gain(goal):
        bound = design(law, bound.goal, extra=[*extra, law.pieces(answer.schedule)])
    binding, multipliers = active(task, best)
    return Design(
        goal=goal,
        schedule=answer.schedule,
        outcome=answer.outcome,
        feasible=answer.feasible,
        binding=binding if answer.feasible else unattainable(goal, attainable),
        multipliers=multipliers if answer.feasible else {},
        attainable=attainable,
        is_bang_bang=(bang := bang_bang(task, best)),
        notes=(
            *missed_notes(goal, answer, attainable, alone),
            *notes(law, goal, answer, candidates, binding, bang),
        ),
        candidates=candidates,
        bound=None if bound is None else replace(bound, outcome=judged(law, goal, bound.schedule)),
    )


def check(law: Law, goal: Goal) -> None:
    """Reject goals that the law cannot answer.

    Raises:
        ConfigError: with the reason.

    Source:
        derived in explanation/design.
    """
    for name in (goal.objective, *goal.floors):
        if reason := law.missing.get(name):
            raise ConfigError(f"{name} cannot be asked for: {reason}")
    if goal.objective == "effort" and not goal.floors:
        raise ConfigError("least effort alone is no guidance at all; also give the least mean_shift or separability")


def refined(task: Task, found: Iterable[Found]) -> Found:
    """The best of several points, improved with more pieces.

    Source:
        derived in explanation/design.
    """
    best: Found | None = None
    for one in found:
        best = task.better(best, one)
    assert best is not None
    if task.law.jumps:
        best = task.better(best, climb_committed(task, best)) or best
    run = task.family
    if task.margin:  # the number of switches is that of the design without it
        return task.better(best, climb(task, best.family, best.point)) or best
    cells = run.resized(_CELLS, cells=True)
    point = cells.embedded(best.pieces)
    assert point is not None
    even = climb(task, cells, point, iterations=60, precision=1e-9)
    smooth = task.objective not in MAXIMIZED or best.family.lines
    for pieces in (best.pieces, merged(even.pieces, _FEW)):
        for family in (run.resized(_FEW), *((run.resized(_LINES, lines=True),) if smooth else ())):
            if (point := family.embedded(pieces)) is not None:
                best = task.better(best, climb(task, family, point))
    if smooth:
        lines = run.resized(_LINES, lines=True)
        best = task.better(best, climb(task, lines, _sampled(lines, even.pieces)))
    assert best is not None
    return task.better(best, even) or best


def tidied(task: Task, found: Found) -> Found:
    """The same point without pieces that are too short or too alike to matter, and with strengths on their bounds.

    Source:
        derived in explanation/design.
    """
    if found.family.lines or found.family.silent:
        return found
    pieces, span = found.pieces, task.high - task.low
    present = np.flatnonzero(-np.diff(pieces.edges) > _NOTHING)
    edges, strengths = [float(pieces.edges[0])], list[float]()
    for j in present:
        nearest = min((task.low, task.high), key=lambda bound: abs(bound - pieces.high[j]))
        strength = nearest if abs(nearest - pieces.high[j]) < _NOTHING * span else float(pieces.high[j])
        if strengths and abs(strengths[-1] - strength) < _NOTHING * span:
            edges.pop()
            strengths.pop()
        strengths.append(strength)
        edges.append(float(pieces.edges[j + 1]))
    if not strengths:
        return found
    edges[-1] = float(pieces.edges[-1])
    level = np.array(strengths)
    placed = _placed(task, Pieces(base=pieces.base, edges=np.array(edges), high=level, low=level.copy()))
    as_good = task.gain(placed.response) >= task.gain(found.response) - TOLERANCE
    return placed if as_good and placed.missed <= max(found.missed, TOLERANCE) else found


def _sampled(family: Family, pieces: Pieces) -> Array:
    inner = np.linspace(1, 0, family.count + 1)
    times = np.exp(family.bottom + (family.top - family.bottom) * inner) - pieces.base
    return family.point(inner[1:-1], pieces.schedule().at_time(np.maximum(times, 0.0)))


def _placed(task: Task, pieces: Pieces) -> Found:
    run = task.family
    for family in (run.resized(max(pieces.high.size, 1)), run.resized(max(2 * pieces.high.size, 1), lines=True)):
        if (point := family.embedded(pieces)) is not None:
            return task.found(family, point)
    raise AssertionError("lines take any pieces")


def merged(pieces: Pieces, most: int) -> Pieces:
    """Flat pieces merged until at most `most` are left, those first that change the strength least.

    Source:
        derived in explanation/design.
    """
    edges, strengths = list(pieces.edges), list(pieces.high)
    while len(strengths) > 1:
        lengths = -np.diff(edges)
        jumps = np.abs(np.diff(strengths))
        costs = jumps * np.minimum(lengths[:-1], lengths[1:])
        j = int(np.argmin(costs))
        if len(strengths) <= most and jumps[j] > 1e-6:
            break
        total = max(lengths[j] + lengths[j + 1], 1e-300)
        strengths[j : j + 2] = [(strengths[j] * lengths[j] + strengths[j + 1] * lengths[j + 1]) / total]
        del edges[j + 1]
    level = np.array(strengths)
    return Pieces(base=pieces.base, edges=np.array(edges), high=level, low=level.copy())


def attainables(task: Task, closest: Found) -> tuple[dict[str, float], bool]:
    """The largest value of each floor's quantity that the bounds allow: alone, and beside the floors that can be kept.

    Returns:
        Only floors that cannot be kept, and whether alone: those that are out of reach alone; if there is none, each
        beside all others.

    Source:
        derived in explanation/design.
    """
    for others in ({}, task.floors):
        missed: dict[str, float] = {}
        for name, floor in task.floors.items():
            kept = {other: value for other, value in others.items() if other != name}
            if others and not kept:
                continue
            towards = task.towards(name, kept)
            best = refined(towards, [*searched(towards).values(), _placed(towards, closest.pieces)])
            reached = best.response.value(name)
            if best.missed <= TOLERANCE and reached < floor - 10 * TOLERANCE:
                missed[name] = reached
        if missed:
            return missed, not others
    return {}, True
