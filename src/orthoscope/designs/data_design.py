"""Design for a class of a data set: search on some paths, judge on others."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orthoscope.checks import settle
from orthoscope.designs.check import Check
from orthoscope.designs.data import MEASURED, Batch, DataLaw, judge, paired
from orthoscope.designs.data_search import Search, Tick, effort
from orthoscope.designs.distance import distance_beside, equal_constant
from orthoscope.designs.optimization import Candidate, Design, Goal, Outcome, extremes
from orthoscope.designs.published import published_schedules
from orthoscope.designs.run import Report
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.progress import LOG, Remark
from orthoscope.quantities import Estimate
from orthoscope.serialize import to_dict
from orthoscope.threads import one_thread

_SEARCH_ROWS, _CHECK_ROWS, _SEARCH_STEPS = 128, 256, 16
# A multiple of the search's, so that jumps fall on the grid. Schedules are also chosen at this many steps: what only
# looks good at few steps must not win.
_JUDGE_STEPS = 48
_NUMBERS = 128 * 1797 * 64  # read per step at these rows from the bundled digits; larger data sets get fewer rows
_FEWEST_ROWS = 48
_ZOOMS = 1
_ERRORS = 3.0  # standard errors by which a floor may seem missed
_FLOOR_ROUNDING = 1e-9
_PUBLISHED = ("increasing-linear", "decreasing-linear", "tv-triangle", "tv-interval", "time-rescaled")
_MISSED = 0.02  # by which the search may miss a floor on its own paths


@dataclass(frozen=True, slots=True, kw_only=True)
class DataProblem:
    """A class of a data set, a goal, and how much to sample.

    Attributes:
        law: The class.
        goal: What is asked.
        samples: Fresh trajectories on which everything is judged.
        seed: Root seed.
    """

    law: DataLaw
    goal: Goal
    samples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject too few samples for a standard error of second moments."""
        settle(self)
        if self.samples < 4 * self.law.data.dim:
            raise ConfigError(
                f"{self.law.data.dim} dimensions need at least {4 * self.law.data.dim} samples, got {self.samples}"
            )

    def batch(self, name: str, rows: int, steps: int) -> Batch:
        """Paths of one name."""
        return Batch(law=self.law, rows=rows, steps=steps, seed=self.seed, name=name)


def run_data_design(problem: DataProblem, say: Remark = LOG.info, tick: Tick = lambda: None) -> Report:
    """Search, then judge on fresh paths.

    Args:
        problem: What is asked.
        say: Told what is going on.
        tick: Called after every run of the search.

    Raises:
        ConfigError: if no schedule tried keeps the floors: names the one that is missed most, and its best value.
    """
    with one_thread():
        return _run(problem, say, tick)


def _run(problem: DataProblem, say: Remark, tick: Tick) -> Report:
    begin, law, goal = time.perf_counter(), problem.law, problem.goal
    share = min(1.0, _NUMBERS / (_SEARCH_ROWS * law.data.size * law.data.dim))
    rows = max(int(_SEARCH_ROWS * share), _FEWEST_ROWS)
    search = Search(
        batch=problem.batch("search", rows, _SEARCH_STEPS),
        check=problem.batch("check", rows * _CHECK_ROWS // _SEARCH_ROWS, _JUDGE_STEPS),
        goal=goal,
        tick=tick,
    )
    say("simple schedules")
    families = search.families()
    say("published schedules")
    published = _published(search)
    say("strength by gradients")
    start = max([*families.values(), *published.values()], key=search.score)
    fitted = search.pieces(start)
    _require_feasible(search, max(fitted, start, key=search.score))
    say("scaling to the constraints")
    families, published = ({name: search.calibrated(s) for name, s in group.items()} for group in (families, published))
    tried = (search.calibrated(fitted), *families.values(), *published.values())
    chosen = max(tried, key=search.checked_score)
    say("judging on fresh paths")
    fresh = problem.batch("judge", problem.samples, _JUDGE_STEPS)
    others = {**families, **published}
    judged = judge(fresh, {**others, "design": chosen})
    gains = {
        name: paired(fresh, goal.objective, chosen, schedule).affine(goal.sign)
        for name, schedule in others.items()
        if goal.objective in MEASURED and schedule != chosen
    }
    outcomes = {name: _outcome(judged[name], fresh, s) for name, s in {**others, "design": chosen}.items()}
    candidates = tuple(
        Candidate(name=name, schedule=s, outcome=outcomes[name], feasible=_kept(judged[name], goal))
        for name, s in others.items()
    )
    equal = equal_constant(lambda one: search.values(one)["mean_shift"], search.values(chosen)["mean_shift"])
    beside = distance_beside(chosen, fresh.away(chosen), fresh.away, equal)
    about = {"samples": problem.samples, "steps": _JUDGE_STEPS, "search_rows": rows}
    rivals = {c.name: gains[c.name] for c in candidates if c.feasible and c.name in gains}
    return Report(
        law=to_dict(law, strict=False),
        goal=goal,
        design=Design(
            goal=goal,
            schedule=chosen,
            outcome=outcomes["design"],
            feasible=_kept(judged["design"], goal),
            binding=_binding(judged["design"], goal),
        ),
        candidates=candidates,
        checks={name: Check(measured=judged["design"][name]) for name in MEASURED},
        simulated=about | {"theory": None, "distance": beside},
        gains=gains,
        errors={name: {quantity: judged[name][quantity].stderr for quantity in MEASURED} for name in others},
        notes=_notes(goal, chosen, others, rivals, judged["design"], law.t_max),
        seconds=time.perf_counter() - begin,
    )


def _published(search: Search) -> dict[str, GuidanceSchedule]:
    law = search.batch.law

    def trial(schedules: Sequence[GuidanceSchedule]) -> list[Outcome]:
        found: list[dict[str, Any]] = [dict(search.values(schedule)) for schedule in schedules]
        return [Outcome(**values) for values in found]

    return published_schedules(trial, search.goal, base=law.data.width, t_max=law.t_max, zooms=_ZOOMS, names=_PUBLISHED)


def _require_feasible(search: Search, chosen: GuidanceSchedule) -> None:
    found, floors = search.values(chosen), search.goal.floors
    missed = {name: floor - found[name] for name, floor in floors.items() if floor - found[name] > _MISSED}
    if not missed:
        return
    name = max(missed, key=lambda n: missed[n])
    best = search.most(name)
    raise ConfigError(
        f"{name} at least {floors[name]:g} cannot be kept for strengths from {search.goal.low:g} to "
        f"{search.goal.high:g}: the best found is {best:.4g}; ask for less"
    )


def _outcome(judged: Mapping[str, Estimate], batch: Batch, schedule: GuidanceSchedule) -> Outcome:
    values: dict[str, Any] = {name: judged[name].value for name in MEASURED}
    return Outcome(**values, effort=effort(batch, schedule))


def _kept(judged: Mapping[str, Estimate], goal: Goal) -> bool:
    return all(
        judged[name].value >= floor - _ERRORS * judged[name].stderr - _FLOOR_ROUNDING
        for name, floor in goal.floors.items()
    )


def _binding(judged: Mapping[str, Estimate], goal: Goal) -> tuple[str, ...]:
    return tuple(
        name for name, floor in goal.floors.items() if abs(judged[name].value - floor) <= _ERRORS * judged[name].stderr
    )


def _notes(
    goal: Goal,
    chosen: GuidanceSchedule,
    others: Mapping[str, GuidanceSchedule],
    gains: Mapping[str, Estimate],
    judged: Mapping[str, Estimate],
    t_max: float,
) -> tuple[str, ...]:
    said = ["all numbers are measured on fresh paths, which the search has not seen"]
    title = goal.objective.replace("_", " ")
    same = [name.replace("_", " ") for name, schedule in others.items() if schedule == chosen]
    if same:
        said.append(f"nothing found is better than {same[0]}, which is the answer")
    if gains:
        name, least = min(gains.items(), key=lambda item: item[1].value)
        clear = abs(least.value) > _ERRORS * least.stderr
        verdict = "ahead of" if clear and least.value > 0 else "behind" if clear else "not distinguishable from"
        said.append(f"{title}: {verdict} its nearest rival, {name.replace('_', ' ')}, by {least}")
    constant = gains.get("constant")
    if others.get("constant") == chosen or (constant is not None and constant.value <= _ERRORS * constant.stderr):
        found = "" if constant is None else f": it adds {constant} of {title} to what a constant strength has"
        said.append(f"no window helps here beyond chance{found}")
    if extremes(chosen, t_max)[0] < 0:
        said.append("the design has a negative window")
    said += [
        f"{name.replace('_', ' ')} misses its floor {floor:g} on fresh paths: {judged[name]}"
        for name, floor in goal.floors.items()
        if judged[name].value < floor - _ERRORS * judged[name].stderr
    ]
    return tuple(said)
