"""What may stand at a key of a study file: each kind reads a value, or says what was expected."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orthoscope.errors import ConfigError, unknown
from orthoscope.guidance.grammar import format_schedule, parse_schedule

Read = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key of a table.

    Attributes:
        read: Its value from what the file holds; ConfigError says what was expected.
        default: Its value where the file says nothing; None if it has none then.
    """

    read: Read
    default: Any = None


def defaults(keys: Mapping[str, Key]) -> dict[str, Any]:
    """What holds where a file says nothing."""
    return {name: key.default for name, key in keys.items() if key.default is not None}


def shown(raw: Any) -> str:
    """A value as the file would write it."""
    return json.dumps(raw, default=str, ensure_ascii=False)


def _refused(expected: object, raw: Any) -> ConfigError:
    return ConfigError(f"expected {expected}, got {shown(raw)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A finite number within bounds.

    Attributes:
        kind: What it becomes; int takes whole numbers only, however they are written.
        above: It is more than this.
        least: It is this or more.
        most: It is this or less.
    """

    kind: type[int] | type[float] = float
    above: float = -math.inf
    least: float = -math.inf
    most: float = math.inf

    def __str__(self) -> str:
        name = "a whole number" if self.kind is int else "a finite number"
        if self.most < math.inf:
            return f"{name} from {self.least} to {self.most}"
        bounds = {" > ": self.above, " >= ": self.least}
        return name + "".join(f"{sign}{bound}" for sign, bound in bounds.items() if bound > -math.inf)

    def __call__(self, raw: Any) -> int | float:
        usual = isinstance(raw, int | float) and not isinstance(raw, bool) and abs(raw) <= sys.float_info.max
        within = usual and raw > self.above and self.least <= raw <= self.most
        if not within or (self.kind is int and raw != raw // 1):
            raise _refused(self, raw)
        return self.kind(raw) + 0  # a negative zero becomes a plain one


def truth(raw: Any) -> int:
    """A truth value as 0 or 1, which every file format holds."""
    if not isinstance(raw, bool):
        raise _refused("true or false", raw)
    return int(raw)


def text(raw: Any, expected: str = "a text") -> str:
    """A text that is not empty."""
    if not isinstance(raw, str) or not raw:
        raise _refused(expected, raw)
    return raw


def one_of(*names: str, what: str = "value") -> Callable[[Any], str]:
    """Reads one of some names."""

    def read(raw: Any) -> str:
        if raw not in names:
            raise unknown(what, raw, names) if isinstance(raw, str) else _refused(f"one of {', '.join(names)}", raw)
        return str(raw)

    return read


def beside(folder: Path, suffix: str, expected: str = "a text") -> Callable[[Any], str]:
    """Reads a text; what ends like a file is one beside the study file."""

    def read(raw: Any) -> str:
        return str((folder / raw).resolve()) if text(raw, expected).endswith(suffix) else str(raw)

    return read


def rule(folder: Path) -> Callable[[Any], str]:
    """Reads a guidance rule, or a JSON file of one, as its own text."""
    written = beside(folder, ".json", "a rule such as rescale:phi=0.7")

    def read(raw: Any) -> str:
        from orthoscope.guidance.rules import format_rule, parse_rule  # loads torch

        return format_rule(parse_rule(written(raw)))

    return read


def schedule(folder: Path) -> Callable[[Any], str]:
    """Reads a guidance schedule, or a JSON file of one, as its own text: equal ones read the same."""
    written = beside(folder, ".json", "a schedule such as linear:w0=-0.25,slope=0.3")
    return lambda raw: format_schedule(parse_schedule(written(raw)))
