"""A study file, TOML, to a plan: every mistake at once, with its line and the nearest valid name.

[study]      name, seed, source = "simulation" or "theory", streams = "independent" or "common", out
[axes]       settings with several values: lists, or { from = 0.1, to = 1.2, n = 12, log = false }
[fixed]      settings with one value
[measure]    quantities, theory = true or false
[precision]  quantity = standard error wanted; min_draws, max_draws
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orthoscope.errors import ConfigError, unknown
from orthoscope.sweeps import cell
from orthoscope.sweeps.axis import axis_values
from orthoscope.sweeps.check import check_cells
from orthoscope.sweeps.mistakes import Mistakes, StudyFileError
from orthoscope.sweeps.plan import Plan, Value
from orthoscope.sweeps.positions import positions
from orthoscope.sweeps.settings import (
    SOURCES,
    Read,
    defaults,
    known,
    number,
    one_of,
    settings,
    shown,
    text,
    truth,
    whole,
)

_TABLES = ("study", "axes", "fixed", "measure", "precision")
_STUDY = ("name", "seed", "source", "streams", "out")
_FEWEST_DRAWS = 4  # below, the spread between draws is known too badly to stop on it
_MIN_DRAWS, _MAX_DRAWS = 8, 256
_DEFAULT_QUANTITIES = ("mean_shift", "variance_shift")
_EITHER = (("strength", "schedule"), ("rate", "classes"))


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFile:
    """What a study file asks for.

    Attributes:
        plan: What determines the results.
        out: Run folder.
    """

    plan: Plan
    out: Path


def read_study(path: Path) -> StudyFile:
    """The study that a file describes, every cell of it checked.

    Raises:
        StudyFileError: with every mistake of the file.
        ConfigError: if the file cannot be read.
    """
    try:
        source = path.read_text(encoding="utf-8").replace("\r\n", "\n")
    except FileNotFoundError as error:
        raise ConfigError(f"no such study file: {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    try:
        data = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise StudyFileError((_syntax_error(path.name, source, str(error)),)) from error
    mistakes = Mistakes(path.name, positions(source))
    study = _Reader(data, mistakes, path).study()
    mistakes.raise_any()
    assert study is not None
    return study


def _syntax_error(file: str, source: str, message: str) -> str:
    """The parser's message, its line moved to the front."""
    found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message)
    line = (found and found[1]) or source.rstrip("\n").count("\n") + 1
    text = message[: found.start()] if found else message
    again = "a key or table is given twice" if text.startswith(("Cannot overwrite", "Cannot declare")) else text
    return f"{file}:{line}: not valid TOML: {again}"


class _Reader:
    """One pass over the parsed file; whatever is wrong goes to `mistakes`, and reading goes on."""

    def __init__(self, data: Mapping[str, Any], mistakes: Mistakes, path: Path) -> None:
        self.data, self.mistakes, self.path = data, mistakes, path
        self.entries = settings(path.parent)
        self.source = "simulation"

    def study(self) -> StudyFile | None:
        """Everything read and checked; None if it is too incomplete for that."""
        self._names((), self.data, _TABLES, "table")
        self._names(("study",), self._table("study"), _STUDY, "key of [study]")
        self.source = self._value("study", "source", one_of(*SOURCES), "simulation")
        about = {
            "source": self.source,
            "seed": self._value("study", "seed", whole(0), 0),
            "streams": self._value("study", "streams", one_of(*cell.STREAMS), "independent"),
        }
        name = self._value("study", "name", text, self.path.stem)
        out = Path(self._value("study", "out", text, f"runs/{name}"))
        axes, fixed = self._axes(), self._fixed()
        given = {**axes, **fixed}
        complete = self._combination(given)
        quantities = self._quantities()
        about |= self._precision(quantities)
        if about["precision"]:
            complete = self._draws_may_grow(given) and complete
        theory = bool(self._value("measure", "theory", truth, True))
        filled = {n: v for n, v in defaults(self.entries, self.source).items() if n not in given}
        if about["precision"]:
            filled.pop("draws", None)
        plan = Plan(
            name=name,
            axes=axes,
            quantities=cell.columns(quantities, source=self.source, theory=theory, precision=about["precision"]),
            estimated=quantities if self.source == "simulation" else (),
            fixed=about | filled | fixed,
        )
        if complete:
            check_cells(plan, self.mistakes)
        return StudyFile(plan=plan, out=out)

    def _table(self, name: str) -> Mapping[str, Any]:
        found = self.data.get(name, {})
        if isinstance(found, Mapping):
            return found
        self.mistakes.add((name,), f"expected a table [{name}], got {shown(found)}")
        return {}

    def _names(self, where: tuple[str, ...], found: Iterable[str], valid: Iterable[str], what: str) -> list[str]:
        """Those names that are valid; the others are mistakes."""
        valid = tuple(valid)
        for name in found:
            if name not in valid:
                self.mistakes.add((*where, name), unknown(what, name, valid))
        return [name for name in found if name in valid]

    def _value(self, table: str, key: str, read: Read, default: Any) -> Any:
        found = self._table(table)
        if key in found:
            with self.mistakes.at((table, key), f"{key}: "):
                return read(found[key])
        return default

    def _settings(self, table: str) -> list[str]:
        """Names of the settings in a table that mean something."""
        what = "axis" if table == "axes" else "setting"
        names = self._names((table,), self._table(table), self.entries, what)
        useful = known(self.entries, self.source)
        for name in names:
            if name not in useful:
                self.mistakes.add((table, name), f"{name} means nothing to theory; known: {', '.join(useful)}")
        return [name for name in names if name in useful]

    def _axes(self) -> dict[str, tuple[Value, ...]]:
        return {
            name: axis_values(name, self._table("axes")[name], self.entries[name], self.mistakes)
            for name in self._settings("axes")
        }

    def _fixed(self) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for name in self._settings("fixed"):
            if name in self._table("axes"):
                self.mistakes.add(("fixed", name), f"{name} is an axis already: leave it out here")
                continue
            raw = self._table("fixed")[name]
            several = isinstance(raw, list | dict)
            with self.mistakes.at(("fixed", name), f"{name}: "):
                if several:
                    raise ConfigError("several values make an axis: move it to [axes]")
                values[name] = self.entries[name].read(raw)
        return values

    def _complain(self, name: str, message: str) -> None:
        table = "axes" if name in self._table("axes") else "fixed"
        self.mistakes.add((table, name), message)

    def _combination(self, given: Mapping[str, Any]) -> bool:
        """Whether the settings make complete cells; what is missing or given twice over is a mistake."""
        named = {*self._table("axes"), *self._table("fixed")}
        complete = set(given) >= set(named) & set(self.entries)
        needed = ["std", "dim"] if self.source == "simulation" or "classes" in named else ["std"]
        for name in needed:
            if name not in named:
                self.mistakes.add(("fixed",), f"missing: {name}, in [axes] or in [fixed]")
        for one, other in _EITHER:
            if one in named and other in named:
                self._complain(other, f"give either {one} or {other}, not both")
            elif one not in named and other not in named:
                self.mistakes.add(("fixed",), f"missing: {one} or {other}, in [axes] or in [fixed]")
            complete = complete and (one in given) != (other in given)
        return complete and all(name in given for name in needed) and all(given[n] != () for n in given)

    def _draws_may_grow(self, given: Mapping[str, Any]) -> bool:
        """Whether a precision can take as many draws as it needs; what stands in its way is a mistake."""
        modes = given.get("modes", "")
        on_file = [place for place in (modes if isinstance(modes, tuple) else (modes,)) if place.endswith(".npy")]
        if on_file:
            self._complain("modes", "modes on file are one draw, and [precision] takes several: leave it out, and set "
                           "draws = 1")  # fmt: skip
        elif "draws" in given:
            self._complain("draws", "[precision] decides how many draws there are: leave out draws, or set max_draws")
        return not on_file

    def _quantities(self) -> tuple[str, ...]:
        """The quantities asked for."""
        self._names(("measure",), self._table("measure"), ("quantities", "theory"), "key of [measure]")
        where, found = ("measure", "quantities"), self._table("measure").get("quantities", list(_DEFAULT_QUANTITIES))
        if not isinstance(found, list) or not found:
            self.mistakes.add(where, f"quantities: expected a list of names, got {shown(found)}")
            return ()
        valid = cell.PREDICTED if self.source == "theory" else cell.MEASURED
        kept: list[str] = []
        for k, name in enumerate(found):
            if name in kept:
                self.mistakes.add((*where, k), f"quantities: {shown(name)} is listed twice")
            elif name not in valid:
                self.mistakes.add((*where, k), unknown("quantity", str(name), valid))
            else:
                kept.append(name)
        return tuple(kept)

    def _precision(self, quantities: tuple[str, ...]) -> dict[str, Any]:
        """Standard errors wanted, and the bounds on draws."""
        found = self._table("precision")
        if found and self.source == "theory":
            self.mistakes.add(("precision",), "theory has no standard errors: leave out [precision]")
            return {"precision": {}}
        asked = self._table("measure").get("quantities", list(quantities))
        measured = quantities if asked == list(quantities) else cell.MEASURED  # a mistyped one may be meant
        names = self._names(("precision",), found, (*measured, "min_draws", "max_draws"), "quantity with a precision")
        wanted: dict[str, float] = {}
        bounds = [name for name in names if name not in measured]
        for name in (name for name in names if name in measured):
            with self.mistakes.at(("precision", name), f"{name}: "):
                wanted[name] = number(above=0)(found[name])
        if bounds == list(found):
            for name in bounds:
                self.mistakes.add(("precision", name), f"{name} needs a standard error to reach beside it")
        least = self._value("precision", "min_draws", whole(_FEWEST_DRAWS), _MIN_DRAWS)
        most = self._value("precision", "max_draws", whole(_FEWEST_DRAWS), max(_MAX_DRAWS, least))
        if most < least:
            self.mistakes.add(
                ("precision", "max_draws"), f"max_draws: expected at least min_draws = {least}, got {most}"
            )
        return {"precision": wanted, "min_draws": least, "max_draws": most} if wanted else {"precision": {}}
