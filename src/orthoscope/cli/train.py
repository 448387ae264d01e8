"""`orthoscope train`: score networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orthoscope.cli import options
from orthoscope.cli.output import emit, resumable
from orthoscope.report.bars import bar
from orthoscope.report.tables import flat

train = typer.Typer(help="Train score networks.", no_args_is_help=True, rich_markup_mode=None)


@train.callback()
def _group() -> None:
    """Train score networks."""


@train.command("digits")
def digits(
    out: options.Out = Path("runs/digits"),
    steps: Annotated[
        int | None, typer.Option(help="Updates of the weights; the default made the shipped file.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    device: Annotated[str, typer.Option(help="Torch device.")] = "cpu",
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Train the digits model that ships with the package, and examine it.

    Writes weights, checkpoint, log, loss figure and sample sheet into the folder --out.

    Example: orthoscope train digits --out runs/digits
    """
    from orthoscope.datasets import write
    from orthoscope.experiments.train import FILES, JOB, RESULTS, WEIGHTS, DigitsTraining, summarize
    from orthoscope.learned import Training
    from orthoscope.locking import locked
    from orthoscope.plots.training import loss_figure, sheet_figure
    from orthoscope.report.page import save_figure

    plan = Training(seed=seed) if steps is None else Training(seed=seed, steps=steps)
    study = DigitsTraining(training=plan)
    with locked(out, JOB, FILES):
        with resumable(out, "with --resume"), bar("training", quiet=quiet) as advance:
            trainer, pipeline = study.train(out, resume=resume, device=device, progress=advance)
        with bar("examining", quiet=quiet) as advance:
            result = study.examine(trainer, pipeline, advance)
        write(result, out / RESULTS)
        save_figure(loss_figure(result), out / "loss.svg")
        save_figure(sheet_figure(result), out / "sheet.svg")
    weights = out / WEIGHTS
    shown = summarize(result) | {"weights": str(weights), "bytes": weights.stat().st_size, "folder": str(out)}
    emit(shown if json else flat(shown), as_json=json, title="digits")
