"""`orthoscope train`: score networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orthoscope.cli import options
from orthoscope.cli.output import emit, print_tables, resumable
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


@train.command("mixture")
def mixture(
    classes: Annotated[int, typer.Option(help="Number of classes, one mode each.")] = 128,
    dim: Annotated[int, typer.Option(help="Dimension.")] = 16,
    std: Annotated[float, typer.Option(help="Within-class standard deviation.")] = 0.5,
    width: Annotated[int, typer.Option(help="Units per layer.")] = 64,
    depth: Annotated[int, typer.Option(help="Blocks of two layers.")] = 2,
    points: Annotated[
        int | None, typer.Option(help="Points of each class to train on; without it new ones at every update.")
    ] = None,
    dropout: Annotated[
        float,
        typer.Option(
            min=0, max=0.99, help="Share of labels that are forgotten: the unconditional branch learns there."
        ),
    ] = 0.15,
    steps: Annotated[int, typer.Option(help="Updates of the weights.")] = 4000,
    learning_rate: Annotated[float, typer.Option(help="Largest learning rate.")] = 5e-3,
    out: options.Out = Path("runs/mixture"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Train a network on a random mixture, of which the score is known, and examine it.

    What its branches know, what guidance makes of its samples and of exact ones on the same noise, by which branch, and
    what was foretold. Weights stay in the folder --out, in networks.

    Example: orthoscope train mixture --classes 32 --dropout 0.5 --out runs/mixture
    """
    from orthoscope.experiments.networks.learner import TRAINING, Learner
    from orthoscope.experiments.networks.study import WEIGHTS, LearnedStudy
    from orthoscope.locking import locked
    from orthoscope.report.studies import FILES
    from orthoscope.results import job, run_into
    from orthoscope.sweeps.points import Points

    learner = Learner(
        classes=classes, dim=dim, std=std, width=width, depth=depth, points=points,
        training=TRAINING.but(null_share=dropout, steps=steps, learning_rate=learning_rate, seed=seed),
    )  # fmt: skip
    weights = out / WEIGHTS / f"{learner.key}.safetensors"
    study = LearnedStudy(base=learner, factors=(), seeds=1, seed=seed)
    with locked(out, job(study), FILES), resumable(out, "with --resume"):
        if not resume:
            weights.unlink(missing_ok=True)
        with bar("training", quiet=quiet) as advance:
            learner.trained(weights, progress=advance)
        with bar("examining", quiet=quiet) as advance:
            result = run_into(study, out, resume=resume, points=Points(progress=advance))
    shown = {"weights": str(weights), "folder": str(out), "report": str(out / "report.html")}
    if json:
        emit({**result.numbers, **shown}, as_json=True, title="mixture")
        return
    print_tables(result.tables())
    emit(shown, as_json=False, title="")
