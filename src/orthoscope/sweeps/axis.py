"""The values of an axis: a list, or a range of evenly spaced numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from orthoscope.errors import ConfigError, unknown
from orthoscope.sweeps.kinds import Number, Read, shown, truth
from orthoscope.sweeps.mistakes import Mistakes
from orthoscope.sweeps.plan import Value

_RANGE = ("from", "to", "n", "log")
_MOST = 100_000  # values along an axis
_DIGITS = 12  # of the numbers of a range, so that 0.3 is 0.3


def axis_values(mistakes: Mistakes, name: str, read: Read, raw: Any) -> tuple[Value, ...]:
    """The usable values of an axis, in the order of the file; everything else goes to `mistakes`.

    Raises:
        ConfigError: if it is neither a list nor a range.
    """
    kind = read.kind if isinstance(read, Number) else None
    if isinstance(raw, Mapping):
        if kind is None:
            raise ConfigError("a range needs numbers: list the values")
        raw = _span(mistakes, name, kind, raw)
    if not isinstance(raw, list):
        example = f"[{shown(raw)}]" + (", { from = 0.1, to = 1, n = 10 }" if kind else "")
        raise ConfigError(
            f"expected a list or a range, such as {example}, got {shown(raw)}; one value belongs into [fixed]"
        )
    if not raw:
        raise ConfigError("expected at least one value, got an empty list")
    return each(mistakes, ("axes", name), read, raw)


def each(mistakes: Mistakes, where: tuple[str, str], read: Read, raw: list[Any]) -> tuple[Any, ...]:
    """The usable elements of a list, each once; everything else goes to `mistakes`."""
    values: dict[Any, None] = {}  # in order
    for k, one in enumerate(raw):
        with mistakes.at((*where, k), f"{where[1]}: "):
            value = read(one)
            if value in values:
                raise ConfigError(f"{shown(one)} is listed twice")
            values[value] = None
    return tuple(values)


def _span(mistakes: Mistakes, name: str, kind: type, raw: Mapping[str, Any]) -> list[float]:
    """The numbers of `{ from, to, n, log }`, ends included, rounded for whole ones.

    Raises:
        ConfigError: if they are none.
    """
    for key in raw:
        if key not in _RANGE:
            mistakes.add(("axes", name, key), f"{name}: {unknown('key of a range', key, _RANGE)}")
    if missing := [key for key in _RANGE[:3] if key not in raw]:
        raise ConfigError(f"a range needs from, to and n; missing: {', '.join(missing)}")
    low, high = Number()(raw["from"]), Number()(raw["to"])
    count, log = Number(kind=int, least=2, most=_MOST)(raw["n"]), truth(raw.get("log", False))
    if low == high or (log and min(low, high) <= 0):
        raise ConfigError(f"expected two different ends{', both > 0' if log else ''}, got {low:g} and {high:g}")
    values = [float(f"{value:.{_DIGITS}g}") for value in (np.geomspace if log else np.linspace)(low, high, int(count))]
    values = [round(value) for value in values] if kind is int else values
    if (different := len(set(values))) < count:
        raise ConfigError(f"only {different} of {count} numbers differ: lower n")
    return values
