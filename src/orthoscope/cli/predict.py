"""`orthoscope predict`: theory for one setting."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from orthoscope import theory
from orthoscope.cli import options
from orthoscope.cli.output import emit
from orthoscope.settings import Setting
from orthoscope.simulation.predictions import make_schedule, prediction_result


def predict(
    std: options.Std,
    rate: options.Rate = None,
    strength: options.Strength = None,
    schedule: options.Schedule = None,
    ode: options.Ode = False,
    t_max: options.TMax = None,
    start: options.Start = options.StartKind.prior,
    dim: options.Dim = None,
    classes: options.Classes = None,
    ensemble: options.Ensemble = options.EnsembleKind.gaussian,
    steps: Annotated[int | None, typer.Option(help="Number of steps, for schedules with clock=step.")] = None,
    json: options.Json = False,
) -> None:
    """Theory for one setting: regime, speciation, distortions.

    Example: orthoscope predict --rate 0.2 --std 0.5 --strength 1
    """
    setting = Setting.of(
        rate=rate,
        classes=classes,
        std=std,
        ensemble=ensemble.value,
        schedule=make_schedule(strength, schedule),
        dim=dim,
        t_max=math.inf if t_max is None else t_max,
        start=start.value,
        lam=0.0 if ode else 1.0,
    )
    result = prediction_result(theory.predict(setting.timed(steps)))
    emit(result, as_json=json, title="prediction")
