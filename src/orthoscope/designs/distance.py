"""How far the samples of a design are from their class, beside those of the constant strength of equal mean shift.

Both are sampled on the same noise, so that what they share drops out of the difference. More variance than that
strength keeps is diversity only if the samples did not leave the class for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scipy.optimize import brentq

from orthoscope.errors import DivergenceError, OrthoscopeError
from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.schedules import Constant, GuidanceSchedule
from orthoscope.metrics.away import Away
from orthoscope.quantities import Estimate, pool

_STRONGEST = 60.0  # strength up to which an equal mean shift is sought
_CLOSE = 1e-3  # of strength
Sampled = Callable[[GuidanceSchedule], Sequence[Away]]


def distance_beside(schedule: GuidanceSchedule, own: Sequence[Away], sampled: Sampled, equal: Constant | None) -> Any:
    """Distances of a design, of the constant strength of equal mean shift, and their difference, as plain values.

    Args:
        schedule: The design.
        own: How far its samples are, by draw of the modes.
        sampled: How far those of another schedule are, on the same modes and noise.
        equal: The constant strength of equal mean shift; None where there is none.
    """
    found: dict[str, Any] = _plain([one.estimates() for one in own])
    if equal is None or isinstance(schedule, Constant):
        return found | {"constant": None}
    try:
        others = sampled(equal)
    except DivergenceError:  # the design is verified all the same
        return found | {"constant": None}
    change = [mine.less(theirs) for mine, theirs in zip(own, others, strict=True)]
    beside = {"text": format_schedule(equal), **_plain([one.estimates() for one in others])}
    return found | {"constant": beside, "change": _plain(change)}


def equal_constant(shift: Callable[[Constant], float], wanted: float) -> Constant | None:
    """The constant strength of a mean shift; None where no strength has it.

    Args:
        shift: Mean shift of a constant strength.
        wanted: The one to reach.
    """

    def gap(strength: float) -> float:
        return shift(Constant(value=strength)) - wanted

    try:
        low, high = (0.0, 1.0) if gap(0.0) <= 0 else (-1.0, 0.0)
        while gap(high) < 0 and high < _STRONGEST:
            low, high = high, 2 * high
        if not gap(low) <= 0 <= gap(high):
            return None
        return Constant(value=round(float(brentq(gap, low, high, xtol=_CLOSE)), 3) + 0.0)
    except (OrthoscopeError, ValueError):  # nothing is known there: a class that is lost has no mean shift
        return None


def _plain(draws: Sequence[Mapping[str, Estimate]]) -> dict[str, Any]:
    return {name: pool([draw[name] for draw in draws]).as_numbers() for name in draws[0]}
