"""What a command shows: JSON on standard output, or a small table; progress and remarks on standard error."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from orthoscope import locking
from orthoscope.errors import ConfigError, named, unwritable
from orthoscope.report.bars import bar
from orthoscope.report.tables import Table, plain_tables
from orthoscope.serialize import dumps
from orthoscope.writing import is_foreign, is_stream

progress = bar  # what a command shows while it works


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
            if not is_stream(file):  # where nothing can be made in spite of the rights
                made, descriptor = locking.aside(file)
                os.close(descriptor)
                made.unlink()
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
    else:
        print_tables(plain_tables(result), title)


def print_tables(tables: Iterable[Table], title: str = "", *, width: int | None = None) -> None:
    """Print tables, as wide as the terminal unless told otherwise: where columns would be cut, lines wrap instead."""
    console = Console(width=width, soft_wrap=True, highlight=False, markup=False, emoji=False)
    for k, table in enumerate(tables):
        for part in table.render("" if k else title):
            console.print(part)


@contextmanager
def resumable(out: Path, how: str = "") -> Iterator[None]:
    """Tell on Ctrl-C how the same command goes on from a folder."""
    try:
        yield
    except KeyboardInterrupt:
        remark(f"the same command {how}{' ' * bool(how)}goes on from {out}")
        raise
