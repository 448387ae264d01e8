"""`orthoscope calibrate`: when a pipeline's classes are told, and where a window can act."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orthoscope.cli import options
from orthoscope.cli.output import emit
from orthoscope.progress import LOG
from orthoscope.report.bars import bar


def calibrate(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Option(help="Pipeline: folder or hub id. Left out: the digits model that ships.")
    ] = None,
    prompts: Annotated[Path | None, typer.Option(help="Text file, one prompt per line.")] = None,
    images_per_prompt: Annotated[int, typer.Option(help="Images of every prompt at every strength.")] = 4,
    steps: Annotated[int, typer.Option(help="Steps of the scheduler.")] = 30,
    pipeline_scheduler: options.PipelineScheduler = None,
    strengths: Annotated[
        list[float] | None,
        typer.Option(
            help="A constant strength you use, or scale:S; repeat it for more, and windows keep the last.",
            **options.AS_STRENGTH,
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help=".npz file of x and labels, in the scheduler's units: a twin; of texts a bound.")
    ] = None,
    paths: Annotated[int, typer.Option(help="Paths followed where classes are many, a class drawn for each.")] = 24,
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="The prompts, equally likely, are all that is ever asked for.")
    ] = False,
    device: Annotated[str, typer.Option(help="Torch device: auto, cpu, cuda, ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="Number type: auto, float32, float16, bfloat16.")] = "auto",
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Load weights that are no safetensors; they can run any code.")
    ] = False,
    out: options.Out = Path("runs/calibrate"),
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Find when a pipeline tells its classes apart and what its unconditional branch knows; propose windows to audit.

    Writes report.html, the figure, results.nc and spec.json.

    Example: orthoscope calibrate --model PATH_OR_HUB_ID --prompts FILE --strengths 6.5
    """
    settings = options.given(locals())
    from orthoscope.calibration import audit_command, calibrate
    from orthoscope.face.asked import calibration_asked
    from orthoscope.face.reports import CalibrationReport
    from orthoscope.locking import locked
    from orthoscope.report.calibrate import notes_of, shown

    plan, source = calibration_asked(model, prompts, settings)
    same = {
        "model": model,
        "prompts": prompts,
        "pipeline_scheduler": pipeline_scheduler,
        "steps": steps if steps != 30 else None,
    }
    with locked(out, "calibrate", CalibrationReport.files):
        with bar("calibrate", quiet=quiet) as advance:
            result = calibrate(plan, source, progress=advance)
        report = CalibrationReport(result, lambda *windows: audit_command(same, *windows))
        found = {**report.numbers, "report": str(out / "report.html"), "results": str(out / "results.nc")}
        try:
            report.write(out, command=context.obj)
        finally:  # numbers are there even if a disk is full
            emit(found if json else shown(found) | {"report": found["report"]}, as_json=json, title=report.title)
    if not json:
        for line in notes_of(found):
            LOG.info(line)
        LOG.info("")
        LOG.info("to be tested by:")
        LOG.info(found["audit_command"])
