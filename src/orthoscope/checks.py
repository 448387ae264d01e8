"""Whole numbers and numbers, from whatever people and libraries write them as, or one clear line."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from orthoscope.errors import ConfigError, unknown

LARGEST = 2**53  # whole number that floats still tell from its neighbors
MOST_STEPS = 1_000_000  # of a run: levels beyond take memory and bring nothing
MOST_COUNT = 1_000_000  # of what is made one after another, draws and images: more would take years
_MOST = 2**128 - 1  # of a whole number that is not said to have another limit: a seed
MEMORY_SHARE = 0.8  # of the free memory that a run may take


def whole(name: str, value: Any, least: int | None = None, most: int = _MOST) -> int:
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
    least = -_MOST if least is None else least
    if found < least:
        raise ConfigError(f"`{name}` must be at least {least}, got {_shown(found)}", field=name)
    if found > most:
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


def among(name: str, values: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a list with a name that is not known.

    Raises:
        ConfigError: if there is one, with the nearest that is.
    """
    for value in values:
        if value not in known:
            raise unknown(name.removesuffix("s"), value, known, field=name)


def flag(name: str, value: Any) -> bool:
    """True or False, and nothing that merely counts as one of them.

    Raises:
        ConfigError: if it is neither.
    """
    if type(value).__name__ not in ("bool", "bool_"):
        raise ConfigError(f"`{name}` is True or False, got {_shown(value)}", field=name)
    return bool(value)


def available_memory() -> float:
    """Memory in bytes that can be used without swapping; infinite where the system does not tell."""
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return float(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return math.inf


def check_memory(what: str, need: float, *names: str) -> None:
    """Refuse what does not fit into memory, before it is tried.

    Args:
        what: What needs it, in the plural.
        need: Bytes.
        names: The arguments that it grows with, the one to lower first.

    Raises:
        ConfigError: naming them.
    """
    have = available_memory()
    if need > MEMORY_SHARE * have:
        raise ConfigError(f"{what} need {gib(need)}, and {gib(have)} are free; lower `{names[0]}`", field=names)


def gib(amount: float) -> str:
    """An amount of memory for people."""
    if amount < 2**70:
        return f"{amount / 2**30:,.1f} GiB"
    return f"10^{math.log10(amount / 2**30):.0f} GiB" if math.isfinite(amount) else "more memory than floats can count"


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
        most = {"most": MOST_COUNT} if read is whole and field.name != "seed" else {}
        found = read(field.name, value, **most)
        if type(value) not in (int, float, bool):
            object.__setattr__(record, field.name, found)


def fits(name: str, value: Any, kind: str) -> None:
    """Refuse a value that is not of the kind that an annotation says; of others nothing is known.

    Raises:
        ConfigError: naming it.
    """
    if value is None and kind.endswith(" | None"):
        return
    kind = kind.removesuffix(" | None")
    if found := re.fullmatch(r"tuple\[(\w+), \.\.\.\]", kind):
        if not isinstance(value, tuple):
            raise ConfigError(f"`{name}` must be a list, got {_shown(value)}", field=name)
        for one in value:
            fits(name, one, found[1])
    elif kind == "str" and not isinstance(value, str):
        raise ConfigError(f"`{name}` must be a text, got {_shown(value)}", field=name)
    elif kind in _READ:
        _READ[kind](name, value)


_READ: Mapping[str, Callable[..., Any]] = {"int": whole, "float": real, "bool": flag}  # by annotation


def _shown(value: Any) -> str:
    """A value on one short line; a large one by its type."""
    text = repr(value)
    return text if len(text) <= 40 and "\n" not in text else f"a {type(value).__name__}"
