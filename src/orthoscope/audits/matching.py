"""Constant strengths of the mean shifts that windows have, so that no comparison needs a long line."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from orthoscope.audits.compare import Compared
from orthoscope.audits.plan import Role, constants
from orthoscope.guidance.schedules import Constant, GuidanceSchedule

_WIDEST = 2.0  # a matched constant is at most so many times the strongest one named
_APART = 0.1  # relative distance in scale below which a constant strength serves for another


def matching_constants(
    found: Mapping[GuidanceSchedule, Compared], roles: Mapping[GuidanceSchedule, Role]
) -> list[GuidanceSchedule]:
    """The constant strengths to be run for the windows.

    They lie between 0 and twice the strongest one named: below 0, the line of those above says little.

    Args:
        found: Every schedule beside the line of constant strengths.
        roles: What each of them is there for.
    """
    known, matched = constants(found), list[GuidanceSchedule]()
    most = _WIDEST * max(*known, 1.0)
    equal = [one.equal_strength for schedule, one in found.items() if roles[schedule] in ("window", "searched")]
    for number in sorted(filter(math.isfinite, equal)):  # in the order in which windows were named, it would decide
        strength = round(float(np.clip(number, 0.0, most)), 2) + 0.0
        if all(abs(strength - w) > _APART * (1 + abs(w)) for w in known):
            known.append(strength)
            matched.append(Constant(value=strength))
    return matched
