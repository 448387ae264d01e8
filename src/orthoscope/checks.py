"""Whole numbers and numbers, from whatever people and libraries write them as, or one clear line."""

from __future__ import annotations

import operator
from typing import Any

from orthoscope.errors import ConfigError


def whole(name: str, value: Any, least: int | None = None) -> int:
    """A whole number: of Python, numpy or torch, never a float, a text or a truth value.

    Raises:
        ConfigError: if it is none, or below the least that makes sense.
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
    return found


def real(name: str, value: Any) -> float:
    """A number: of Python, numpy or torch, never a text or a truth value; it may be infinite.

    Raises:
        ConfigError: if it is none.
    """
    try:
        if isinstance(value, str | bytes | bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise ConfigError(f"`{name}` must be a number, got {_shown(value)}", field=name) from None


def flag(name: str, value: Any) -> bool:
    """True or False, and nothing that merely counts as one of them.

    Raises:
        ConfigError: if it is neither.
    """
    if type(value).__name__ not in ("bool", "bool_"):
        raise ConfigError(f"`{name}` is True or False, got {_shown(value)}", field=name)
    return bool(value)


def _shown(value: Any) -> str:
    """A value on one short line; a large one by its type."""
    text = repr(value)
    return text if len(text) <= 40 and "\n" not in text else f"a {type(value).__name__}"
