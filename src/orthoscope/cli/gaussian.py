"""`orthoscope gaussian`: a pair of Gaussians, in closed form."""

from __future__ import annotations

from typing import Annotated

import typer

from orthoscope.cli import options
from orthoscope.cli.output import emit
from orthoscope.study.predictions import gaussian_result


def gaussian(
    cond_mean: Annotated[float, typer.Option(help="Mean of the conditional law.")],
    cond_var: Annotated[float, typer.Option(help="Variance of the conditional law.")],
    uncond_mean: Annotated[float, typer.Option(help="Mean of the unconditional law.")],
    uncond_var: Annotated[float, typer.Option(help="Variance of the unconditional law.")],
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
    result = gaussian_result(
        cond_mean=cond_mean,
        cond_var=cond_var,
        uncond_mean=uncond_mean,
        uncond_var=uncond_var,
        strength=strength,
        schedule=schedule,
        ode=ode,
        t_max=t_max,
        start=start.value,
    )
    emit(result, as_json=json, title="joint Gaussian")
