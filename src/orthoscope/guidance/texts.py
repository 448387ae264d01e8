"""Settings in texts, `key=value,key=value`, of schedules, of rules, and of what users bring: read and written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from orthoscope.errors import ConfigError, unknown
from orthoscope.registered import name_of

_TRUTH = {"true": True, "false": False}


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


_SCALE = "scale:"


def number(raw: str, name: str, where: str, several: bool = False) -> float | tuple[float, ...]:
    """A number, with % for hundredths, or several between slashes.

    Raises:
        ConfigError: if it is none.
    """
    if "/" in raw or several:
        return tuple(_scalar(part, name, where) for part in raw.split("/"))
    return _scalar(raw, name, where)


def as_strengths(raw: str) -> str:
    """The same text with strengths, one or several between slashes, for guidance scales `scale:S`, which are 1 more."""
    return "/".join(map(_as_strength, raw.split("/")))


def _as_strength(raw: str) -> str:
    if not raw.strip().lower().startswith(_SCALE):
        return raw
    try:
        return str(Decimal(raw.strip()[len(_SCALE) :]) - 1)  # in decimal, so that 1.1 is a strength of 0.1
    except ArithmeticError:
        return raw


def strength(raw: str) -> float:
    """A constant strength, or the guidance scale of one.

    Raises:
        ConfigError: if it is neither.
    """
    try:
        return float(as_strengths(raw))
    except ValueError as error:
        raise ConfigError(f"expected a strength such as 3, or a scale such as scale:4, got {raw!r:.40}") from error


def _scalar(raw: str, name: str, where: str) -> float:
    try:
        # In decimal, so that 0.7% is the same number as step 7 of 1000.
        return float(Decimal(raw[:-1]) / 100) if raw.endswith("%") else float(raw)
    except (ValueError, ArithmeticError) as error:
        raise ConfigError(f"{where}: {name} must be a number, got {raw!r}") from error


def written(value: float | tuple[float, ...]) -> str:
    """A number, or several between slashes, as `number` reads it."""
    if isinstance(value, tuple):
        return "/".join(map(written, value))
    return repr(float(value)).removesuffix(".0")


def own_settings(
    thing: Any, body: str, what: str, text: str, options: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What stands after the name of a thing of one's own: settings of its class, if that is a dataclass, and options.

    Args:
        thing: A class or a function.
        body: What follows its name.
        what: What it is, for messages.
        text: The whole text, for messages.
        options: What can be said of any such thing, with the types.

    Raises:
        ConfigError: if a key is unknown, or a value does not fit.
    """
    fields = dataclasses.fields(thing) if dataclasses.is_dataclass(thing) else ()
    kinds = {field.name: getattr(field.type, "__name__", field.type) for field in fields if field.init}
    raws = settings(what, name_of(thing), body, text, [*kinds, *(name for name in options if name not in kinds)])
    values = {
        name: _value(raw, str({**options, **kinds}[name]), name, f"{what} {text!r}") for name, raw in raws.items()
    }
    own = {name: value for name, value in values.items() if name in kinds}
    return own, {name: value for name, value in values.items() if name not in kinds}


def _value(raw: str, kind: str, name: str, where: str) -> Any:
    """A value of the type that is written beside a field."""
    match kind:
        case "int":
            value = number(raw, name, where)
            if isinstance(value, tuple) or value % 1:
                raise ConfigError(f"{where}: {name} must be a whole number, got {raw!r}")
            return int(value)
        case "bool":
            if raw not in _TRUTH:
                raise ConfigError(f"{where}: {name} must be true or false, got {raw!r}")
            return _TRUTH[raw]
        case "tuple[str, ...]":
            return tuple(raw.split("/"))
        case "str" | "Space" | "Clock":
            return raw
    return raw if kind.startswith("Literal") else number(raw, name, where, kind.startswith("tuple"))


def joined(values: Mapping[str, Any]) -> str:
    """Settings as `settings` and `own_settings` read them.

    Raises:
        ConfigError: if a value has no text.
    """
    return ",".join(f"{name}={_spelled(name, value)}" for name, value in values.items())


def _spelled(name: str, value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str() if not set(value) & set(",=/:") and value.strip() == value:
            return value
        case int() | float():
            return written(value)
        case tuple() if value:
            return "/".join(_spelled(name, part) for part in value)
    raise ConfigError(f"the setting {name}={value!r:.40} has no text; use numbers and words, or write a file")
