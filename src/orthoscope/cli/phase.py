"""`orthoscope phase`: a phase diagram to NetCDF and a figure."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orthoscope.cli import options
from orthoscope.cli.output import emit
from orthoscope.cli.places import writable
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant
from orthoscope.report.bars import bar
from orthoscope.settings import Setting

if TYPE_CHECKING:
    from orthoscope.experiments.planes import RateStrengthDiagram, WindowDiagram

phase = typer.Typer(help="Phase diagrams of guidance, to NetCDF and a figure.", rich_markup_mode=None)

NEUTRAL: dict[str, Any] = {"rate": 1.0, "schedule": Constant(value=0.0)}  # where axes say what they are
Axis = Annotated[str, typer.Option(help="Grid LO:HI:N, or one number.")]


@phase.command("rate-strength")
def rate_strength(
    rate: Axis,
    strength: Axis,
    std: options.Std,
    t_max: options.TMax = None,
    start: options.Start = options.StartKind.prior,
    ode: options.Ode = False,
    out: options.Out = Path("rate-strength.nc"),
    workers: options.Workers = 1,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Regions and shifts over class rate and constant strength.

    Example: orthoscope phase rate-strength --rate 0.05:1.4:256 --strength 0:5:256 --std 0.5 --out rate-strength.nc
    """
    from orthoscope.experiments.planes import RateStrengthDiagram, axis

    begin = math.inf if t_max is None else t_max
    setting = Setting.of(std=std, t_max=begin, start=start.value, lam=0.0 if ode else 1.0, **NEUTRAL)
    study = RateStrengthDiagram(setting=setting, rate=tuple(axis(rate)), strength=tuple(axis(strength)))
    _write(study, out, workers=workers, quiet=quiet, as_json=json)


@phase.command("window")
def window(
    rate: Annotated[float, typer.Option(help="Class rate log(classes)/dim.")],
    std: options.Std,
    t_max: Annotated[float, typer.Option(help="Variance time at which runs start; shifts depend on it.")],
    w0: Axis,
    slope: Axis,
    start: options.Start = options.StartKind.prior,
    ode: options.Ode = False,
    out: options.Out = Path("window.nc"),
    workers: options.Workers = 1,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Regions and shifts over linear windows, strength = w0 + slope * t.

    Example: orthoscope phase window --rate 0.9 --std 0.5 --t-max 10 --w0=-1:0:256 --slope 0:1:256 --out window.nc
    """
    from orthoscope.experiments.planes import WindowDiagram, axis

    setting = Setting.of(std=std, t_max=t_max, start=start.value, lam=0.0 if ode else 1.0, **(NEUTRAL | {"rate": rate}))
    study = WindowDiagram(setting=setting, w0=tuple(axis(w0)), slope=tuple(axis(slope)))
    _write(study, out, workers=workers, quiet=quiet, as_json=json)


def _write(study: RateStrengthDiagram | WindowDiagram, out: Path, *, workers: int, quiet: bool, as_json: bool) -> None:
    from orthoscope.datasets import write
    from orthoscope.report.page import save_figure
    from orthoscope.results import run
    from orthoscope.sweeps.execute import Executor
    from orthoscope.sweeps.points import Points

    if out.suffix != ".nc":
        raise ConfigError(f"--out names the NetCDF file and must end in .nc, got {out}; figures are written beside it")
    writable(out, figures=True)
    with Executor(workers=workers) as executor, bar(study.name, quiet=quiet) as advance:
        result = run(study, Points(executor=executor, progress=advance))
    shown: dict[str, Any] = {**result.numbers, "file": str(out)}
    try:
        write(result.data, out)
        if min(result.data.sizes.values()) > 1:
            save_figure(result.plot(), out)
            shown["figure"] = str(out.with_suffix(".svg"))
    finally:  # numbers are there even if a disk is full
        emit(shown, as_json=as_json, title=f"phase diagram: {study.name}")
