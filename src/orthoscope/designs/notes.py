"""What there is to say about a design in plain sentences: what binds, what acts, what negative strength is worth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from orthoscope.designs.check import Check
from orthoscope.designs.optimization import Candidate, Design, MixtureLaw, SpectrumLaw, least_effort
from orthoscope.designs.optimization.goals import MINIMIZED
from orthoscope.errors import ConfigError
from orthoscope.guidance.grammar import format_schedule

_NOTHING = 1e-6  # gain in the objective that is no gain
_SAFE = 0.9  # class posterior below which a class counts as lost to some samples


def notes(
    law: MixtureLaw | SpectrumLaw, found: Design, without: tuple[Candidate | None] | None, checks: Mapping[str, Check]
) -> tuple[str, ...]:
    """Plain sentences about a design.

    Args:
        law: The law.
        found: The design.
        without: The best simple schedule without negative strength and margin, None for none that keeps the floors;
            nothing if the design has no negative strength anyway.
        checks: What sampling said.
    """
    said = [*_closed_form(law, found), *_margin(found), *found.notes]
    if without is not None:
        said.append(("" if found.bound is None else "without a margin ") + _worth(found.bound or found, without[0]))
    elif found.goal.low < 0:
        said.append("no negative window helps here: the best schedule has none")
    if isinstance(law, SpectrumLaw) and (wide := int((law.gap < 0).sum())):
        said.append(
            f"the class is wider than its surroundings in {wide} of {law.gap.size} directions: there positive strength "
            "widens it, and moves it the further the larger --high is"
        )
    if isinstance(law, MixtureLaw):
        said += _commitment(law, found)
        said += _class(law, checks) if found.outcome.regime != "dense" else []  # dense classes overlap, guided or not
    said += [_disagreement(name, check) for name, check in checks.items() if not check.agrees]
    return tuple(said)


def _closed_form(law: MixtureLaw | SpectrumLaw, found: Design) -> list[str]:
    """The linear-quadratic solution beside a design of least effort, where there is one."""
    goal = found.goal
    c, u = (law.base, 1 + law.base) if isinstance(law, MixtureLaw) else (law.cond_var, law.uncond_var)
    if goal.objective != "effort" or goal.mean_shift is None or np.size(c) > 1 or law.lam != 1:
        return []
    run, floor = (np.ravel(c)[0], np.ravel(u)[0], law.t_max), goal.variance_ratio
    try:
        weak = least_effort(*run, goal.mean_shift, None)
        if floor is not None and weak.variance_ratio < floor:  # a floor that is kept anyway asks for nothing
            weak = least_effort(*run, goal.mean_shift, floor)
    except ConfigError:  # the class is as wide as its surroundings
        return []
    outcome = law.evaluate(weak.schedule)
    return [
        f"the closed form for weak guidance is {format_schedule(weak.schedule)}: mean shift {outcome.mean_shift:.4g}, "
        f"variance ratio {outcome.variance_ratio:.4g}, effort {outcome.effort:.4g}"
    ]


def _margin(found: Design) -> list[str]:
    margin, bound = found.goal.margin, found.bound
    if bound is None:
        return []
    title, value = found.goal.objective.replace("_", " "), getattr(bound.outcome, found.goal.objective)
    return [
        f"strengths may be off by {margin.strength:g} and switch times by {100 * margin.switch:g} %: {_kept(found)}",
        f"without a margin {title} {value:.6g} can be had, by {format_schedule(bound.schedule)}; "
        f"off by the margin that one has {_kept(bound)}",
    ]


def _kept(found: Design) -> str:
    """The worst that a schedule does within the margin."""
    if found.outcome.within is None:
        return ""
    regimes = found.outcome.within.regimes
    least = [
        f"{name.replace('_', ' ')} {'at most' if name in MINIMIZED else 'at least'} {value:.4g}"
        for name, value in found.outcome.within.least.items()
    ]
    if "captured" in regimes:
        return f"{' and '.join(least)}, and another class may capture the path"
    return f"{' and '.join(least)}{', in more than one regime' if len(regimes) > 1 else ''}"


def _worth(found: Design, without: Candidate | None) -> str:
    title = found.goal.objective.replace("_", " ")
    if without is None:
        return "a negative window is necessary: no simple schedule without negative strength keeps what is asked"
    gain = found.outcome.gain(found.goal) - without.outcome.gain(found.goal)
    value, name = getattr(without.outcome, found.goal.objective), without.name.replace("_", " ")
    if gain <= _NOTHING:
        return f"no negative window helps here: without negative strength the best {title} is the same, {value:.6g}"
    return (
        f"negative strength is worth {gain:.4g}: the best simple schedule without it, {name}, has {title} {value:.6g}"
    )


def _commitment(law: MixtureLaw, found: Design) -> list[str]:
    outcome = found.outcome
    if outcome.regime == "captured":
        return ["the class is lost: another mode captures the path"]
    if outcome.speciation_time is None:
        return ["dense regime: the class is never decided, so that strength acts down to clean data"]
    decided = f"the class is decided at t = {outcome.speciation_time:.4g}"
    if law.dim is not None:
        return [f"{decided} in infinite dimension; in this one paths decide over a range of times, and strength fades"]
    return [f"{decided}: strength below it does nothing, and a window has to act before"]


def _class(law: MixtureLaw, checks: Mapping[str, Check]) -> list[str]:
    check = checks.get("class_posterior")
    if check is None or check.measured.value >= _SAFE:
        return []
    if law.dim is None:
        return [
            f"in finite dimension {1 - check.measured.value:.2g} of the class is lost (sampled): give --dim and "
            "--class-posterior to keep it"
        ]
    return [f"warning: the class is kept with probability {check.measured} only (sampled)"]


def _disagreement(name: str, check: Check) -> str:
    title = name.replace("_", " ")
    return f"sampling disagrees with theory: {title} {check.measured} against {check.theory:.4g}; try more --steps"
