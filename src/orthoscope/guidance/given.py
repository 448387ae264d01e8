"""Where a schedule is meant, a number, a text, a file, a function or an object will do."""

from __future__ import annotations

import numbers
from pathlib import Path
from typing import Any

from orthoscope.checks import real
from orthoscope.errors import ConfigError
from orthoscope.guidance.grammar import parse_schedule, read_schedule
from orthoscope.guidance.own import own_schedule
from orthoscope.guidance.schedules import Constant, GuidanceSchedule


def as_schedule(given: Any) -> GuidanceSchedule:
    """The schedule that is meant: a constant strength, a text in the grammar, a JSON file, any function of
    the noise level, a class or an object of such, or a schedule itself.

    Raises:
        ConfigError: if it is none of these.
    """
    if isinstance(given, GuidanceSchedule):
        return given
    if isinstance(found := getattr(given, "schedule", None), GuidanceSchedule):
        return found  # of a design
    if isinstance(given, str):
        return parse_schedule(given)
    if isinstance(given, Path):
        return read_schedule(given)
    if isinstance(given, numbers.Real) and not isinstance(given, bool):
        return Constant(value=real("schedule", given, finite=True))
    if callable(given):
        return own_schedule(given)
    raise ConfigError(
        "a `schedule` is a number (a constant strength), a text such as 'step:early=3,late=-1,switch=1', a JSON file, "
        f"a function of the noise level or a schedule, got {type(given).__name__}",
        field="schedule",
    )
