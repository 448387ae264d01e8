"""The one grammar of guidance schedules, for command line, files, pipelines and page.

    3, constant:3, scale:4                    the guidance scale of pipelines, strength + 1
    linear:w0=-0.25,slope=0.3                 strength = w0 + slope * clock
    step:early=3,late=-1,switch=1             early while t > switch
    step:early=3,late=-1,switch=60%           early while step index / steps < 0.6
    interval:inside=3,low=0.2,high=5
    tabulated:at=0/1/4,strengths=-1/0/3       straight lines between points
    some/file.json                            written by `write_schedule`
    my-schedule, module:name                  one's own: registered, or a function or class in a module

Any of them may end in `clock=variance|sigma|logsnr|step`; a position like `60%` means clock=step. Every strength may be
a guidance scale, as in `step:early=scale:7.5,late=-1,switch=1`.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from orthoscope import reading, registered, serialize, writing
from orthoscope.errors import ConfigError, unknown
from orthoscope.guidance.own import SCHEDULE_TYPES, FunctionSchedule, own_schedule
from orthoscope.guidance.schedules import SCHEDULES, Constant, GuidanceSchedule
from orthoscope.guidance.texts import as_strengths, joined, number, own_settings, settings, written

_KINDS = {name.lower(): cls for name, cls in SCHEDULES.items()}
_EXAMPLES = "constant:3, linear:w0=-0.25,slope=0.3, step:early=3,late=-1,switch=1, interval:inside=3,low=0.2,high=5"


def parse_schedule(text: str) -> GuidanceSchedule:
    """The schedule that a text describes, or that the JSON file of that name holds.

    Raises:
        ConfigError: if the kind or a key is unknown (with the nearest known), a value is missing or no number.
    """
    return schedule_of(text, imports=True)


def schedule_of(text: str, *, imports: bool) -> GuidanceSchedule:
    """The same; a text out of a file may not import the module that it names.

    Args:
        text: A kind with its settings, a name or a place of one's own, or a file.
        imports: Whether the module of a place may be imported.

    Raises:
        ConfigError: if the kind or a key is unknown (with the nearest known), a value is missing or no number.
    """
    if not isinstance(text, str):
        raise ConfigError(f"a schedule as text is expected, such as 'constant:3', got {type(text).__name__}")
    if _is_number(value := as_strengths(text)):
        return Constant(value=float(value))
    kind, colon, body = text.strip().partition(":")
    if kind.lower() in _KINDS and colon:
        return _parse(_KINDS[kind.lower()], body, text)
    if text.endswith(".json") or _is_file(text):
        return read_schedule(Path(text))
    if found := registered.SCHEDULES.find(text, imports=imports):
        return _parse_own(*found, text)
    if colon:
        raise unknown("schedule", kind, registered.SCHEDULES.names())
    raise ConfigError(f"expected a schedule such as {_EXAMPLES}, or a JSON file, got {text!r}")


def _parse_own(thing: Any, body: str, text: str) -> GuidanceSchedule:
    if isinstance(thing, type) and issubclass(thing, GuidanceSchedule):
        return _parse(thing, body, text)
    values, options = own_settings(thing, body, "schedule", text, FunctionSchedule.OPTIONS)
    return own_schedule(registered.put_together(thing, values, "schedule"), **options)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # for instance a mistyped schedule longer than any file name
        return False


def _parse(cls: type[GuidanceSchedule], body: str, text: str) -> GuidanceSchedule:
    # Knots are always written by name; a single bare value is the constant's.
    names = [f.name for f in dataclasses.fields(cls)]
    bare = "value" if names == ["clock", "value"] else None
    values: dict[str, Any] = {}
    percent = False
    for name, raw in settings("schedule", cls.__name__.lower(), body, text, names, bare).items():
        if "%" in raw and name not in cls._knots:
            raise ConfigError(f"schedule {text!r}: {name}={raw} is no position on the clock; only those can be in %")
        percent |= "%" in raw
        if name == "clock":
            values[name] = raw
            continue
        plain = raw if name in cls._knots + cls._rates else as_strengths(raw)
        values[name] = number(plain, name, f"schedule {text!r}", name in cls._tables)
    if percent:
        if values.setdefault("clock", "step") != "step":
            raise ConfigError(f"schedule {text!r}: a position in % means clock=step, but clock={values['clock']}")
    missing = [f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING and f.name not in values]
    if missing:
        raise ConfigError(f"schedule {text!r}: missing {', '.join(missing)}; for example {_EXAMPLES}")
    return cls(**values)


def format_schedule(schedule: GuidanceSchedule) -> str:
    """The text that `parse_schedule` reads back as the same schedule.

    Raises:
        ConfigError: if a schedule of one's own has none.
    """
    if isinstance(schedule, FunctionSchedule):
        return schedule.text()
    kind = type(schedule).__name__.lower()
    if type(schedule) not in SCHEDULES.values():
        kind = registered.SCHEDULES.text(type(schedule))
    values = {f.name: getattr(schedule, f.name) for f in dataclasses.fields(schedule)}
    clock = values.pop("clock")
    body = written(schedule.value) if isinstance(schedule, Constant) else joined(values)
    return f"{kind}:{body}" + ("" if clock == "variance" else f",clock={clock}")


def shown_schedule(schedule: GuidanceSchedule) -> str:
    """The text of a schedule for messages and records; of one that has none, the name of its class or function."""
    try:
        return format_schedule(schedule)
    except ConfigError:
        return schedule.name if isinstance(schedule, FunctionSchedule) else type(schedule).__name__


def read_schedule(path: Path | str) -> GuidanceSchedule:
    """The schedule in a JSON file.

    Raises:
        ConfigError: if the file is missing, malformed, or holds no schedule of a supported version.
    """
    try:
        schedule: GuidanceSchedule = serialize.from_dict(reading.read_json(Path(path)), SCHEDULE_TYPES)
    except ConfigError as error:
        raise ConfigError(f"schedule file {path}: {error}") from error
    return schedule


def write_schedule(schedule: Any, path: Path | str) -> None:
    """Write whatever `as_schedule` takes as versioned JSON, once that was seen to be read back.

    Raises:
        ConfigError: if it is no schedule, cannot be read back, or the file cannot be written.
    """
    from orthoscope.guidance.given import as_schedule  # which reads texts by this grammar

    try:
        text = serialize.dumps(as_schedule(schedule))
        serialize.from_dict(reading.parse_json(text, "it"), SCHEDULE_TYPES)
    except (TypeError, ConfigError) as error:
        raise ConfigError(f"this schedule cannot be written down: {error}", field="schedule") from error
    writing.write(Path(path), text + "\n")
