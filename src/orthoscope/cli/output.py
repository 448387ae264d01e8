"""What a command shows: JSON on standard output, or a small table; remarks on standard error.

What draws tables is loaded where a table is drawn: JSON needs none of it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orthoscope.errors import clean, named
from orthoscope.progress import LOG
from orthoscope.serialize import dumps

if TYPE_CHECKING:
    from rich.console import Console

    from orthoscope.report.tables import Table

_NARROWEST = 40  # columns, whatever a terminal says it has


class Lines(logging.Handler):
    """Lines for people, on standard error; arguments of the library, in backticks, are shown as options."""

    def emit(self, record: logging.LogRecord) -> None:
        line = named(record.getMessage(), lambda argument: f"--{argument.replace('_', '-')}")
        print(clean(line), file=sys.stderr, flush=True)


@contextmanager
def logged() -> Iterator[None]:
    """Show what is logged meanwhile, and put everything back as it was; `hush` leaves errors."""
    lines, level, propagate, disabled = Lines(), LOG.level, LOG.propagate, logging.root.manager.disable
    LOG.addHandler(lines)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    figures, told = logging.getLogger("matplotlib"), logging.getLogger("matplotlib").level
    figures.setLevel(logging.ERROR)  # where it keeps its fonts is nothing to people
    try:
        yield
    finally:
        LOG.removeHandler(lines)
        LOG.setLevel(level)
        LOG.propagate = propagate
        figures.setLevel(told)
        logging.disable(disabled)


def hush(quiet: bool) -> bool:
    """Let no logger of any library tell less than errors, if that is wanted."""
    if quiet:
        logging.disable(logging.WARNING)
    return quiet


def emit(result: Mapping[str, Any], *, as_json: bool, title: str) -> None:
    """Print a result as one JSON object, or as a table of its plain entries."""
    if as_json:
        sys.stdout.write(dumps(result) + "\n")
    else:
        from orthoscope.report.tables import plain_tables

        print_tables(plain_tables(result), title)


def console(width: int | None = None, **how: Any) -> Console:
    """Where tables are drawn: as wide as the terminal unless told otherwise, but not so narrow that words are lost."""
    from rich.console import Console

    made = Console(width=width, highlight=False, emoji=False, **how)
    if made.width < _NARROWEST:
        made.width = _NARROWEST
    return made


def print_tables(tables: Iterable[Table], title: str = "", *, width: int | None = None) -> None:
    """Print tables, as wide as the terminal unless told otherwise: where columns would be cut, lines wrap instead."""
    out = console(width, soft_wrap=True, markup=False)
    for k, table in enumerate(tables):
        for part in table.render("" if k else title):
            out.print(part)


@contextmanager
def resumable(out: Path, how: str = "") -> Iterator[None]:
    """Tell on Ctrl-C how the same command goes on from a folder."""
    try:
        yield
    except KeyboardInterrupt:
        LOG.warning(f"the same command {how}{' ' * bool(how)}goes on from {out}")
        raise
