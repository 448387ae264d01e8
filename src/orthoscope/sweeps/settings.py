"""What a study file may set: the settings of `simulate` by name, how each is read, and what it is if left out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orthoscope.errors import ConfigError, unknown
from orthoscope.guidance.grammar import format_schedule, parse_schedule
from orthoscope.sweeps.plan import Value

SOURCES = ("simulation", "theory")
Read = Callable[[Any], Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One setting.

    Attributes:
        read: Its value from what the file holds; ConfigError says what was expected.
        default: Its value where the file says nothing; None if it must be given, or has no meaning then.
        numeric: Kind of its numbers, of which an axis may be a range; None if it has none.
        theory: Whether theory knows it.
    """

    read: Read
    default: Value | None = None
    numeric: type[int] | type[float] | None = None
    theory: bool = True


def shown(raw: Any) -> str:
    """A value as the file would write it."""
    return json.dumps(raw, default=str, ensure_ascii=False)


def _refused(expected: str, raw: Any) -> ConfigError:
    return ConfigError(f"expected {expected}, got {shown(raw)}")


def number(*, above: float = -math.inf, least: float = -math.inf) -> Callable[[Any], float]:
    """Reads a finite number, perhaps above a limit or from one on."""
    bound = f" > {above:g}" if above > -math.inf else f" >= {least:g}" if least > -math.inf else ""

    def read(raw: Any) -> float:
        usual = isinstance(raw, int | float) and not isinstance(raw, bool)
        if not (usual and math.isfinite(raw) and raw > above and raw >= least):
            raise _refused(f"a finite number{bound}", raw)
        return float(raw) + 0.0  # a negative zero becomes a plain one

    return read


def whole(least: int, most: float = math.inf) -> Callable[[Any], int]:
    """Reads a whole number."""

    def read(raw: Any) -> int:
        usual = isinstance(raw, int | float) and not isinstance(raw, bool)
        if not (usual and raw == raw // 1 and least <= raw <= most):
            raise _refused(
                f"a whole number from {least} to {most}" if most < math.inf else f"a whole number >= {least}", raw
            )
        return int(raw)

    return read


def truth(raw: Any) -> int:
    """A truth value as 0 or 1, which every file format holds."""
    if not isinstance(raw, bool):
        raise _refused("true or false", raw)
    return int(raw)


def one_of(*names: str) -> Read:
    """Reads one of some names."""

    def read(raw: Any) -> str:
        if not isinstance(raw, str):
            raise _refused(f"one of {', '.join(names)}", raw)
        if raw not in names:
            raise unknown("value", raw, names)
        return raw

    return read


def schedule(folder: Path) -> Read:
    """Reads a guidance schedule, JSON files from beside the study file, as its own text: equal ones read the same."""

    def read(raw: Any) -> str:
        if not isinstance(raw, str):
            raise _refused("a schedule such as linear:w0=-0.25,slope=0.3", raw)
        return format_schedule(parse_schedule(str(folder / raw) if raw.endswith(".json") else raw))

    return read


def place(folder: Path) -> Read:
    """Reads where modes are kept: `memory`, `regenerated`, or a .npy file beside the study file."""

    def read(raw: Any) -> str:
        kept = text(raw)
        return str((folder / kept).resolve()) if kept.endswith(".npy") else kept

    return read


def text(raw: Any) -> str:
    """A text that is not empty."""
    if not isinstance(raw, str) or not raw:
        raise _refused("a text", raw)
    return raw


def settings(folder: Path) -> dict[str, Entry]:
    """Every setting by name, for a study file in this folder."""
    return {
        "rate": Entry(read=number(above=0), numeric=float),
        "classes": Entry(read=whole(2), numeric=int),
        "dim": Entry(read=whole(1), numeric=int),
        "std": Entry(read=number(above=0), numeric=float),
        "strength": Entry(read=number(), numeric=float),
        "schedule": Entry(read=schedule(folder)),
        "ode": Entry(read=truth, default=0),
        "t_max": Entry(read=number(above=0), default=50.0, numeric=float),
        "start": Entry(read=one_of("prior", "exact"), default="prior"),
        "ensemble": Entry(read=one_of("gaussian", "sphere"), default="gaussian"),
        "planted": Entry(read=truth, default=0, theory=False),
        "modes": Entry(read=place(folder), default="memory", theory=False),
        "samples": Entry(read=whole(8), default=512, numeric=int, theory=False),
        "draws": Entry(read=whole(1), default=4, numeric=int, theory=False),
        "steps": Entry(read=whole(1), default=30, numeric=int),
        "grid": Entry(read=one_of("refined", "geometric", "equalized"), default="refined", theory=False),
        "order": Entry(read=whole(1, 2), default=2, numeric=int, theory=False),
        "estimator": Entry(read=one_of("plain", "completed", "twin"), default="plain", theory=False),
        "tolerance": Entry(read=number(least=0), default=0.0, numeric=float, theory=False),
        "dtype": Entry(read=one_of("float32", "float64"), default="float32", theory=False),
        "device": Entry(read=text, default="cpu", theory=False),
    }


def known(entries: dict[str, Entry], source: str) -> Sequence[str]:
    """Names of the settings that mean something to a source of numbers."""
    return [name for name, entry in entries.items() if entry.theory or source == "simulation"]


def defaults(entries: dict[str, Entry], source: str) -> dict[str, Value]:
    """What holds where a file says nothing: theory starts at infinite noise, and has steps only if told how many."""
    found = {name: entries[name].default for name in known(entries, source)}
    absent = ("t_max", "steps") if source == "theory" else ()
    return {name: value for name, value in found.items() if value is not None and name not in absent}
