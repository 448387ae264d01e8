"""A sweep from plan to store: what is finished stays, what failed is told and tried again next time."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from orthoscope import __version__
from orthoscope.errors import NO_ROOM, OrthoscopeError, StoppedError, in_one_line, unwritable
from orthoscope.locking import LostFolderError, locked
from orthoscope.progress import Progress
from orthoscope.quantities import Estimate
from orthoscope.reading import check_file
from orthoscope.serialize import dumps
from orthoscope.sweeps.compute import run_cell
from orthoscope.sweeps.execute import ClusterLostError, execute
from orthoscope.sweeps.layout import FILES, open_sweep
from orthoscope.sweeps.plan import Cell, Plan

Results = Mapping[str, Estimate | float]


class SweepStoppedError(StoppedError):
    """A sweep that cannot go on now; every finished cell is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedCell:
    """A cell without results.

    Attributes:
        cell: Which one.
        reason: What it raised, or which number is not finite.
    """

    cell: Cell
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """What a run did.

    Attributes:
        store: The Zarr store.
        cells: Cells of the plan.
        computed: Cells computed by this run.
        reused: Cells that were there.
        failed: Cells without results; the next run tries them again.
        damaged: Cells whose stored files were damaged, and which were computed again.
        set_aside: The store before, if it has finished cells that the plan no longer asks for.
        seconds: Duration.
    """

    store: Path
    cells: int
    computed: int
    reused: int
    failed: tuple[FailedCell, ...]
    damaged: tuple[Cell, ...]
    set_aside: Path | None
    seconds: float


def run_sweep(
    plan: Plan,
    out: Path,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress | None = None,
    work: Callable[[Plan, Cell], Results] = run_cell,
) -> SweepResult:
    """Compute every cell of a plan that the folder does not have yet.

    Args:
        plan: What to compute.
        out: Folder of the store, a log and a lock.
        workers: 1 for this process, more for as many processes.
        scheduler: Address of a Dask scheduler to use instead.
        progress: Called with the number of cells dealt with, those found in the store included, and of all cells.
        work: Results of one cell, a function of fixed settings and coordinates alone.

    Raises:
        ConfigError: if the folder is in use, holds results of other settings, or cannot be written or read.
        SweepStoppedError: if the disk is full, the cluster is lost, or the folder or cells in it are; the next run goes
            on from there.
    """
    started = time.monotonic()
    failed: list[FailedCell] = []
    with locked(out, "sweep", FILES) as held, _log(out / "log.jsonl") as note:
        try:
            opened = open_sweep(out, plan)
        except OSError as error:
            raise unwritable(out, error) from error
        for path in opened.store.layout:
            held.watch(path)
        todo, total = opened.missing, plan.size
        stored = reused = total - len(todo)
        note(
            "start", orthoscope=__version__, cells=total, reused=reused, damaged=[str(cell) for cell in opened.damaged]
        )
        with closing(execute(partial(work, plan), todo, workers=workers, scheduler=scheduler)) as outcomes:
            if progress is not None:
                progress(stored, total)
            try:
                for done, (k, outcome) in enumerate(outcomes, 1):
                    cell = todo[k]
                    if reason := _problem(plan, outcome):
                        failed.append(FailedCell(cell=cell, reason=reason))
                        note("failed", cell=str(cell), reason=reason)
                    else:
                        held.check()
                        opened.store.write(cell, outcome)  # type: ignore[arg-type] # an exception is a problem
                        stored += 1
                        note("stored", cell=str(cell))
                    if progress is not None:
                        progress(reused + done, total)
                held.check()
            except LostFolderError as error:
                raise SweepStoppedError(f"{error} ({stored} of {total} cells were stored)") from error
            except (OSError, ClusterLostError) as error:
                raise SweepStoppedError(_stopped(error, out, stored, total)) from error
        if todo and (lost := opened.store.lost(total - len(failed))):
            raise SweepStoppedError(
                f"{lost} of {total} cells were stored in {out}, but are damaged or gone: something else changed them "
                "during the run; start again to compute them"
            )
        note("end", computed=stored - reused, failed=len(failed))
    return SweepResult(
        store=opened.store.path,
        cells=total,
        computed=stored - reused,
        reused=reused,
        failed=tuple(failed),
        damaged=tuple(opened.damaged),
        set_aside=opened.set_aside,
        seconds=time.monotonic() - started,
    )


def _problem(plan: Plan, outcome: Results | Exception) -> str:
    """Why an outcome cannot be stored; empty if it can."""
    if isinstance(outcome, Exception):
        return str(outcome) if isinstance(outcome, OrthoscopeError) else in_one_line(outcome)
    if missing := [name for name in plan.quantities if name not in outcome]:
        return f"no result for {', '.join(missing)}"
    for name in plan.quantities:
        result = outcome[name]
        if isinstance(result, Estimate) and not (math.isfinite(result.value) and math.isfinite(result.stderr)):
            return f"{name} is {result.value} with standard error {result.stderr}"
    return ""


def _stopped(error: Exception, out: Path, stored: int, total: int) -> str:
    reason = str(error) if isinstance(error, ClusterLostError) else f"cannot write: {error}"
    cure = "make room, then " if getattr(error, "errno", None) in NO_ROOM else ""
    return f"{reason}; {stored} of {total} cells are stored in {out}: {cure}start again to go on"


@contextmanager
def _log(path: Path) -> Iterator[Callable[..., None]]:
    """What happened when, one JSON object a line: for people, never read back, left out where the disk is full."""
    try:
        if os.path.lexists(path):
            check_file(path, "the log of a sweep")
        file = path.open("a+b", buffering=0)
    except OSError as error:
        raise unwritable(path, error) from error

    def write(line: bytes) -> None:
        with suppress(OSError):
            file.write(line)

    def note(event: str, **about: Any) -> None:
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        write(dumps({"time": stamp, "event": event, **about}, indent=None).encode() + b"\n")

    with file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        if file.read(1) not in (b"", b"\n"):  # a line that a full disk cut short
            write(b"\n")
        try:
            yield note
        except BaseException as error:
            note("stopped", reason=f"{type(error).__name__}: {error}")
            raise
