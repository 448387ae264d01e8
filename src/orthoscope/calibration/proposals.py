"""Windows worth an audit: strong early on and weak or negative later, or idle early on and strong later."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.schedules import Constant, Step, Tabulated

SHARES = {"75%": 0.75, "50%": 0.5, "25%": 0.25}
_LATE = (-0.5, -1.0)


def proposals(times: Mapping[str, float], strength: float) -> tuple[str, ...]:
    """Schedules as texts, over variance time.

    Args:
        times: Variance times at which `SHARES` of the commitment are to come under guidance, "high" and "low" at the
            ends of the range in which windows act, and "half_told" without guidance; NaN where they are not known.
        strength: The user's strength: kept early on, or begun late.
    """
    low, high, half = (times[name] for name in ("low", "high", "half_told"))
    switches = [_rounded(times[name]) for name in SHARES if times[name] > 0]
    steps = [Step(early=strength, late=late, switch=switch) for late in _LATE for switch in dict.fromkeys(switches)]
    ramp = (
        [Tabulated(at=(_rounded(low), _rounded(high)), strengths=(_LATE[0], strength))] if 0 < low < 0.99 * high else []
    )
    delay = [Step(early=0.0, late=strength, switch=_rounded(half))] if half > 0 else []
    return tuple(format_schedule(schedule) for schedule in (*steps, *ramp, *delay))


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
