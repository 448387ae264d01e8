"""`orthoscope simulate`: exact guided sampling beside its theory."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from orthoscope.cli import options
from orthoscope.cli.help import MACHINE
from orthoscope.cli.output import emit, print_tables
from orthoscope.errors import ConfigError
from orthoscope.report.bars import bar


class EstimatorKind(StrEnum):
    """How final estimates are made."""

    plain = "plain"
    completed = "completed"
    controlled = "controlled"


def _modes(modes: str, planted: bool, tolerance: float) -> str:
    """Where modes are kept, `--planted` being short for a place that keeps none."""
    if planted and modes not in ("memory", "planted"):
        raise ConfigError(f"the planted ensemble keeps no modes; use it without `modes` {modes}", field="modes")
    if tolerance and (planted or modes == "planted"):
        raise ConfigError("the planted ensemble reads no modes that a `tolerance` could leave out; use one of the two")
    return "planted" if planted else modes


def simulate(
    dim: Annotated[int, typer.Option(help="Dimension.", rich_help_panel="Law")],
    std: options.Std,
    rate: options.Rate = None,
    classes: options.Classes = None,
    strength: options.Strength = None,
    schedule: options.Schedule = None,
    rule: options.Rule = None,
    ode: options.Ode = False,
    t_max: Annotated[float, typer.Option(help="Variance time at which runs start.", rich_help_panel="Sampler")] = 50.0,
    start: options.Start = options.StartKind.prior,
    ensemble: options.Ensemble = options.EnsembleKind.gaussian,
    planted: Annotated[bool, typer.Option("--planted", help="Average the other classes: any dim, any rate.")] = False,
    modes: Annotated[
        str,
        typer.Option(
            help="Where modes are kept: memory, regenerated (anew at every step), planted (nowhere) or FILE.npy."
        ),
    ] = "memory",
    samples: Annotated[int, typer.Option(help="Trajectories per draw of the modes.", rich_help_panel="Sampler")] = 512,
    draws: Annotated[int, typer.Option(help="Draws of the modes.", rich_help_panel="Sampler")] = 4,
    steps: Annotated[int, typer.Option(help="Steps of the sampler.", rich_help_panel="Sampler")] = 30,
    grid: Annotated[
        options.GridKind, typer.Option(help="How the steps are placed.", rich_help_panel="Sampler")
    ] = options.GridKind.refined,
    order: Annotated[int, typer.Option(help="Order of the sampler, 1 or 2.", rich_help_panel="Sampler")] = 2,
    estimator: Annotated[
        EstimatorKind,
        typer.Option(
            help="controlled: far smaller errors, by planted control variates; completed: decided trajectories carried "
            "to their end analytically, with a --tolerance."
        ),
    ] = EstimatorKind.plain,
    tolerance: Annotated[
        float, typer.Option(help="Error that may be spent on reading fewer modes; 0: read all.")
    ] = 0.0,
    versus: Annotated[
        list[str] | None, typer.Option(help="Another schedule, compared on the same noise; may be repeated.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.", rich_help_panel=MACHINE)] = "float32",
    device: Annotated[str, typer.Option(help="Torch device.", rich_help_panel=MACHINE)] = "cpu",
    seed: options.Seed = 0,
    out: options.Folder = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Sample one class of a random mixture under guidance with exact scores, and compare with theory.

    Example: orthoscope simulate --dim 32 --rate 0.2 --std 0.5 --strength 1
    """
    from orthoscope.experiments.single import SimulationStudy
    from orthoscope.guidance.grammar import parse_schedule
    from orthoscope.results import run
    from orthoscope.simulation.predictions import make_schedule
    from orthoscope.simulation.setting import Simulation
    from orthoscope.sweeps.points import Points

    simulation = Simulation.of(
        dim=dim, std=std, rate=rate, classes=classes, ensemble=ensemble.value,
        schedule=make_schedule(strength, schedule), rule=rule, t_max=t_max, start=start.value, lam=0.0 if ode else 1.0,
        modes=_modes(modes, planted, tolerance), samples=samples, draws=draws, seed=seed,
        steps=steps, grid=grid.value, order=order, tolerance=tolerance, dtype=dtype, device=device,
    )  # fmt: skip
    study = SimulationStudy(
        simulation=simulation, estimator=estimator.value, versus=tuple(parse_schedule(one) for one in versus or [])
    )
    with bar("sampling", quiet=quiet) as advance:
        result = run(study, Points(progress=advance))
    try:
        if out is not None:
            result.save(out)
    finally:  # numbers are there even if a disk is full
        if json:
            emit(result.numbers, as_json=True, title="simulation")
        else:
            print_tables(result.tables())
