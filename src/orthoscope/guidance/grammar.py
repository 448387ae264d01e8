"""The one grammar of guidance schedules, for command line, files, pipelines and page.

    constant:3
    linear:w0=-0.25,slope=0.3                 strength = w0 + slope * clock
    step:early=3,late=-1,switch=1             early while t > switch
    step:early=3,late=-1,switch=60%           early while step index / steps < 0.6
    interval:inside=3,low=0.2,high=5
    tabulated:at=0/1/4,strengths=-1/0/3       straight lines between points
    some/file.json                            written by `write_schedule`

Any of them may end in `clock=variance|sigma|logsnr|step`; a position like `60%` means clock=step.
"""

from __future__ import annotations

import dataclasses
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from orthoscope import serialize, writing
from orthoscope.errors import ConfigError, unknown
from orthoscope.guidance.schedules import SCHEDULES, GuidanceSchedule

_KINDS = {name.lower(): cls for name, cls in SCHEDULES.items()}
_EXAMPLES = "constant:3, linear:w0=-0.25,slope=0.3, step:early=3,late=-1,switch=1, interval:inside=3,low=0.2,high=5"


def parse_schedule(text: str) -> GuidanceSchedule:
    """The schedule that a text describes, or that the JSON file of that name holds.

    Raises:
        ConfigError: if the kind or a key is unknown (with the nearest known), a value is missing or no number.
    """
    kind, colon, body = text.strip().partition(":")
    if kind.lower() in _KINDS and colon:
        return _parse(_KINDS[kind.lower()], body, text)
    if text.endswith(".json") or _is_file(text):
        return read_schedule(Path(text))
    if colon:
        raise unknown("schedule", kind, _KINDS)
    raise ConfigError(f"expected a schedule such as {_EXAMPLES}, or a JSON file, got {text!r}")


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
        values[name] = raw if name == "clock" else number(raw, name, f"schedule {text!r}", name in cls._tables)
    if percent:
        if values.setdefault("clock", "step") != "step":
            raise ConfigError(f"schedule {text!r}: a position in % means clock=step, but clock={values['clock']}")
    missing = [f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING and f.name not in values]
    if missing:
        raise ConfigError(f"schedule {text!r}: missing {', '.join(missing)}; for example {_EXAMPLES}")
    return cls(**values)


def settings(what: str, kind: str, body: str, text: str, names: list[str], bare: str | None = None) -> dict[str, str]:
    """The key=value pairs after the colon of a schedule or rule, each key known and given once.

    Args:
        what: What the text describes, for messages.
        kind: The word before the colon.
        body: What follows it.
        text: The whole text, for messages.
        names: Known keys.
        bare: The key that a value without one belongs to.

    Raises:
        ConfigError: if a key is unknown (with the nearest known), missing, or given twice.
    """
    values: dict[str, str] = {}
    for part in filter(None, (p.strip() for p in body.split(","))):
        name, equals, raw = (p.strip() for p in part.partition("="))
        if not equals and bare is not None and bare not in values:
            name, raw = bare, name
        elif not equals:
            raise ConfigError(f"{what} {text!r}: expected key=value, got {part!r}")
        if name not in names:
            raise unknown(f"key of {what} {kind!r}", name, names)
        if name in values:
            raise ConfigError(f"{what} {text!r}: {name} is given twice")
        values[name] = raw
    return values


def number(raw: str, name: str, where: str, several: bool = False) -> float | tuple[float, ...]:
    """A number, with % for hundredths, or several between slashes.

    Raises:
        ConfigError: if it is none.
    """
    if "/" in raw or several:
        return tuple(_scalar(part, name, where) for part in raw.split("/"))
    return _scalar(raw, name, where)


def _scalar(raw: str, name: str, where: str) -> float:
    try:
        # In decimal, so that 0.7% is the same number as step 7 of 1000.
        return float(Decimal(raw[:-1]) / 100) if raw.endswith("%") else float(raw)
    except (ValueError, InvalidOperation) as error:
        raise ConfigError(f"{where}: {name} must be a number, got {raw!r}") from error


def format_schedule(schedule: GuidanceSchedule) -> str:
    """The text that `parse_schedule` reads back as the same schedule."""
    kind = type(schedule).__name__.lower()
    values = {f.name: getattr(schedule, f.name) for f in dataclasses.fields(schedule)}
    clock = values.pop("clock")
    parts = [f"{name}={written(value)}" for name, value in values.items()]
    if kind == "constant":
        parts = [written(schedule.value)]  # type: ignore[attr-defined]
    return f"{kind}:{','.join(parts)}" + ("" if clock == "variance" else f",clock={clock}")


def written(value: float | tuple[float, ...]) -> str:
    """A number, or several between slashes, as `number` reads it."""
    if isinstance(value, tuple):
        return "/".join(map(written, value))
    return repr(float(value)).removesuffix(".0")


def read_schedule(path: Path) -> GuidanceSchedule:
    """The schedule in a JSON file.

    Raises:
        ConfigError: if the file is missing, malformed, or holds no schedule of a supported version.
    """
    try:
        schedule: GuidanceSchedule = serialize.from_dict(serialize.read_json(path), SCHEDULES)
    except ConfigError as error:
        raise ConfigError(f"schedule file {path}: {error}") from error
    return schedule


def write_schedule(schedule: GuidanceSchedule, path: Path) -> None:
    """Write a schedule as versioned JSON.

    Raises:
        ConfigError: if the file cannot be written.
    """
    writing.write(path, serialize.dumps(schedule) + "\n")
