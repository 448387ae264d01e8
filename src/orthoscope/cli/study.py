"""`orthoscope study`: one of the project's studies into a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from orthoscope.cli import options
from orthoscope.cli.output import console, emit, print_tables, resumable
from orthoscope.experiments.registry import STUDIES, find
from orthoscope.report.bars import bar


def study(
    name: Annotated[
        str | None, typer.Argument(help="Which study; left out, they are listed.", show_default=False)
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="The studies: the question of each, and its minutes.")] = False,
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/NAME if left out.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A reduced version, for a first look.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep results of the same settings, and go on after an interruption.")
    ] = False,
    workers: options.Workers = 1,
    scheduler: options.Scheduler = None,
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Run a study and write its results, figures, page and specification; what it found is printed.

    Numbers do not depend on --workers. Points that are finished stay in the run folder, and --resume goes on from them.

    Example: orthoscope study approach --quick
    """
    if listed or name is None:
        _list(as_json=json)
        return
    find(name)
    from orthoscope.results import run_study
    from orthoscope.sweeps.execute import Executor
    from orthoscope.sweeps.points import PRELOADED, Points

    folder = out or Path("runs") / name
    executor = Executor(workers=workers, scheduler=scheduler, preload=PRELOADED)
    with executor, resumable(folder, "with --resume"), bar(name, quiet=quiet) as advance:
        points = Points(executor=executor, progress=advance)
        result = run_study(name, out=folder, quick=quick, seed=seed, resume=resume, points=points)
    if json:
        emit({**result.numbers, "folder": str(folder)}, as_json=True, title=name)
        return
    print_tables(result.tables())
    emit({"folder": str(folder), "report": str(folder / "report.html")}, as_json=False, title="")


def _list(*, as_json: bool) -> None:
    rows = {
        name: {"question": one.question, "minutes": one.minutes, "quick_minutes": one.quick_minutes}
        for name, one in STUDIES.items()
    }
    if as_json:
        emit(rows, as_json=True, title="studies")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head, justify in (("study", "left"), ("question", "left"), ("minutes", "right"), ("--quick", "right")):
        table.add_column(head, justify=justify, no_wrap=head != "question")  # type: ignore[arg-type]
    for name, one in STUDIES.items():
        table.add_row(name, one.question, *(f"{m:g}" if m else "" for m in (one.minutes, one.quick_minutes)))
    console().print(table)
