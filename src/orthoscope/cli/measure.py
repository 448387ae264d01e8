"""`orthoscope measure`: images that exist already."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from orthoscope.cli import options
from orthoscope.cli.help import MACHINE
from orthoscope.cli.output import emit, print_tables
from orthoscope.progress import LOG
from orthoscope.report.bars import bar


class FeatureKind(StrEnum):
    """What images are compared by."""

    pixel = "pixel"
    clip = "clip"
    dinov2 = "dinov2"


def measure(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder of image files, made by any tool.")],
    reference: Annotated[Path | None, typer.Option(help="Folder of real images: fidelity and distances.")] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            help="What diversity is measured within: subfolder (GROUP/image or CONDITION/GROUP/image), or a CSV file "
            "with columns file,group and perhaps condition. Left out: all images together.",
        ),
    ] = None,
    features: Annotated[FeatureKind, typer.Option(help="What images are compared by.")] = FeatureKind.pixel,
    features_model: Annotated[str | None, typer.Option(help="Network behind clip or dinov2: folder or hub id.")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="The condition that others are compared with; the first by name if left out.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="Torch device of a network: auto, cpu, cuda, ...", rich_help_panel=MACHINE)
    ] = "auto",
    out: options.Out = Path("runs/measure"),
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Diversity of images that exist already, within groups and with intervals, and how near they are to real ones.

    Writes report.html, figures, results.nc and spec.json.

    Example: orthoscope measure outputs/ --group-by subfolder --reference real/
    """
    from orthoscope.face.samples import image_study
    from orthoscope.results import run_into
    from orthoscope.sweeps.points import Points

    study = image_study(
        folder, reference, group_by, features=features.value, features_model=features_model, baseline=baseline,
        device=device, seed=seed,
    )  # fmt: skip
    with bar("reading", quiet=quiet) as advance:
        result = run_into(study, out, command=context.obj, points=Points(progress=advance))
    report = out / "report.html"
    if json:
        emit({**result.numbers, "report": str(report), "results": str(out / "results.nc")}, as_json=True, title="")
    else:
        print_tables(result.tables(), width=160)
        LOG.info(f"report: {report}")
