"""`orthoscope forecast`: what any schedule would do to a pipeline's images, from three recorded runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orthoscope.cli import options
from orthoscope.cli.output import emit, print_tables
from orthoscope.report.bars import bar


def forecast(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Option(help="Pipeline: digits, glyphs, folder or hub id. Left out: the digits.")
    ] = None,
    prompts: Annotated[Path | None, typer.Option(help="Text file, one prompt per line.")] = None,
    schedules: Annotated[
        list[str] | None, typer.Option(help="A schedule to forecast; repeat it for more. Left out: thirty usual ones.")
    ] = None,
    strength: Annotated[
        float | None, typer.Option(help="The strength in use, or scale:S; it is recorded.", **options.AS_STRENGTH)
    ] = None,
    images_per_prompt: Annotated[int, typer.Option(help="Images of every prompt that are recorded.")] = 10,
    rule: options.Rule = None,
    steps: Annotated[int, typer.Option(help="Steps of the scheduler.")] = 30,
    pipeline_scheduler: options.PipelineScheduler = None,
    device: Annotated[str, typer.Option(help="Torch device: auto, cpu, cuda, ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="Number type: auto, float32, float16, bfloat16.")] = "auto",
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Load weights that are no safetensors; they can run any code.")
    ] = False,
    out: options.Out = Path("runs/forecast"),
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Forecast mean shift and variance ratio of any schedule, from runs at strength 0, yours, and the turn between.

    What was recorded stays in the folder: other schedules, and `orthoscope design --from`, need no further run.

    Example: orthoscope forecast --model PATH_OR_HUB_ID --prompts FILE --strength 6.5
    """
    settings = options.given(locals())
    from orthoscope.face.asked import forecast_asked
    from orthoscope.face.reports import ForecastReport
    from orthoscope.forecasts import forecast
    from orthoscope.locking import locked

    plan, source = forecast_asked(model, prompts, settings)
    with locked(out, "forecast", ForecastReport.files):
        with bar("forecast", quiet=quiet) as advance:
            report = ForecastReport(forecast(plan, source, out=out, progress=advance))
        report.write(out, command=context.obj)
    if json:
        emit(
            {**report.numbers, "report": str(out / "report.html"), "results": str(out / "results.nc")},
            as_json=True, title=report.title,
        )  # fmt: skip
        return
    print_tables(report.tables(), width=ForecastReport.width)
    emit({"report": str(out / "report.html")}, as_json=False, title="")
