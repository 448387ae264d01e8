"""Whole numbers and numbers, from whatever people and libraries write them as, or one clear line."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from orthoscope.errors import ConfigError

LARGEST = 2**53  # whole number that floats still tell from its neighbors
MOST_STEPS = 1_000_000  # of a run: levels beyond take memory and bring nothing


def whole(name: str, value: Any, least: int | None = None, most: int | None = None) -> int:
    """A whole number: of Python, numpy or torch, never a float, a text or a truth value.

    Raises:
        ConfigError: if it is none, or below the least or above the most that makes sense.
    """
    is_truth = isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")
    try:
        if is_truth:
            raise TypeError
        found = operator.index(value)
    except (TypeError, ValueError):
        raise ConfigError(f"`{name}` must be a whole number, got {_shown(value)}", field=name) from None
    if least is not None and found < least:
        raise ConfigError(f"`{name}` must be at least {least}, got {found}", field=name)
    if most is not None and found > most:
        raise ConfigError(f"`{name}` must be at most {most:,}, got {_shown(found)}", field=name)
    return found


def real(name: str, value: Any, *, finite: bool = False) -> float:
    """A number: of Python, numpy or torch, never a text or a truth value; it may be infinite unless told otherwise.

    Raises:
        ConfigError: if it is none.
    """
    try:
        if isinstance(value, str | bytes | bool):
            raise TypeError
        found = float(value)
    except (TypeError, ValueError, RuntimeError):
        raise ConfigError(f"`{name}` must be a number, got {_shown(value)}", field=name) from None
    except OverflowError:
        raise ConfigError(f"`{name}` is larger than any floating-point number: use a smaller one", field=name) from None
    if finite and not math.isfinite(found):
        raise ConfigError(f"`{name}` must be a finite number, got {found}", field=name)
    return found


def flag(name: str, value: Any) -> bool:
    """True or False, and nothing that merely counts as one of them.

    Raises:
        ConfigError: if it is neither.
    """
    if type(value).__name__ not in ("bool", "bool_"):
        raise ConfigError(f"`{name}` is True or False, got {_shown(value)}", field=name)
    return bool(value)


def settle(record: Any) -> None:
    """Check the numbers and truth values of a frozen dataclass by what its fields are said to be.

    Those of numpy and torch become plain ones; a number of Python stays as it is.

    Raises:
        ConfigError: naming the first field that holds something else.
    """
    for field in fields(record):
        kind, value = str(field.type), getattr(record, field.name)
        read = _READ.get(kind.removesuffix(" | None").removesuffix(" | Any"))
        if read is None or (value is None and kind.endswith(" | None")):
            continue
        found = read(field.name, value)
        if type(value) not in (int, float, bool):
            object.__setattr__(record, field.name, found)


_READ: Mapping[str, Callable[[str, Any], Any]] = {"int": whole, "float": real, "bool": flag}  # by annotation


def _shown(value: Any) -> str:
    """A value on one short line; a large one by its type."""
    text = repr(value)
    return text if len(text) <= 40 and "\n" not in text else f"a {type(value).__name__}"
