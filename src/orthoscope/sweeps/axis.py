"""The values of one axis: a list, or a range of evenly spaced numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from orthoscope.errors import ConfigError, unknown
from orthoscope.sweeps.mistakes import Mistakes
from orthoscope.sweeps.plan import Value
from orthoscope.sweeps.settings import Entry, number, shown, truth, whole

_RANGE = ("from", "to", "n", "log")
_MOST = 100_000  # values along an axis
_DIGITS = 12  # of the numbers of a range, so that 0.3 is 0.3


def axis_values(name: str, raw: Any, entry: Entry, mistakes: Mistakes) -> tuple[Value, ...]:
    """The usable values of an axis, in the order of the file; everything else goes to `mistakes`."""
    where = ("axes", name)
    if isinstance(raw, Mapping):
        with mistakes.at(where, f"{name}: "):
            if not entry.numeric:
                raise ConfigError("a range needs numbers: list the values")
            span = _span(name, raw, mistakes)
            return _read(
                [round(v) for v in span] if entry.numeric is int else span, name, entry, mistakes, listed=False
            )
        return ()
    if not isinstance(raw, list):
        example = f"[{shown(raw)}]" + (", { from = 0.1, to = 1, n = 10 }" if entry.numeric else "")
        mistakes.add(where, f"{name}: expected a list or a range, such as {example}, got {shown(raw)}; "
                     "one value belongs into [fixed]")  # fmt: skip
        return ()
    if not raw:
        mistakes.add(where, f"{name}: expected at least one value, got an empty list")
    return _read(raw, name, entry, mistakes, listed=True)


def _read(raw: list[Any], name: str, entry: Entry, mistakes: Mistakes, *, listed: bool) -> tuple[Value, ...]:
    values: dict[Value, None] = {}  # in order, each once
    for k, one in enumerate(raw):
        where = ("axes", name, k) if listed else ("axes", name)
        with mistakes.at(where, f"{name}: "):
            value = entry.read(one)
            if value in values:
                again = f"{shown(one)} is listed twice" if listed else f"{shown(value)} comes twice: lower n"
                raise ConfigError(again)
            values[value] = None
    return tuple(values)


def _span(name: str, raw: Mapping[str, Any], mistakes: Mistakes) -> list[float]:
    """The numbers of `{ from, to, n, log }`, ends included.

    Raises:
        ConfigError: if they are none.
    """
    for key in raw:
        if key not in _RANGE:
            mistakes.add(("axes", name, key), f"{name}: {unknown('key of a range', key, _RANGE)}")
    if missing := [key for key in _RANGE[:3] if key not in raw]:
        raise ConfigError(f"a range needs from, to and n; missing: {', '.join(missing)}")
    low, high, count = number()(raw["from"]), number()(raw["to"]), whole(2, _MOST)(raw["n"])
    log = bool(truth(raw.get("log", False)))
    if low == high or (log and min(low, high) <= 0):
        raise ConfigError(f"expected two different ends{', both > 0' if log else ''}, got {low:g} and {high:g}")
    values = (np.geomspace if log else np.linspace)(low, high, count)
    return [float(f"{value:.{_DIGITS}g}") for value in values]
