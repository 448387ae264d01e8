"""`orthoscope gaussian`: a pair of Gaussians, in closed form or by matrix moment equations."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from orthoscope.cli import options
from orthoscope.cli.output import emit
from orthoscope.report.tables import show
from orthoscope.simulation.predictions import make_schedule

_SHOWN = 6  # entries of a list that people see


def gaussian(
    cond_mean: Annotated[float | None, typer.Option(help="Mean of the conditional law.")] = None,
    cond_var: Annotated[float | None, typer.Option(help="Variance of the conditional law.")] = None,
    uncond_mean: Annotated[float | None, typer.Option(help="Mean of the unconditional law.")] = None,
    uncond_var: Annotated[float | None, typer.Option(help="Variance of the unconditional law.")] = None,
    laws: Annotated[
        Path | None,
        typer.Option(help="JSON file of two laws with any covariances, instead of the four numbers; see the docs."),
    ] = None,
    strength: options.Strength = None,
    schedule: options.Schedule = None,
    ode: options.Ode = False,
    t_max: options.TMax = None,
    start: options.Start = options.StartKind.prior,
    json: options.Json = False,
) -> None:
    """Guided mean and variance of a pair of Gaussians, beside the tilted law that guidance does not sample.

    Example: orthoscope gaussian --cond-mean 1 --cond-var 0.5 --uncond-mean 0.2 --uncond-var 2 --strength 2
    """
    from orthoscope.experiments.gaussians import GaussianStudy

    study = GaussianStudy(
        schedule=make_schedule(strength, schedule), cond_mean=cond_mean, cond_var=cond_var, uncond_mean=uncond_mean,
        uncond_var=uncond_var, laws=None if laws is None else str(laws), lam=0.0 if ode else 1.0,
        t_max=math.inf if t_max is None else t_max, start=start.value,
    )  # fmt: skip
    result = study.numbers()
    emit(result if json else {name: _readable(value) for name, value in result.items()}, as_json=json,
         title="joint Gaussian")  # fmt: skip


def _readable(value: Any) -> Any:
    """A list as a line of its first entries; anything else as it is."""
    if not isinstance(value, list):
        return value
    return ", ".join(str(show(entry)) for entry in value[:_SHOWN]) + (", ..." if len(value) > _SHOWN else "")
