"""Windows worth an audit: guidance that waits, ends, or turns negative, as texts and in steps of a scheduler."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Step, Tabulated
from orthoscope.numerics import Array

SHARES = {"75%": 0.75, "50%": 0.5, "25%": 0.25}
_LATE = (-0.5, -1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A window.

    Attributes:
        spec: The text that `guided` and an audit take.
        words: What it does, in guidance scales and steps.
    """

    spec: str
    words: str


def proposals(times: Mapping[str, float], strength: float, levels: Array) -> tuple[Proposal, ...]:
    """Schedules over variance time: waiting and ending first, negative strengths after them.

    Args:
        times: Variance times at which `SHARES` of the commitment are to come under guidance, "high" and "low" at the
            ends of the range in which windows act, and "half_told" without guidance; NaN where they are not known.
        strength: The user's strength: kept early on, or begun late.
        levels: Variance times of the steps of the user's scheduler, descending.
    """
    low, high, half = (_rounded(times[name]) for name in ("low", "high", "half_told"))
    switches = dict.fromkeys(_rounded(times[name]) for name in SHARES if times[name] > 0)
    scale = f"scale {1 + strength:g}"
    found: list[tuple[GuidanceSchedule, str]] = []
    if half > 0:
        waiting = Step(early=0.0, late=strength, switch=half)
        found.append((waiting, f"begin guidance ({scale}) after {steps_until(levels, half)}"))
    for late in (0.0, *_LATE):
        for switch in switches:
            then = f"after {steps_until(levels, switch)}"
            does = (
                f"end guidance ({scale}) {then}"
                if late == 0
                else f"guide ({scale}) and turn to scale {1 + late:g} {then}"
            )
            found.append((Step(early=strength, late=late, switch=switch), does))
    if 0 < low < 0.99 * high < math.inf:
        ramp = Tabulated(at=(low, high), strengths=(_LATE[0], strength))
        first, last = (steps_until(levels, at) for at in (high, low))
        found.append((ramp, f"lower the scale from {1 + strength:g} after {first} to {1 + _LATE[0]:g} after {last}"))
    once: dict[str, Proposal] = {}  # what switches between the same two steps is the same
    for schedule, words in found:
        once.setdefault(words, Proposal(spec=format_schedule(schedule), words=words))
    return tuple(once.values())


def steps_until(levels: Array, time: float) -> str:
    """How many steps begin above a variance time."""
    return f"step {sum(level > time for level in levels)} of {len(levels)}"


def audit_command(settings: Mapping[str, Any], strength: float, specs: Sequence[str]) -> str:
    """The line that puts them to the test.

    Args:
        settings: Options that the audit shares with the calibration; those that are None are left out.
        strength: The user's strength, to compare with.
        specs: Schedules to be tested.
    """
    shared = [part for name, value in settings.items() if value is not None for part in (f"--{name}", str(value))]
    constants = [format_schedule(Constant(value=value)) for value in (0.0, strength)]
    schedules = [part for spec in (*constants, *specs) for part in ("--schedules", spec)]
    return shlex.join(["orthoscope", "audit", *shared, *schedules])


def _rounded(value: float) -> float:
    return float(f"{value:.3g}") if math.isfinite(value) else value
