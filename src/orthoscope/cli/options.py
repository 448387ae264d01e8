"""Options that several commands share, so that one name means one thing everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from orthoscope.cli.help import MACHINE, OUTPUT
from orthoscope.cli.output import hush
from orthoscope.guidance.texts import strength


class StartKind(StrEnum):
    """Where a run starts."""

    prior = "prior"
    exact = "exact"


class EnsembleKind(StrEnum):
    """How centroids are drawn."""

    gaussian = "gaussian"
    sphere = "sphere"


class GridKind(StrEnum):
    """How the steps are placed."""

    refined = "refined"
    geometric = "geometric"
    equalized = "equalized"


Rate = Annotated[
    float | None,
    typer.Option(help="Class rate log(classes)/dim; give this, or --classes with --dim.", rich_help_panel="Law"),
]
Classes = Annotated[int | None, typer.Option(help="Number of classes; needs --dim.", rich_help_panel="Law")]
Dim = Annotated[
    int | None, typer.Option(help="Dimension: turns on the finite-dimension theory.", rich_help_panel="Law")
]
Std = Annotated[float, typer.Option(help="Within-class standard deviation.", rich_help_panel="Law")]
AS_STRENGTH: dict[str, Any] = {"parser": strength, "metavar": "<float>"}  # for options that take scale:S, too
Strength = Annotated[
    float | None,
    typer.Option(
        help="Constant guidance strength: 0 = conditional, -1 = unconditional; or scale:S.",
        **AS_STRENGTH,
        rich_help_panel="Guidance",
    ),
]
Schedule = Annotated[
    str | None,
    typer.Option(
        help="Guidance schedule instead of --strength, e.g. step:early=3,late=-1,switch=1, MODULE:NAME or a JSON file.",
        rich_help_panel="Guidance",
    ),
]
Rule = Annotated[
    str | None,
    typer.Option(
        help="How predictions are combined instead of linear guidance, e.g. rescale:phi=0.7, a name, MODULE:NAME or a "
        "JSON file.",
        rich_help_panel="Guidance",
    ),
]
Ode = Annotated[
    bool, typer.Option("--ode", help="Probability-flow ODE instead of the reverse SDE.", rich_help_panel="Sampler")
]
TMax = Annotated[float | None, typer.Option(help="Variance time at which runs start.", rich_help_panel="Sampler")]
Start = Annotated[
    StartKind, typer.Option(help="Start from the prior, or from the exact noised class.", rich_help_panel="Sampler")
]
Ensemble = Annotated[
    EnsembleKind, typer.Option(help="Centroids N(0, I), or on the sphere of radius sqrt(dim).", rich_help_panel="Law")
]
Seed = Annotated[int, typer.Option(help="Root seed; equal seeds give equal numbers.")]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output, nothing else.", rich_help_panel=OUTPUT)
]
Out = Annotated[Path, typer.Option(help="Where to write.", rich_help_panel=OUTPUT)]
Folder = Annotated[
    Path | None,
    typer.Option(
        help="Run folder: numbers, specification, figure and page; nothing if left out.", rich_help_panel=OUTPUT
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", callback=hush, help="Nothing but errors on standard error.", rich_help_panel=OUTPUT),
]
Workers = Annotated[
    int, typer.Option(help="Processes to work with; numbers do not depend on it.", rich_help_panel=MACHINE)
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        help="Address of a running Dask cluster, such as tcp://host:8786, instead of --workers.",
        rich_help_panel=MACHINE,
    ),
]
PipelineScheduler = Annotated[str | None, typer.Option(help="Scheduler of diffusers in place of the pipeline's own.")]

_OF_COMMANDS = ("context", "model", "prompts", "out", "quiet", "json")


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The settings among the parameters of a command: those that were given, choices as their texts."""
    return {
        name: value.value if isinstance(value, Enum) else value
        for name, value in options.items()
        if value is not None and value != [] and name not in _OF_COMMANDS
    }
