"""`orthoscope bench`: what exact sampling costs on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from orthoscope.cli import options
from orthoscope.cli.output import emit
from orthoscope.cli.places import writable
from orthoscope.errors import ConfigError
from orthoscope.report.bars import bar
from orthoscope.report.tables import flat, show

bench = typer.Typer(help="What exact sampling costs on this machine.", rich_markup_mode=None)


@bench.callback()
def _group() -> None:
    """What exact sampling costs on this machine."""


@bench.command("engine")
def engine(
    dim: Annotated[int, typer.Option(help="Dimension; there are exp(0.2 dim) classes.")] = 64,
    strength: Annotated[float, typer.Option(help="Guidance strength.", **options.AS_STRENGTH)] = 1.0,
    stderr: Annotated[float, typer.Option(help="Standard error wanted of the mean shift.")] = 1e-3,
    device: Annotated[str, typer.Option(help="Torch device.")] = "cpu",
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Time to one standard error: the textbook sampler against the engine, and what each lever is worth.

    Of the textbook a few steps are timed and the rest is extrapolated, hours of it at the default size.

    Example: orthoscope bench engine --dim 40
    """
    from orthoscope.bench.levers import compare_with_textbook
    from orthoscope.bench.yardstick import Yardstick

    problem = Yardstick(dim=dim, strength=strength, stderr=stderr, device=device, seed=seed)
    with bar("timing", quiet=quiet) as advance:
        result = compare_with_textbook(problem, progress=advance)
    if json:
        emit(result, as_json=True, title="engine")
    else:
        _show(result)


def _show(result: Mapping[str, Any]) -> None:
    """The comparison as two small tables."""
    textbook, spec = result["textbook"], result["spec"]
    measured = textbook["measured_seconds"]
    lines = {
        "textbook": f"{result['textbook_seconds']:,.0f} s extrapolated from {measured:.1f} s measured: "
        f"{textbook['trajectories']:,} trajectories of {textbook['steps']} steps, {textbook['per_step'] * 1e3:.3g} ms "
        f"each; bias {show(textbook['bias'])}",
        "engine": f"{result['seconds']:.3g} s measured; bias {show(result['bias'])}",
        "mean shift": f"{show(result['mean_shift'])} (wanted: error {spec['stderr']:g})",
        "variance ratio": f"{show(result['variance_ratio'])}, at {show(result['class_distance'])} from the class, "
        f"{show(result['far_share'])} far off",
        "speedup": f"{result['speedup']:,.0f}; at equal errors {result['speedup_at_equal_stderr']:,.0f}",
    }
    title = (
        f"{result['classes']:,} classes in d = {spec['dim']}, std {spec['std']:g}, strength {spec['strength']:g}, "
        f"T = {spec['t_max']:g}, {result['threads']} thread(s)"
    )
    emit(lines, as_json=False, title=title)
    rows = {lever["name"]: f"{lever['factor']:>8.3g}   {lever['measures']}" for lever in result["levers"]}
    emit(rows, as_json=False, title="\nlevers: factor, and what it compares")


@bench.command("scaling")
def scaling(
    out: options.Out = Path("scaling.nc"),
    quick: Annotated[bool, typer.Option("--quick", help="Smaller sizes, for a first look.")] = False,
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Time of a simulation against modes, dimension, trajectories and steps, to NetCDF and a figure.

    Example: orthoscope bench scaling --quick --out scaling.nc
    """
    from orthoscope.bench.growth import GrowthStudy, summarize
    from orthoscope.datasets import write
    from orthoscope.plots.growth import growth_figure
    from orthoscope.report.page import save_figure

    if out.suffix != ".nc":
        raise ConfigError(
            f"--out names the NetCDF file and must end in .nc, got {out}; the figure is written beside it"
        )
    writable(out, figures=True)
    study = GrowthStudy.quick(seed) if quick else GrowthStudy(seed=seed)
    with bar("timing", quiet=quiet) as advance:
        result = study.run(advance)
    write(result, out)
    save_figure(growth_figure(result), out)
    shown = summarize(result) | {"file": str(out), "figure": str(out.with_suffix(".svg"))}
    emit(shown if json else flat(shown), as_json=json, title="growth of cost")
