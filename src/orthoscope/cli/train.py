"""`orthoscope train`: score networks, and controllers of guidance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from orthoscope.cli import options
from orthoscope.cli.output import emit, print_tables, resumable
from orthoscope.report.bars import bar
from orthoscope.report.tables import flat

train = typer.Typer(help="Train score networks and controllers.", rich_markup_mode=None)


@train.callback()
def _group() -> None:
    """Train score networks and controllers."""


def _of(model: str, out: Path, what: str) -> Callable[..., None]:
    """The command that trains a model that ships."""

    def command(
        out: options.Out = out,
        steps: Annotated[
            int | None, typer.Option(help="Updates of the weights; the default made the shipped file.")
        ] = None,
        resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
        device: Annotated[str, typer.Option(help="Torch device.")] = "cpu",
        seed: options.Seed = 0,
        quiet: options.Quiet = False,
        json: options.Json = False,
    ) -> None:
        from orthoscope.datasets import write
        from orthoscope.experiments.train import FILES, RESULTS, TRAININGS, ModelTraining, job, summarize
        from orthoscope.locking import locked
        from orthoscope.plots.training import loss_figure, sheet_figure
        from orthoscope.report.page import save_figure

        plan = TRAININGS[model]
        study = ModelTraining(model=model, training=plan.but(seed=seed, steps=plan.steps if steps is None else steps))
        weights = out / study.weights
        with locked(out, job(model), (study.weights, *FILES)):
            with resumable(out, "with --resume"), bar("training", quiet=quiet) as advance:
                trainer, pipeline = study.train(out, resume=resume, device=device, progress=advance)
            with bar("examining", quiet=quiet) as advance:
                result = study.examine(trainer, pipeline, advance)
            write(result, out / RESULTS)
            save_figure(loss_figure(result), out / "loss.svg")
            save_figure(sheet_figure(result), out / "sheet.svg")
        shown = summarize(result) | {"weights": str(weights), "bytes": weights.stat().st_size, "folder": str(out)}
        emit(shown if json else flat(shown), as_json=json, title=model)

    command.__doc__ = f"""Train {what}, as it ships with the package, and examine it.

    Writes weights, checkpoint, log, loss figure and sample sheet into the folder --out.

    Example: orthoscope train {model} --out {out}
    """
    return command


for _model, _what in {
    "digits": "the digits model",
    "glyphs": "the model of 1,000 characters",
    "glyphs-10": "its like of 10 characters",
    "glyphs-100": "its like of 100 characters",
    "glyphs-weak": "its like that was trained for less",
}.items():
    train.command(_model)(_of(_model, Path("runs") / _model, _what))


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


@train.command("controller")
def controller(
    parts: Annotated[int, typer.Option(min=1, help="Updates of the policy.")] = 60,
    episodes: Annotated[int, typer.Option(min=1, help="Runs of each.")] = 64,
    samples: Annotated[int, typer.Option(min=2, help="Samples of a run.")] = 64,
    steps: Annotated[int, typer.Option(min=1, help="Steps of a run.")] = 16,
    most: Annotated[float, typer.Option(help="Largest strength.")] = 5.0,
    least: Annotated[float, typer.Option(help="Smallest strength.")] = -1.0,
    width: Annotated[int, typer.Option(min=1, help="Units of the policy.")] = 16,
    out: options.Out = Path("runs/controller"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Train a policy that guides batches of random mixtures, by PPO; needs the extra `control`.

    Writes the policy, a few kB that any --rule takes, its curve and a checkpoint into the folder --out.

    Example: orthoscope train controller --out runs/controller
    """
    from orthoscope.control.folder import FILES, train_into
    from orthoscope.locking import locked

    fields = {"parts": parts, "episodes": episodes, "samples": samples, "steps": steps, "most": most, "least": least,
              "width": width, "seed": seed}  # fmt: skip
    with locked(out, "controller", FILES), resumable(out, "with --resume"), bar("training", quiet=quiet) as advance:
        shown = train_into(out, fields, resume=resume, progress=advance)
    emit(shown if json else flat(shown), as_json=json, title="controller")
