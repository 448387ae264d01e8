"""`orthoscope sweep`: a study file into one store, on one machine or a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orthoscope.cli import options
from orthoscope.cli.output import emit, resumable
from orthoscope.errors import ConfigError
from orthoscope.progress import LOG
from orthoscope.report.bars import bar

if TYPE_CHECKING:
    from orthoscope.sweeps.file import StudyFile
    from orthoscope.sweeps.run import SweepResult

_SHOWN = 40  # cells that people read


def sweep(
    file: Annotated[Path, typer.Argument(help="Study file, TOML.")],
    out: Annotated[Path | None, typer.Option(help="Run folder; what the file says, else runs/NAME.")] = None,
    workers: options.Workers = 1,
    scheduler: options.Scheduler = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the cells, their time and memory; compute nothing.")
    ] = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> int:
    """Compute every cell of a study file; a second run goes on where the first stopped.

    Exit status 1 if a cell failed: the others are stored, and the next run tries it again.

    Example: orthoscope sweep study.toml --workers 2
    """
    from orthoscope.sweeps.file import read_study
    from orthoscope.sweeps.mistakes import StudyFileError

    if workers < 1:
        raise ConfigError(f"--workers must be at least 1, got {workers}")
    try:
        study = read_study(file)
    except StudyFileError as error:
        for line in error.mistakes:
            LOG.error(line)
        return 2
    if dry_run:
        _forecast(study, workers, as_json=json)
        return 0
    from orthoscope.sweeps.budget import check_memory
    from orthoscope.sweeps.run import run_sweep

    if scheduler is None:
        check_memory(study.plan, workers)
    folder = out or study.out
    with resumable(folder), bar(study.plan.name, quiet=quiet) as advance:
        result = run_sweep(study.plan, folder, workers=workers, scheduler=scheduler, progress=advance)
    return _told(result, as_json=json)


def _told(result: SweepResult, *, as_json: bool) -> int:
    """What a run did, and its exit status."""
    failed = [{"cell": dict(one.cell.coords), "reason": one.reason} for one in result.failed]
    shown: dict[str, Any] = {
        "cells": result.cells,
        "computed": result.computed,
        "reused": result.reused,
        "failed": failed if as_json else len(failed),
        "damaged": [dict(cell.coords) for cell in result.damaged] if as_json else len(result.damaged),
        "set_aside": result.set_aside and str(result.set_aside),
        "seconds": result.seconds,
        "store": str(result.store),
    }
    emit(shown, as_json=as_json, title="sweep")
    for one in result.failed[:_SHOWN]:
        LOG.error(f"failed: {one.cell}: {one.reason}")
    if len(failed) > _SHOWN:
        LOG.error(f"{len(failed) - _SHOWN} more failed cells with --json")
    return 1 if failed else 0


def _forecast(study: StudyFile, workers: int, *, as_json: bool) -> None:
    """The cells with their time and memory, and those of the whole."""
    from orthoscope.sweeps.budget import forecast

    found = forecast(study.plan, workers)
    if as_json:
        emit(found, as_json=True, title="forecast")
        return
    cells = found.pop("cells")
    lines = {cell["name"]: f"{_span(cell)}, {cell['bytes'] / 2**20:.0f} MiB" for cell in cells[:_SHOWN]}
    emit(lines, as_json=False, title=f"{len(cells)} cells of {study.plan.name}")
    if len(cells) > _SHOWN:
        LOG.info(f"{len(cells) - _SHOWN} more cells with --json")
    emit(
        {"cells": len(cells), "workers": workers, "time": _span(found), "memory": f"{found['bytes'] / 2**20:.0f} MiB"},
        as_json=False,
        title="",
    )


def _span(cost: dict[str, Any]) -> str:
    least, most = _duration(cost["seconds"]), _duration(cost["most_seconds"])
    return least if least == most else f"{least} to {most}"


def _duration(seconds: float) -> str:
    """A time that people read."""
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.2g} s"
