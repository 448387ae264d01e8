"""Studies by name: what each runs, finds and shows, and the folder they are written to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from orthoscope import writing
from orthoscope.datasets import write
from orthoscope.locking import locked
from orthoscope.progress import Progress
from orthoscope.report.page import save_figure
from orthoscope.serialize import dumps
from orthoscope.threads import one_thread


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One study.

    Attributes:
        make: The study as a class, with `quick` for its reduced version.
        findings: What it found, in a few numbers.
        figure: Its picture.
    """

    make: Any
    findings: Callable[[xr.Dataset], Mapping[str, Any]]
    figure: Callable[[xr.Dataset], Figure]


# Name: class in the module of that name under `study`, figure in the module of that name under `plots`.
STUDIES = {
    "approach": ("ApproachStudy", "approach_figure"),
    "captured": ("CapturedStudy", "captured_figure"),
    "correlations": ("CorrelationStudy", "correlations_figure"),
    "design-grid": ("DesignGridStudy", "design_grid_figure"),
    "manifold": ("ManifoldStudy", "manifold_figure"),
    "stages": ("StagesStudy", "stages_figure"),
    "tilted": ("TiltedStudy", "tilted_figure"),
}


def entry(name: str) -> Entry:
    """A study by name; loads only its own modules."""
    module, (cls, figure) = name.replace("-", "_"), STUDIES[name]
    study, plots = import_module(f"orthoscope.experiments.{module}"), import_module(f"orthoscope.plots.{module}")
    return Entry(make=getattr(study, cls), findings=study.findings, figure=getattr(plots, figure))


def run_study(
    name: str, *, out: Path, quick: bool = False, seed: int = 0, progress: Progress | None = None
) -> dict[str, Any]:
    """Run a study into a folder.

    Args:
        name: One of `STUDIES`.
        out: Folder for results.nc, spec.json and the figure.
        quick: Run the reduced version.
        seed: Root seed.
        progress: Called with cells done and cells in all.

    Returns:
        What the study found, and the files.

    Raises:
        ConfigError: if the folder is in use, belongs to another job, or cannot be written.
    """
    chosen = entry(name)
    study = replace(chosen.make.quick() if quick else chosen.make(), seed=seed)
    files = ("results.nc", "spec.json", f"{name}.svg", f"{name}.png")
    with locked(out, f"study {name}", files):
        with one_thread():
            result = study.run(progress)
        write(result, out / files[0])
        writing.write(out / files[1], dumps(study) + "\n")
        save_figure(chosen.figure(result), out / files[2])
    return {**chosen.findings(result), "folder": str(out)}
