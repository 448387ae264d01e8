"""What a command shows: JSON on standard output, or a small table; progress and remarks on standard error."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table

from orthoscope import locking
from orthoscope.errors import ConfigError, named, unwritable
from orthoscope.progress import Progress
from orthoscope.serialize import dumps
from orthoscope.writing import is_foreign, is_stream

_DIMENSION = {"finite_dim": "this d", "mean_field": "d = ∞"}
_LONGEST = 30 * 86400.0  # seconds between two steps for which the time left can still be told


def writable(path: Path, *, figures: bool = False) -> None:
    """Refuse a file that cannot be written, before anything is computed for it.

    Args:
        path: The file.
        figures: Whether figures are written beside it, whose names nobody gave: others' files must not be there.

    Raises:
        ConfigError: if a file cannot be made or written, or a figure is not the package's own.
    """
    beside = {path.with_suffix(end) for end in (".svg", ".png")} - {path} if figures else set()
    for file in (path, *sorted(beside)):
        try:
            needed = [file]
            if not is_stream(file):
                home = Path(os.path.realpath(file)).parent
                home.mkdir(parents=True, exist_ok=True)
                if file.is_dir():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                needed = [home, file] if file.exists() else [home]  # it is written beside its place, and renamed
            if not all(os.access(place, os.W_OK) for place in needed):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            if file in beside and is_foreign(file):
                raise ConfigError(f"{file} is there already and no figure of orthoscope; choose another --out")
        except OSError as error:
            raise unwritable(file, error) from error


def remark(text: str) -> None:
    """A line for people, on standard error; arguments of the library, in backticks, are shown as options."""
    text = named(text, lambda argument: f"--{argument.replace('_', '-')}")
    Console(stderr=True, soft_wrap=True, highlight=False, emoji=False).print(text, markup=False)


def emit(result: Mapping[str, Any], *, as_json: bool, title: str) -> None:
    """Print a result as one JSON object, or as a table of its plain entries."""
    if as_json:
        sys.stdout.write(dumps(result) + "\n")
        return
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    for name, value in result.items():
        shown = show(value)
        if shown is not None:
            table.add_row(name.replace("_", " "), shown)
    Console(soft_wrap=True, highlight=False, markup=False, emoji=False).print(table)


def flat(result: Mapping[str, Any], within: str = "") -> dict[str, Any]:
    """Entries within entries as one table for people: `approach: mean shift: exponent`."""
    found: dict[str, Any] = {}
    for name, value in result.items():
        key = f"{within}: {name}" if within else name
        match value:
            case {"value": float(), "stderr": float()}:
                rest = {n: show(v) for n, v in value.items() if n in ("theory", "z", "verdict") and v is not None}
                found[key] = ", ".join([str(show(value)), *(f"{n} {text}" for n, text in rest.items())])
            case Mapping():
                found |= flat(value, key)
            case [*entries] if any(isinstance(entry, Mapping) for entry in entries):
                for k, entry in enumerate(entries, 1):
                    found |= flat(entry, f"{key} {k}") if isinstance(entry, Mapping) else {f"{key} {k}": entry}
            case [*entries]:
                found[key] = ", ".join(str(show(entry)) for entry in entries)
            case _:
                found[key] = value
    return found


def beside_theory(result: Mapping[str, Any]) -> None:
    """Print measured numbers with what each theory says about them, and the diagnosis."""
    theories = {name: found for name, found in reversed(result["theory"].items()) if found is not None}
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("", "measured", *(f"theory, {_DIMENSION[name]}" for name in theories)):
        table.add_column(head, no_wrap=True)
    for name, value in result.items():
        if isinstance(value, Mapping) and "stderr" in value:
            predicted = (show(found[name]) if found.get(name) is not None else "" for found in theories.values())
            table.add_row(name.replace("_", " "), show(value), *predicted)
    console = Console(soft_wrap=True, highlight=False)
    console.print(table)
    for other in result["versus"]:
        gaps = (f"{name.replace('_', ' ')} {show(gap)}" for name, gap in other["difference"].items())
        console.print(f"\nversus {_named(other['schedule'])}: {', '.join(gaps)}", markup=False)
    cost = f"{result['model_calls']} model calls, {result['seconds']:.1f} s"
    console.print(f"\ndiagnosis: {result['diagnosis']}\n{cost}", markup=False)


def _named(schedule: Mapping[str, Any]) -> str:
    """A schedule's dictionary on one line."""
    values = (f"{name}={value}" for name, value in schedule.items() if name not in ("type", "version", "clock"))
    return f"{schedule['type']}({', '.join(values)})"


def show(value: Any) -> str | None:
    """A plain entry as text; None for what belongs into JSON only."""
    match value:
        case None:
            return "none"
        case bool() | int() | str():
            return str(value)
        case float():
            return f"{value:.6g}"
        case {"value": float() as number, "stderr": float() as error}:
            return f"{number:.4g} ± {error:.2g}"
        case Mapping() | list():
            return None  # for JSON only
    raise TypeError(f"nothing shows {type(value).__name__}")


@contextmanager
def resumable(out: Path, how: str = "") -> Iterator[None]:
    """Tell on Ctrl-C how the same command goes on from a folder."""
    try:
        yield
    except KeyboardInterrupt:
        remark(f"the same command {how}{' ' * bool(how)}goes on from {out}")
        raise


@contextmanager
def progress(label: str, *, quiet: bool = False) -> Iterator[Progress]:
    """A bar on standard error with the time left; the yielded function takes steps done and steps in all."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    hidden = quiet or not console.is_terminal
    with ProgressBar(*columns, console=console, disable=hidden, transient=True, speed_estimate_period=_LONGEST) as bar:
        task = bar.add_task(label, total=None)

        def advance(done: int, total: int) -> None:
            locking.check()  # work that could not be stored is not worth going on with
            bar.update(task, completed=done, total=total)

        yield advance
