"""`orthoscope audit`: diversity and adherence of a pipeline under schedules."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from orthoscope.cli import options
from orthoscope.cli.help import MACHINE
from orthoscope.cli.output import console, emit, resumable
from orthoscope.cli.places import writable
from orthoscope.progress import LOG
from orthoscope.report.bars import bar

if TYPE_CHECKING:
    import xarray as xr

STOPPED = 1  # exit status where a schedule made images that are no numbers
_NOTES = 6  # of the measuring that people read here; the page has all
_WIDE, _COLUMN = 200, 13  # characters of a console, at most, and of a column's head
_ON_PAGE = ("mean_shift", "equal_strength")  # and not on the console, where rows of 120 characters are enough


class FeaturesName(StrEnum):
    """What images are measured by."""

    latent = "latent"
    pixel = "pixel"
    clip = "clip"
    dinov2 = "dinov2"


class PresetName(StrEnum):
    """Audits that others have made."""

    ventura = "ventura"


Model = Annotated[
    str | None,
    typer.Option(help="Pipeline: folder or hub id. Left out: the digits model that ships.", rich_help_panel="Images"),
]
Prompts = Annotated[Path | None, typer.Option(help="Text file, one prompt per line.", rich_help_panel="Images")]
Images = Annotated[
    int | None, typer.Option(help="Images of every prompt under every schedule.", rich_help_panel="Images")
]
Schedules = Annotated[
    list[str] | None,
    typer.Option(
        help="A guidance schedule; repeat it: --schedules constant:3 --schedules step:...", rich_help_panel="Schedules"
    ),
]
Current = Annotated[
    str | None,
    typer.Option(help="The schedule you use today; default: the strongest constant.", rich_help_panel="Schedules"),
]
Tolerance = Annotated[
    float | None,
    typer.Option(
        help="Loss of adherence that does not count; if left out 0.002 of text similarity, else 0.01.",
        rich_help_panel="Schedules",
    ),
]
RuleName = Annotated[
    str | None,
    typer.Option(help="Guidance rule, such as rescale:phi=0.7; plain if left out.", rich_help_panel="Schedules"),
]
Steps = Annotated[int | None, typer.Option(help="Steps of the scheduler; 30 if left out.", rich_help_panel="Images")]
Features = Annotated[
    FeaturesName | None,
    typer.Option(help="What images are measured by; latent if left out.", rich_help_panel="Measures"),
]
FeaturesModel = Annotated[
    str | None, typer.Option(help="Folder or hub id of the clip or dinov2 model.", rich_help_panel="Measures")
]
Classifier = Annotated[
    str | None, typer.Option(help="Folder or hub id of a classifier of the classes.", rich_help_panel="Measures")
]
Reference = Annotated[
    Path | None, typer.Option(help="Folder of real images, for fidelity.", rich_help_panel="Measures")
]
Size = Annotated[int | None, typer.Option(help="Side of the images, pixels.", rich_help_panel="Images")]
Search = Annotated[
    bool | None,
    typer.Option(
        "--search/--no-search", help="Search for windows; default: with the digits model.", rich_help_panel="Schedules"
    ),
]
Match = Annotated[
    bool | None,
    typer.Option(
        "--match/--no-match",
        help="Add constants at the windows' mean shift; default: yes.",
        rich_help_panel="Schedules",
    ),
]
Preset = Annotated[
    PresetName | None,
    typer.Option(help="Settings of a published experiment; needs --model.", rich_help_panel="Schedules"),
]
Quick = Annotated[
    bool, typer.Option("--quick", help="Five schedules, few images, no search.", rich_help_panel="Schedules")
]
Batch = Annotated[
    int | None, typer.Option(help="Images at a time; halved where memory runs out.", rich_help_panel=MACHINE)
]
Device = Annotated[str, typer.Option(help="Torch device: auto, cpu, cuda, ...", rich_help_panel=MACHINE)]
Dtype = Annotated[str, typer.Option(help="Number type: auto, float32, float16, bfloat16.", rich_help_panel=MACHINE)]
AllowPickle = Annotated[
    bool,
    typer.Option(
        "--allow-pickle",
        help="Load weights that are no safetensors; such files can run any code.",
        rich_help_panel=MACHINE,
    ),
]
Keep = Annotated[
    bool, typer.Option("--images/--no-images", help="Keep every image as a PNG file.", rich_help_panel="Images")
]
Seed = Annotated[int | None, typer.Option(help="Root seed; equal seeds give equal numbers.")]


def audit(
    context: typer.Context,
    model: Model = None,
    prompts: Prompts = None,
    images_per_prompt: Images = None,
    schedules: Schedules = None,
    current: Current = None,
    tolerance: Tolerance = None,
    rule: RuleName = None,
    steps: Steps = None,
    pipeline_scheduler: options.PipelineScheduler = None,
    features: Features = None,
    features_model: FeaturesModel = None,
    classifier: Classifier = None,
    reference: Reference = None,
    size: Size = None,
    search: Search = None,
    match: Match = None,
    preset: Preset = None,
    quick: Quick = False,
    batch: Batch = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    allow_pickle: AllowPickle = False,
    images: Keep = False,
    workers: options.Workers = 1,
    scheduler: options.Scheduler = None,
    out: options.Out = Path("runs/audit"),
    seed: Seed = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> int:
    """Measure diversity and adherence of a diffusers pipeline under guidance schedules, and say which one to use.

    Writes report.html, figures, results.nc and spec.json; the same command goes on where it was stopped. Exit status 1
    if a schedule had to be stopped.

    Example: orthoscope audit --model PATH_OR_HUB_ID --prompts FILE --schedules constant:6.5
    """
    settings = options.given(locals())
    from orthoscope.face.asked import audit_job
    from orthoscope.face.reports import AuditReport
    from orthoscope.locking import locked

    job = audit_job(model, prompts, settings)
    with locked(out, "audit", AuditReport.files):
        for name in ("results.nc", "spec.json", "report.html"):
            writable(out / name)
        with resumable(out), bar("audit", quiet=quiet) as advance:
            report = AuditReport(job.run(out, progress=advance))
        report.write_page(out, command=context.obj)
    found = {**report.numbers, "report": str(out / "report.html"), "results": str(out / "results.nc")}
    if json:
        emit(found, as_json=True, title="audit")
    else:
        _print(report.data, found)
    for spec, reason in found["stopped"].items():
        LOG.error(f"stopped: {spec}: {reason}")
    return STOPPED if found["stopped"] else 0


def _print(audit: xr.Dataset, found: dict[str, Any]) -> None:
    """The schedules with what decides, then the recommendation with its evidence, in the width there is."""
    from orthoscope.report.audit_sections import deciding
    from orthoscope.report.intervals import noted

    endless = console(_WIDE, soft_wrap=True)
    shown = console()
    if not (shown.is_terminal or "COLUMNS" in os.environ):
        shown = endless
    specs = [entry["spec"] for entry in found["schedules"]]
    names = [name for name in deciding(audit) if name not in _ON_PAGE]
    table = _table(audit, names, specs)
    if endless.measure(table).maximum > shown.width:
        table = _listed(audit, names, specs)
    shown.print(table)
    advice = found["recommendation"]
    remarks = (f"note: {text}" for text in noted(audit)[:_NOTES])
    for line in ("", advice["text"], *(f"- {line}" for line in advice["evidence"]), *remarks):
        shown.print(line, markup=False)
    shown.print(f"report: {found['report']}", markup=False, soft_wrap=True)


def _table(audit: xr.Dataset, names: Sequence[str], specs: Sequence[str]) -> Table:
    """One row for each schedule, intervals below their numbers."""
    from orthoscope.report.audit_sections import folded, head
    from orthoscope.report.intervals import cells

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("schedule", *map(head, names)):
        table.add_column(Text("\n".join(wrap(title, _COLUMN))), no_wrap=True)
    for spec in specs:
        table.add_row(*map(Text, (folded(spec), *cells(audit, names, spec))))
    return table


def _listed(audit: xr.Dataset, names: Sequence[str], specs: Sequence[str]) -> Table:
    """One line for each number, below its schedule, where the table is too wide."""
    from orthoscope.report.audit_sections import folded, head
    from orthoscope.report.intervals import cells

    table = Table(box=None, pad_edge=False, show_header=False)
    for spec in specs:
        table.add_row(Text(folded(spec), style="bold"))
        for name, cell in zip(names, cells(audit, names, spec, between=" "), strict=True):
            table.add_row(Text(f"  {head(name)}"), Text(cell))
    return table
