"""What the command `design` does: design a schedule, place simple and published ones beside it, verify by sampling.

For mixtures and two Gaussians the design is theory (`designs.optimization`) and sampling verifies it. For a data set
there is only sampling: the search uses some paths, every number reported comes from others.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from orthoscope import __version__
from orthoscope.designs.check import Check, Verification, check_mixture, check_spectrum
from orthoscope.designs.notes import notes
from orthoscope.designs.optimization import (
    Candidate,
    Design,
    Goal,
    Margin,
    MixtureLaw,
    Outcome,
    SpectrumLaw,
    best_candidates,
    candidate,
    check,
    design,
    extremes,
    front,
    judged,
    window_notes,
)
from orthoscope.designs.optimization.goals import QUANTITIES, Quantity
from orthoscope.designs.published import published_schedules
from orthoscope.errors import ConfigError
from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.progress import LOG, Remark
from orthoscope.quantities import Estimate
from orthoscope.serialize import to_dict

_AS_GOOD = 1e-6  # difference in the objective that buys no complication
_BY_SIMPLICITY = ("constant", "step", "interval", "linear", "three_phase")
SIMPLE = ("constant", "interval", "linear", "step", "three_phase")
_FRONT_LEVELS = 5
_ZOOMS_FINITE = 2  # of the search among published schedules where one evaluation is slow


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignProblem:
    """A law, a goal, and how much to verify.

    Attributes:
        law: Mixture or pair of Gaussians.
        goal: What is asked.
        budget: Sampling of the verification; None for none.
        front: Whether to trace the Pareto front.
    """

    law: MixtureLaw | SpectrumLaw
    goal: Goal
    budget: Verification | None = field(default_factory=Verification)
    front: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A design with everything beside it.

    Attributes:
        law: The law as plain values.
        goal: What was asked.
        design: The answer.
        candidates: Simple and published schedules under the same goal.
        loose: With a margin, the published schedules under the same goal without it.
        front: Designs along the front, of rising variance ratio; empty unless asked for.
        checks: Measured against predicted, by quantity.
        simulated: What was sampled.
        gains: For a data set, the objective minus that of each candidate on the same fresh paths.
        errors: For a data set, the standard errors of what each candidate does, by name and quantity.
        notes: Plain sentences.
        seconds: Wall time.
    """

    law: Mapping[str, Any]
    goal: Goal
    design: Design
    candidates: tuple[Candidate, ...]
    loose: tuple[Candidate, ...] = ()
    front: tuple[Design, ...] = ()
    checks: Mapping[str, Check] = field(default_factory=dict)
    simulated: Mapping[str, Any] = field(default_factory=dict)
    gains: Mapping[str, Estimate] = field(default_factory=dict)
    errors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def agrees(self) -> bool:
        """Whether sampling agrees with the theory."""
        return all(check.agrees for check in self.checks.values())


def run_design(problem: DesignProblem, say: Remark = LOG.info) -> Report:
    """Design, compare and verify.

    Args:
        problem: What is asked.
        say: Told what is going on.

    Raises:
        ConfigError: if no schedule keeps the floors: names the one that cannot be kept, and its best value.
    """
    begin, law, goal = time.perf_counter(), problem.law, problem.goal
    check(law, goal)
    say("published schedules")
    schedules = _published(law, goal)
    loose = tuple(candidate(law, replace(goal, margin=Margin()), name, one) for name, one in schedules.items())
    published = tuple(candidate(law, goal, name, one) for name, one in schedules.items()) if goal.margin else loose
    say("designing")
    found = design(law, goal, extra=[law.pieces(c.schedule) for c in loose if c.feasible])
    require_feasible(found)
    found = plainest(law, found)
    if found.bound is not None:
        bound = plainest(law, found.bound)
        found = replace(found, bound=replace(bound, outcome=judged(law, goal, bound.schedule)))
    candidates = (*found.candidates, *published)
    without: tuple[Candidate | None] | None = None
    if extremes(found.schedule, law.t_max)[0] < 0 < goal.high:
        say("the same without negative strength")
        bounded = replace(goal, low=0.0, margin=Margin())
        plain = [c for c in best_candidates(law, bounded, (found.bound or found).candidates) if c.feasible]
        without = (max(plain, key=lambda c: c.outcome.gain(bounded), default=None),)
    traced: tuple[Design, ...] = ()
    if problem.front:
        say("Pareto front")
        traced = front(law, goal, floor="variance_ratio", levels=_levels(candidates, found))
    checks: Mapping[str, Check] = {}
    simulated: Mapping[str, Any] = {}
    if problem.budget is not None:
        say("verifying by sampling")
        checks, simulated = _verify(law, found, problem.budget)
    return Report(
        law=to_dict(law),
        goal=goal,
        design=found,
        candidates=candidates,
        loose=loose if goal.margin else (),
        front=traced,
        checks=checks,
        simulated=simulated,
        notes=notes(law, found, without, checks),
        seconds=time.perf_counter() - begin,
    )


def plainest(law: MixtureLaw | SpectrumLaw, found: Design) -> Design:
    """The design, or the simplest schedule that does as well to 1e-6 in the objective and keeps the floors."""
    best = found.outcome.gain(found.goal)
    simple = {c.name: c for c in found.candidates if c.feasible and c.outcome.gain(found.goal) >= best - _AS_GOOD}
    name = next((name for name in _BY_SIMPLICITY if name in simple), None)
    if name is None:
        return found
    schedule, outcome = simple[name].schedule, simple[name].outcome
    # Sentences about the window belong to a schedule.
    other = set(window_notes(law, found.schedule, found.outcome))
    kept = tuple(note for note in found.notes if note not in other)
    return replace(found, schedule=schedule, outcome=outcome, notes=(*kept, *window_notes(law, schedule, outcome)))


def require_feasible(found: Design) -> None:
    """Refuse a goal that nothing meets.

    Raises:
        ConfigError: naming the floor that cannot be kept and the best value that can.
    """
    if found.feasible:
        return
    floors = found.goal.floors
    parts = [
        f"{name} at least {floors[name]:g} cannot be kept: the best attainable is {best:.6g}"  # type: ignore[index]
        for name, best in found.attainable.items()
    ]
    others = [f"{name} >= {floor:g}" for name, floor in floors.items() if name not in found.attainable]
    given = f" with {', '.join(others)}" if others else ""
    less = "ask for less"
    if found.bound is not None:
        margin = found.goal.margin
        given += f" by schedules that are off by {margin.strength:g} in strength and {100 * margin.switch:g} % in time"
        if found.bound.feasible:
            less += " or for a smaller margin (`margin_strength`, `margin_switch`): without one the best "
            less += f"{found.goal.objective} is {getattr(found.bound.outcome, found.goal.objective):.6g}"
    bounds = f"strengths from {found.goal.low:g} to {found.goal.high:g}"
    raise ConfigError(f"{'; '.join(parts) or 'no schedule meets the goal'} for {bounds}{given}; {less}")


def _published(law: MixtureLaw | SpectrumLaw, goal: Goal) -> dict[str, GuidanceSchedule]:
    """The published schedules at the scales that serve the goal without its margin best."""

    def trial(schedules: Sequence[GuidanceSchedule]) -> list[Outcome]:
        found = law.sketches([law.pieces(schedule) for schedule in schedules])
        rows = [dict(zip(QUANTITIES, row, strict=True)) for row in found.values.tolist()]
        return [Outcome(**row, regime=regime) for row, regime in zip(rows, found.regimes, strict=True)]

    slow = isinstance(law, MixtureLaw) and law.dim is not None
    run: dict[str, Any] = {"base": law.base, "t_max": law.t_max} | ({"zooms": _ZOOMS_FINITE} if slow else {})
    return published_schedules(trial, replace(goal, margin=Margin()), **run)


def _levels(candidates: tuple[Candidate, ...], found: Design) -> list[float]:
    ratios = [c.outcome.variance_ratio for c in candidates] + [found.outcome.variance_ratio]
    return np.linspace(max(min(ratios), 0.05), max(*ratios, 1.1), _FRONT_LEVELS).round(4).tolist()


def _verify(
    law: MixtureLaw | SpectrumLaw, found: Design, budget: Verification
) -> tuple[dict[str, Check], dict[str, Any]]:
    if isinstance(law, SpectrumLaw):
        return check_spectrum(law, found.schedule, found.outcome, budget)
    return check_mixture(law, found.schedule, budget)


def gap(found: Design, candidate: Candidate) -> float | None:
    """By how much a design is better in its objective; None for a candidate that does not keep the floors."""
    if not candidate.feasible:
        return None
    return found.outcome.gain(found.goal) - candidate.outcome.gain(found.goal)


def design_result(report: Report) -> dict[str, Any]:
    """The JSON object of `orthoscope design`."""
    found = report.design
    return {
        "schedule": to_dict(found.schedule),
        "text": format_schedule(found.schedule),
        **outcome_numbers(found.outcome),
        "within_margin": _within(found.outcome),
        "bound": None if found.bound is None else _bound(report, found.bound),
        "objective": report.goal.objective,
        "binding": list(found.binding),
        "multipliers": dict(found.multipliers),
        "is_bang_bang": found.is_bang_bang,
        "baselines": [_row(report, candidate) for candidate in report.candidates],
        "front": [{**outcome_numbers(d.outcome), "schedule": to_dict(d.schedule)} for d in report.front if d.feasible],
        "simulation": {name: check.as_numbers() for name, check in report.checks.items()} | dict(report.simulated),
        "agrees": report.agrees,
        "notes": list(report.notes),
        "seconds": report.seconds,
        "orthoscope": __version__,
    }


def _within(outcome: Outcome) -> dict[str, Any] | None:
    if outcome.within is None:
        return None
    return {"least": dict(outcome.within.least), "regimes": list(outcome.within.regimes)}


def _bound(report: Report, bound: Design) -> dict[str, Any]:
    """The design without a margin, what it falls to within it, and the schedules that it is compared with."""
    return {
        "schedule": to_dict(bound.schedule),
        "text": format_schedule(bound.schedule),
        **outcome_numbers(bound.outcome),
        "within_margin": _within(bound.outcome),
        "baselines": [_row(report, candidate, bound) for candidate in (*bound.candidates, *report.loose)],
    }


def outcome_numbers(outcome: Outcome) -> dict[str, Any]:
    """What a schedule does, as plain values."""
    names: tuple[Quantity | str, ...] = (*QUANTITIES, "regime", "speciation_time")
    return {name: getattr(outcome, name) for name in names}


def _row(report: Report, candidate: Candidate, bound: Design | None = None) -> dict[str, Any]:
    gain = report.gains.get(candidate.name) if candidate.feasible else None
    return {
        "name": candidate.name,
        "kind": "simple" if candidate.name in SIMPLE else "published",
        "schedule": to_dict(candidate.schedule),
        "text": format_schedule(candidate.schedule),
        **outcome_numbers(candidate.outcome),
        "stderr": report.errors.get(candidate.name),
        "feasible": candidate.feasible,
        "within_margin": _within(candidate.outcome),
        "behind": gap(bound or report.design, candidate) if gain is None else gain.as_numbers(),
    }
