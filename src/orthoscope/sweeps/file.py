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
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from orthoscope import reading
from orthoscope.errors import ConfigError, unknown
from orthoscope.sweeps import cell
from orthoscope.sweeps.axis import axis_values, each
from orthoscope.sweeps.check import check_cells
from orthoscope.sweeps.kinds import Key, Number, Read, defaults, one_of, shown, text, truth
from orthoscope.sweeps.mistakes import Mistakes, StudyFileError
from orthoscope.sweeps.plan import Plan
from orthoscope.sweeps.positions import positions
from orthoscope.sweeps.settings import settings, theory_settings

_STUDY = {
    "name": Key(read=text),
    "seed": Key(read=Number(kind=int, least=0), default=0),
    "source": Key(read=one_of("simulation", "theory"), default="simulation"),
    "streams": Key(read=one_of(*cell.STREAMS), default="independent"),
    "out": Key(read=text),
}
_DRAWS = Number(kind=int, least=4)  # with fewer, the spread between draws is known too badly to stop on it
_BOUNDS = {"min_draws": Key(read=_DRAWS, default=8), "max_draws": Key(read=_DRAWS)}
_MAX_DRAWS = 256
_ERROR = Key(read=Number(above=0))
_TABLES = ("study", "axes", "fixed", "measure", "precision")


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
    source = reading.read_toml(path, "a study file, TOML")
    try:
        data = reading.parse_toml(source, str(path))
    except tomllib.TOMLDecodeError as error:
        raise StudyFileError((_syntax_error(path.name, source, str(error)),)) from error
    mistakes = Mistakes(path.name, positions(source))
    study = _Reader(data, mistakes, path).study()
    mistakes.raise_any()
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

    def study(self) -> StudyFile:
        """Everything read and checked; of a file with mistakes, what could be read."""
        for table, found in self.data.items():
            if table not in _TABLES:
                self.mistakes.add((table,), unknown("table", table, _TABLES))
            elif not isinstance(found, Mapping):
                self.mistakes.add((table,), f"expected a table [{table}], got {shown(found)}")
        about = self._read("study", _STUDY, "key of [study]")
        theory = about["source"] == "theory"
        known = (theory_settings if theory else settings)(self.path.parent)
        axes = self._settings("axes", known, partial(axis_values, self.mistakes))
        fixed = self._settings("fixed", known, self._single)
        complete = self._combined(axes.keys() | fixed.keys(), known, theory)
        measure = self._measure(cell.PREDICTED if theory else cell.MEASURED)
        quantities = measure["quantities"]
        precision = self._precision(quantities, theory)
        filled = {name: value for name, value in (defaults(known) | fixed).items() if name not in axes}
        if precision["precision"]:
            complete = self._draws_may_grow(axes | fixed) and complete
            filled.pop("draws", None)
        name = about.pop("name", self.path.stem)
        out = Path(about.pop("out", f"runs/{name}"))
        plan = Plan(
            name=name,
            axes=axes,
            quantities=cell.columns(
                quantities,
                source=about["source"],
                theory=bool(measure["theory"]),
                precision=precision["precision"],
            ),
            estimated=() if theory else quantities,
            fixed=about | precision | filled,
        )
        if complete:
            check_cells(plan, self.mistakes)
        return StudyFile(plan=plan, out=out)

    def _table(self, name: str) -> Mapping[str, Any]:
        found = self.data.get(name)
        return found if isinstance(found, Mapping) else {}

    def _read(self, table: str, keys: Mapping[str, Key], what: str) -> dict[str, Any]:
        """The usable values of a table, defaults among them."""
        values = defaults(keys)
        for name, raw in self._table(table).items():
            if name not in keys:
                self.mistakes.add((table, name), unknown(what, name, keys))
                continue
            with self.mistakes.at((table, name), f"{name}: "):
                values[name] = keys[name].read(raw)
        return values

    def _settings(self, table: str, known: Mapping[str, Key], read: Callable[[str, Read, Any], Any]) -> dict[str, Any]:
        """The settings that [axes] or [fixed] give."""

        def meaningless(raw: Any) -> None:
            raise ConfigError(f"it means nothing to theory, which knows {', '.join(known)}")

        keys = {
            name: Key(read=partial(read, name, key.read) if name in known else meaningless)
            for name, key in settings(self.path.parent).items()
        }
        return self._read(table, keys, "axis" if table == "axes" else "setting")

    def _single(self, name: str, read: Read, raw: Any) -> Any:
        """One value of [fixed]."""
        if name in self._table("axes"):
            raise ConfigError("it is an axis already: leave it out here")
        if isinstance(raw, list | dict):
            raise ConfigError("several values make an axis: move it to [axes]")
        return read(raw)

    def _complain(self, name: str, message: str) -> None:
        self.mistakes.add(("axes" if name in self._table("axes") else "fixed", name), message)

    def _combined(self, usable: Set[str], known: Mapping[str, Key], theory: bool) -> bool:
        """Whether the settings make complete cells; what is missing or given twice over is a mistake."""
        named = self._table("axes").keys() | self._table("fixed").keys()
        groups = [("std",), ("strength", "schedule"), ("rate", "classes")]
        if not theory or "classes" in named:
            groups.append(("dim",))
        for group in groups:
            found = [name for name in group if name in named]
            if not found:
                self.mistakes.add(("fixed",), f"missing: {' or '.join(group)}, in [axes] or in [fixed]")
            for name in found[1:]:
                self._complain(name, f"give either {found[0]} or {name}, not both")
        return usable == named & known.keys() and all(len(usable & {*group}) == 1 for group in groups)

    def _draws_may_grow(self, given: Mapping[str, Any]) -> bool:
        """Whether a precision can take as many draws as it needs; what stands in its way is a mistake."""
        modes = given.get("modes", "")
        on_file = any(place.endswith(".npy") for place in (modes if isinstance(modes, tuple) else (modes,)))
        if on_file:
            self._complain("modes", "modes on file are one draw, and [precision] takes several: leave it out, and set "
                           "draws = 1")  # fmt: skip
        elif "draws" in given:
            self._complain("draws", "[precision] decides how many draws there are: leave out draws, or set max_draws")
        return not on_file

    def _measure(self, names: tuple[str, ...]) -> dict[str, Any]:
        """What is stored."""

        def quantities(raw: Any) -> tuple[str, ...]:
            if not isinstance(raw, list) or not raw:
                raise ConfigError(f"expected a list of names, got {shown(raw)}")
            return each(self.mistakes, ("measure", "quantities"), one_of(*names, what="quantity"), raw)

        default = ("mean_shift", "variance_shift")
        keys = {"quantities": Key(read=quantities, default=default), "theory": Key(read=truth, default=1)}
        return self._read("measure", keys, "key of [measure]")

    def _precision(self, quantities: tuple[str, ...], theory: bool) -> dict[str, Any]:
        """Standard errors wanted, and the bounds on draws."""
        names = self._table("precision")
        if names and theory:
            self.mistakes.add(("precision",), "theory has no standard errors: leave out [precision]")
            return {"precision": {}}
        asked = self._table("measure").get("quantities", list(quantities))
        measured = quantities if asked == list(quantities) else cell.MEASURED  # a mistyped one may be meant
        found = self._read("precision", dict.fromkeys(measured, _ERROR) | _BOUNDS, "quantity with a precision")
        if names.keys() <= _BOUNDS.keys():
            for name in names:
                self.mistakes.add(("precision", name), f"{name} needs a standard error to reach beside it")
        least = found.pop("min_draws")
        most = found.pop("max_draws", max(_MAX_DRAWS, least))
        if most < least:
            self.mistakes.add(
                ("precision", "max_draws"), f"max_draws: expected at least min_draws = {least}, got {most}"
            )
        return {"precision": found, "min_draws": least, "max_draws": most} if found else {"precision": {}}
