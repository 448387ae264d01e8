"""`orthoscope calibrate`: when a pipeline's classes are told, and where a window can act."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from orthoscope.cli import options
from orthoscope.cli.output import emit, progress, remark


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
        typer.Option(help="A constant strength you use; repeat it for more, and windows keep the last."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="An .npz file with x and labels, in the scheduler's units: makes a twin.")
    ] = None,
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
    """Find the noise levels at which a pipeline tells its classes apart, and propose windows for `orthoscope audit`.

    Writes report.html, the figure, results.nc and spec.json.

    Example: orthoscope calibrate --model PATH_OR_HUB_ID --prompts FILE --strengths 6.5
    """
    from orthoscope.calibration import Calibration, audit_command, summarize
    from orthoscope.calibration import calibrate as run
    from orthoscope.integrations.prompts import read_prompts
    from orthoscope.locking import locked
    from orthoscope.report.calibrate import FILES, write_calibration

    given: dict[str, Any] = {"strengths": tuple(strengths)} if strengths else {}
    calibration = Calibration(
        model=model, prompts=() if prompts is None else read_prompts(prompts), images_per_prompt=images_per_prompt,
        steps=steps, scheduler=pipeline_scheduler, data=None if data is None else str(data), seed=seed, **given,
    )  # fmt: skip
    same = {
        "model": model,
        "prompts": prompts,
        "pipeline_scheduler": pipeline_scheduler,
        "steps": steps if steps != 30 else None,
    }
    with locked(out, "calibrate", FILES):
        with progress("calibrate", quiet=quiet) as advance:
            result = run(
                calibration, device=device, dtype=dtype, allow_pickle=allow_pickle, progress=advance,
                remark=(lambda text: None) if quiet else remark,
            )  # fmt: skip
        found = summarize(result)
        command = audit_command(same, calibration.strengths[-1], found["proposals"])
        found["audit_command"] = command
        report = write_calibration(result, found, out, command=context.obj)
    found |= {"report": str(report), "results": str(out / "results.nc")}
    emit(found if json else _shown(found), as_json=json, title=f"calibration of {found['model']}")
    if not json:
        remark(f"\nto be tested by:\n{command}")


def _shown(found: Mapping[str, Any]) -> dict[str, Any]:
    """What people read, pipeline before twin."""
    from orthoscope.report.calibrate import between

    table: dict[str, Any] = {}
    for source in ("pipeline", "twin"):
        one = found.get(source)
        if one is None:
            continue
        table |= {f"{source}: {name}": one[name] for name in ("rate", "critical_rate")}
        table |= {
            f"{source}: side": one["side"],
            f"{source}: windows act at variance times, strength {one['strength']:g}": between(one["range"]),
            f"{source}: half told at strength 0": one["half_told"],
            f"{source}: predicted by mean field": one["predicted"]["half_time"],
        }
        table |= {f"{source}: excess of the pair, nats": one["paths"]["excess"]} if "paths" in one else {}
        table |= {
            f"{source}: variance ratio, {at}": f"{ratio['value']:.3g} [{ratio['low']:.3g}, {ratio['high']:.3g}]"
            for at, ratio in one["variance_ratio"].items()
        }
    return table | {"report": found["report"]}
