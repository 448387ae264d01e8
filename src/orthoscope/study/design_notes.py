"""What there is to say about a design in plain sentences: what binds, what acts, what negative strength is worth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.study.design_check import Check
from orthoscope.theory.design import Candidate, Design, MixtureLaw, SpectrumLaw

_NOTHING = 1e-6  # gain in the objective that is no gain
_SAFE = 0.9  # class posterior below which a class counts as lost to some samples


def notes(
    law: MixtureLaw | SpectrumLaw, found: Design, without: tuple[Candidate | None] | None, checks: Mapping[str, Check]
) -> tuple[str, ...]:
    """Plain sentences about a design.

    Args:
        law: The law.
        found: The design.
        without: The best simple schedule without negative strength, None for none that keeps the floors; nothing if
            the design has no negative strength anyway.
        checks: What sampling said.
    """
    said = list(found.notes)
    if without is not None:
        said.append(_worth(found, without[0]))
    elif found.goal.low < 0:
        said.append("no negative window helps here: the best schedule has none")
    if isinstance(law, MixtureLaw):
        said += _commitment(found)
        said += _class(law, checks)
    said += [_disagreement(name, check) for name, check in checks.items() if not check.agrees]
    return tuple(said)


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


def _commitment(found: Design) -> list[str]:
    outcome = found.outcome
    if outcome.regime == "captured":
        return ["the class is lost: another mode captures the path"]
    if outcome.speciation_time is None:
        return ["dense regime: the class is never decided, so that strength acts down to clean data"]
    return [
        f"the class is decided at t = {outcome.speciation_time:.4g}: strength below it does nothing, and a window has "
        "to act before"
    ]


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


def _marks(schedule: GuidanceSchedule) -> np.ndarray:
    times = np.array([0.0, *sorted(schedule.switches())])
    between = (times[:-1] + times[1:]) / 2
    return np.unique(np.concatenate([times, between, [2 * times[-1] + 1]]))


def lowest(schedule: GuidanceSchedule) -> float:
    """Smallest strength of a schedule, at its switches and between them."""
    return float(schedule.at_time(_marks(schedule)).min())
