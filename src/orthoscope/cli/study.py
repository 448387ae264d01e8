"""`orthoscope study`: one of the project's studies into a run folder."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from orthoscope.cli import options
from orthoscope.cli.output import emit, flat, progress, remark

_SHOWN = 60  # numbers that people read


class StudyName(StrEnum):
    """Studies by name."""

    approach = "approach"
    captured = "captured"
    correlations = "correlations"
    design_grid = "design-grid"
    manifold = "manifold"
    stages = "stages"
    tilted = "tilted"


def study(
    name: Annotated[StudyName, typer.Argument(help="Which study.")],
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/NAME if left out.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A reduced version, for a first look.")] = False,
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Run a study and write its results, figure and specification; what it found is printed.

    approach: how fast finite dimension approaches mean field. captured: paths lost to another mode. correlations:
    between coordinates of guided samples. design-grid: designed schedules against windows. manifold: classes on a
    curved manifold. stages: classes of many modes. tilted: conditional, tilted and guided law side by side.

    Example: orthoscope study approach --quick
    """
    from orthoscope.report.studies import run_study

    folder = out or Path("runs") / name.value
    with progress(name.value, quiet=quiet) as advance:
        found = run_study(name.value, out=folder, quick=quick, seed=seed, progress=advance)
    if json:
        emit(found, as_json=True, title=name.value)
        return
    shown = flat(found)
    first = dict(list(shown.items())[:_SHOWN]) | {"folder": found["folder"]}
    emit(first, as_json=False, title=name.value)
    if len(shown) > len(first):
        remark(f"{len(shown) - len(first)} more numbers with --json")
