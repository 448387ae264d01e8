"""`orthoscope rerun`: a run folder made again from its specification."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orthoscope.cli import options
from orthoscope.cli.output import emit, print_tables
from orthoscope.report.bars import bar


def rerun(
    folder: Annotated[Path, typer.Argument(help="A run folder, or its spec.json.")],
    out: Annotated[Path | None, typer.Option(help="Run folder to write; the same one if left out.")] = None,
    workers: options.Workers = 1,
    scheduler: options.Scheduler = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Run a study again from the specification in its folder; equal settings give equal numbers.

    Example: orthoscope rerun runs/paths
    """
    from orthoscope import results
    from orthoscope.sweeps.execute import Executor
    from orthoscope.sweeps.points import PRELOADED, Points

    executor = Executor(workers=workers, scheduler=scheduler, preload=PRELOADED)
    with executor, bar("running", quiet=quiet) as advance:
        result = results.rerun(folder, out=out, points=Points(executor=executor, progress=advance))
    if json:
        emit(result.numbers, as_json=True, title=result.study.name)
    else:
        print_tables(result.tables())
