"""`orthoscope predict`: theory for one setting."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from orthoscope.cli import options
from orthoscope.cli.output import emit
from orthoscope.experiments.single import PredictionStudy
from orthoscope.settings import Setting
from orthoscope.simulation.predictions import make_schedule


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
    out: options.Folder = None,
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
    study = PredictionStudy(setting=setting, steps=steps)
    try:
        if out is not None:
            from orthoscope.results import run

            run(study).save(out)
    finally:  # numbers are there even if a disk is full
        emit(study.numbers(), as_json=json, title="prediction")
