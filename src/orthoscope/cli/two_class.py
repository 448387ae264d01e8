"""`orthoscope two-class`: two classes, where guidance takes them and where the tilted law lies."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from orthoscope import __version__
from orthoscope.cli import options
from orthoscope.cli.output import emit
from orthoscope.cli.places import writable
from orthoscope.errors import ConfigError
from orthoscope.report.bars import bar
from orthoscope.serialize import to_dict


class LawKind(StrEnum):
    """The two laws."""

    gaussian = "gaussian"
    uniform = "uniform"


class ErrorKind(StrEnum):
    """How a score is wrong."""

    bounded = "bounded"
    missing_pullback = "missing-pullback"


def two_class(
    law: Annotated[LawKind, typer.Option(help="N(+-1, 1) in each dimension, or uniform on [1, 2] and [-2, -1].")],
    strength: Annotated[float, typer.Option(help="Guidance strength, or scale:S.", **options.AS_STRENGTH)],
    sde: Annotated[bool, typer.Option("--sde", help="Reverse SDE instead of the probability-flow ODE.")] = False,
    score_error: Annotated[float | None, typer.Option(help="Size of an error of the score; none if left out.")] = None,
    error_kind: Annotated[
        ErrorKind,
        typer.Option(help="bounded: off by a constant. missing-pullback: nothing pulls back far outside the support."),
    ] = ErrorKind.bounded,
    recommend: Annotated[
        bool, typer.Option("--recommend", help="Also find the largest strength whose path never turns back.")
    ] = False,
    samples: Annotated[int, typer.Option(help="Trajectories.")] = 2000,
    steps: Annotated[int, typer.Option(help="Steps of the sampler.")] = 200,
    dim: Annotated[int, typer.Option(help="Dimension of Gaussian classes, whose means lie at +-(1, ..., 1).")] = 1,
    t_max: Annotated[float, typer.Option(help="Variance time at which runs start; large is infinite noise.")] = 1e10,
    start: options.Start = options.StartKind.prior,
    sigma_end: Annotated[float, typer.Option(help="Noise at which runs of the uniform law stop.")] = 0.0045,
    seed: options.Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Draw paths and samples into this file (.svg or .png).")] = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Sample the right one of two classes under guidance, beside the tilted law that it does not sample.

    Means and spreads are those along the line through both class means.

    Example: orthoscope two-class --law uniform --strength 3
    """
    from orthoscope.experiments.two_class import TwoClass
    from orthoscope.experiments.two_class_measures import largest_monotone_strength
    from orthoscope.report.page import save_figure
    from orthoscope.results import run
    from orthoscope.sweeps.points import Points

    setting = TwoClass(
        law=law.value,
        strength=strength,
        lam=1.0 if sde else 0.0,
        score_error=score_error,
        error_kind=error_kind.value,
        samples=samples,
        steps=steps,
        dim=dim,
        t_max=t_max,
        start=start.value,
        sigma_end=sigma_end,
        seed=seed,
    )
    if out is not None:
        if out.suffix not in (".svg", ".png"):
            raise ConfigError(f"--out names the figure and must end in .svg or .png (both are written), got {out}")
        writable(out, figures=True)
    with bar("sampling", quiet=quiet) as advance:
        result = run(setting, Points(progress=advance))
        shown: dict[str, Any] = dict(result.numbers)
        if recommend:
            shown["largest_monotone_strength"] = largest_monotone_strength(setting, advance)
    shown |= {"orthoscope": __version__, "spec": to_dict(setting)}
    try:
        if out is not None:
            save_figure(result.plot(), out)
            shown["figure"] = str(out.with_suffix(".svg"))
    finally:  # numbers are there even if a disk is full
        emit(shown, as_json=json, title=f"two classes: {law.value}, d = {dim}, {start.value} start at t = {t_max:g}")
