"""`orthoscope demo`: the main job, into a run folder with a report."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from orthoscope.cli import options
from orthoscope.cli.output import emit, resumable
from orthoscope.progress import LOG
from orthoscope.report.bars import bar


class SectionName(StrEnum):
    """Sections of the demonstration."""

    paths = "paths"
    rates = "rates"
    dims = "dims"
    windows = "windows"
    digits = "digits"
    glyphs = "glyphs"


def demo(
    out: options.Out = Path("runs/demo"),
    section: Annotated[list[SectionName] | None, typer.Option(help="Only this section; may be repeated.")] = None,
    seed: options.Seed = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep sections of the same settings, and go on after an interruption.")
    ] = False,
    workers: options.Workers = 1,
    scheduler: options.Scheduler = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Watch guidance distort exactly known distributions, theory predict it, windows repair it, or not, and networks.

    Writes report.html, figures (SVG and PNG), results.nc and spec.json.

    Example: orthoscope demo --out runs/demo
    """
    from orthoscope.locking import locked
    from orthoscope.report.demo import Demo
    from orthoscope.report.studies import FILES
    from orthoscope.sweeps.execute import Executor
    from orthoscope.sweeps.points import PRELOADED, Points

    executor = Executor(workers=workers, scheduler=scheduler, preload=PRELOADED)
    with locked(out, "demo", FILES), executor, resumable(out, "with --resume"):
        job = Demo(out=out, names=tuple(name.value for name in section or SectionName), seed=seed, resume=resume)
        for study in job.studies():
            with bar(study.name, quiet=quiet) as advance:
                seconds = job.run(study, Points(executor=executor, progress=advance))
            LOG.info(f"{study.name}: " + ("kept from an earlier run" if seconds is None else f"{seconds:.0f} s"))
        result = job.finish()
    emit(result, as_json=json, title="demonstration")
