"""Progress for people: a bar in terminals and notebooks, a plain line every half minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from orthoscope import locking
from orthoscope.errors import ConfigError, clean
from orthoscope.progress import Progress, Tracker

_LONGEST = 30 * 86400.0  # seconds between two steps for which the time left can still be told
_EVERY = 30.0  # seconds between two lines


@contextmanager
def shown(label: str, progress: Tracker | bool | None = None) -> Iterator[Progress | None]:
    """What work is to tell how far it is.

    Args:
        label: What is done.
        progress: A function that is told instead, and what is done, too; True for a bar or lines, False for neither,
            None for a bar where people look on.

    Raises:
        ConfigError: if it is something else.
    """
    if not (callable(progress) or progress in (None, True, False)):
        raise ConfigError("`progress` is True, False or a function of done, total and what is done", field="progress")
    if callable(progress):
        yield partial(_tell, progress, label)
    elif progress is False or (progress is None and not _is_watched()):
        yield None
    else:
        with bar(label) as advance:
            yield advance


def _tell(tracker: Tracker, label: str, done: int, total: int) -> None:
    tracker(done, total, label)


@contextmanager
def bar(label: str, *, quiet: bool = False) -> Iterator[Progress]:
    """A bar on standard error with the time left, or a line every 30 s where there is no terminal.

    The yielded function takes steps done and steps in all.
    """
    if quiet:
        yield lambda done, total: locking.check()
        return
    console = Console(stderr=True)
    if not (console.is_terminal or console.is_jupyter):
        yield _Lines(clean(label), console)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with ProgressBar(*columns, console=console, transient=True, speed_estimate_period=_LONGEST) as drawn:
        task = drawn.add_task(clean(label), total=None)

        def advance(done: int, total: int) -> None:
            locking.check()  # work that could not be stored is not worth going on with
            drawn.update(task, completed=done, total=total)

        yield advance


class _Lines:
    """Tells on lines of their own."""

    def __init__(self, label: str, console: Console) -> None:
        self._label, self._console = label, console
        self._begin = self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        locking.check()
        now = time.monotonic()
        if now - self._last < _EVERY:
            return
        self._last = now
        spent = now - self._begin
        left = f", about {spent * (total - done) / done:.0f} s left" if 0 < done <= total else ""
        self._console.print(f"{self._label}: {done} of {total} after {spent:.0f} s{left}", markup=False, soft_wrap=True)


def _is_watched() -> bool:
    """Whether somebody sees a bar: a terminal, or a notebook."""
    shell: Any = sys.modules.get("IPython")
    return sys.stderr.isatty() or (shell is not None and shell.get_ipython() is not None)
