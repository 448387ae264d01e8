"""`orthoscope design`: the schedule that meets given constraints."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orthoscope.cli import options
from orthoscope.cli.output import emit, print_tables
from orthoscope.cli.places import writable
from orthoscope.errors import ConfigError

if TYPE_CHECKING:
    from orthoscope.designs.run import Report
    from orthoscope.results import Result

_WIDE = 160  # tables lose digits where a terminal is narrow
FAILED = 1  # sampling disagrees with the theory


class Objective(StrEnum):
    """What to make as large as possible."""

    mean_shift = "mean-shift"
    separability = "separability"


_Numbers = list[float] | None
_LeastFrechet = Annotated[
    bool, typer.Option("--least-frechet", help="Least Frechet distance at the --separability asked for.")
]
_MarginSwitch = Annotated[
    str | None, typer.Option(help="Switch times may be off by this share (default 1%; 0 for none).")
]
_MarginStrength = Annotated[
    float | None, typer.Option(help="Strengths may be off by this much (default 0.01; 0 for none).")
]


def design(
    rate: Annotated[float | None, typer.Option(help="A random mixture: class rate log(classes)/dim.")] = None,
    std: Annotated[float | None, typer.Option(help="Its within-class standard deviation.")] = None,
    dim: Annotated[int | None, typer.Option(help="Its dimension: finite-dimension theory, class posterior.")] = None,
    spectrum: Annotated[Path | None, typer.Option(help="Two Gaussians: a JSON file, see the manual.")] = None,
    forecast: Annotated[
        Path | None, typer.Option("--from", help="A pipeline: the folder of its forecast; with --variance-ratio.")
    ] = None,
    cond_var: Annotated[_Numbers, typer.Option(help="Variance of the conditional law; repeat per direction.")] = None,
    uncond_var: Annotated[_Numbers, typer.Option(help="Variance of the unconditional law; repeat.")] = None,
    gap: Annotated[_Numbers, typer.Option(help="Distance of the two means; repeat. 1 each if left out.")] = None,
    data: Annotated[
        str | None, typer.Option(help="A data set: digits, FILE.npz (x, y), FILE.csv, module:name.")
    ] = None,
    label: Annotated[int | None, typer.Option(help="Its class.")] = None,
    maximize: Annotated[Objective | None, typer.Option(help="What to make as large as possible.")] = None,
    mean_shift: Annotated[float | None, typer.Option(help="Meet this mean shift, with least effort.")] = None,
    least_frechet: _LeastFrechet = False,
    separability: Annotated[float | None, typer.Option(help="Keep at least this Fisher separability.")] = None,
    variance_ratio: Annotated[float | None, typer.Option(help="Keep at least this variance ratio.")] = None,
    class_posterior: Annotated[float | None, typer.Option(help="Keep the class with this probability.")] = None,
    low: Annotated[float, typer.Option(help="Smallest strength allowed.")] = -1.0,
    high: Annotated[float, typer.Option(help="Largest strength allowed.")] = 10.0,
    margin_strength: _MarginStrength = None,
    margin_switch: _MarginSwitch = None,
    t_max: options.TMax = None,
    start: Annotated[options.StartKind | None, typer.Option(help="Start: prior, or exact (data sets: exact).")] = None,
    ode: options.Ode = False,
    simulate: Annotated[bool, typer.Option(help="Verify by sampling.")] = True,
    samples: Annotated[int | None, typer.Option(help="Trajectories of the verification.")] = None,
    front: Annotated[bool, typer.Option("--front", help="Trace the Pareto front of the objective.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the schedule here (.json), a figure beside it.")] = None,
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> int:
    """The best guidance schedule for a law under constraints, beside simple and published ones, verified by sampling.

    Example: orthoscope design --rate 0.7 --std 0.5 --t-max 10 --maximize mean-shift --variance-ratio 1
    """
    if out is not None and out.suffix != ".json":
        raise ConfigError(f"--out names the schedule's file and must end in .json, got {out}")
    if forecast is not None:
        laws = {"rate": rate, "spectrum": spectrum, "cond_var": cond_var, "data": data}
        return _from_forecast(forecast, variance_ratio, laws, out, quiet=quiet, json=json)
    from orthoscope.designs.options import LawOptions, make_goal, make_margin, make_problem
    from orthoscope.designs.study import DesignStudy
    from orthoscope.results import Result
    from orthoscope.threads import one_thread

    goal = make_goal(
        maximize=maximize.value if maximize else None,
        least_frechet=least_frechet,
        mean_shift=mean_shift,
        separability=separability,
        variance_ratio=variance_ratio,
        class_posterior=class_posterior,
        low=low,
        high=high,
        margin=make_margin(margin_strength, margin_switch, data is not None),
    )
    asked = LawOptions(
        rate=rate, std=std, dim=dim, spectrum=spectrum, cond_var=cond_var, uncond_var=uncond_var, gap=gap, data=data,
        label=label,
    )  # fmt: skip
    law = asked.law(t_max=t_max, start=start.value if start else None, lam=0.0 if ode else 1.0)
    problem = make_problem(law, goal, simulate=simulate, samples=samples, seed=seed, front=front)
    if out is not None:
        writable(out, figures=True)
    study = DesignStudy(problem=problem)
    with one_thread():
        report = study.report()
    result = Result(study, study.label(report))
    _finish(result, report, out, as_json=json)
    return 0 if report.agrees else FAILED


def _from_forecast(
    folder: Path, floor: float | None, laws: Mapping[str, object], out: Path | None, *, quiet: bool, json: bool
) -> int:
    """What a forecast proposes; the audit of it is left to the user."""
    if given := [name for name, value in laws.items() if value]:
        raise ConfigError(f"`from` has a pipeline and `{given[0]}` is a law; give one of them", field=given[0])
    if floor is None:
        raise ConfigError(
            "`from` proposes the largest mean shift that keeps diversity; give `variance_ratio`, e.g. 0.9"
        )
    from orthoscope.forecasts.propose import propose, read_forecaster
    from orthoscope.guidance.grammar import write_schedule
    from orthoscope.report.bars import bar
    from orthoscope.report.forecast import proposed

    if out is not None:
        writable(out, figures=False)
    forecaster = read_forecaster(folder)
    with bar("design", quiet=quiet) as advance:
        proposal = propose(forecaster, floor, advance=advance)
    if out is not None:
        write_schedule(proposal.best.schedule, out)
    emit(proposed(proposal, forecaster.plan), as_json=json, title=f"design for {forecaster.host.name}")
    return 0


def _finish(result: Result, report: Report, out: Path | None, *, as_json: bool) -> None:
    """Write what is wanted, and tell the numbers even if a disk is full."""
    written: dict[str, str] = {}
    try:
        if out is not None:
            written = _write(result, report, out)
    finally:
        if as_json:
            emit({**result.numbers, **written}, as_json=True, title="design")
        else:
            print_tables(result.tables(), width=_WIDE)


def _write(result: Result, report: Report, out: Path) -> dict[str, str]:
    """The schedule as JSON, and the figure beside it."""
    from orthoscope.guidance.grammar import write_schedule
    from orthoscope.report.page import save_figure

    write_schedule(report.design.schedule, out)
    save_figure(result.plot(), out)
    return {"file": str(out), "figure": str(out.with_suffix(".svg"))}
