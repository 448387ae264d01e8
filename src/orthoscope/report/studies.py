"""One study in a run folder of its own: results.nc, spec.json, figures and a page, as of every run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from orthoscope import __version__, writing
from orthoscope.datasets import read, write
from orthoscope.experiments.registry import Entry, find
from orthoscope.locking import locked
from orthoscope.quantities import Estimate
from orthoscope.report.page import Section, render, save_figure
from orthoscope.report.sections import SECTIONS
from orthoscope.serialize import content_hash, dumps
from orthoscope.sweeps.points import FOLDER, HERE, Points
from orthoscope.threads import one_thread

FILES = ("results.nc", "spec.json", "report.html", "figures", FOLDER)  # of a run folder


def run_study(
    name: str,
    *,
    out: Path,
    quick: bool = False,
    seed: int = 0,
    resume: bool = False,
    points: Points = HERE,
) -> dict[str, Any]:
    """Run a study into a folder.

    Args:
        name: One of `registry.STUDIES`.
        out: The run folder.
        quick: Run the reduced version.
        seed: Root seed.
        resume: Keep results that the folder holds of the same settings, and finished points of them.
        points: Where points are worked on, and who is told; finished ones stay in the folder, whatever happens later.

    Returns:
        What the study found, and the folder.

    Raises:
        ConfigError: if the study is unknown, the folder is in use, belongs to another job, or cannot be written, or the
            workers cannot be had.
        StoppedError: if the cluster is lost, or the folder is.
    """
    entry = find(name)
    study = entry.make(quick=quick, seed=seed)
    with locked(out, f"study {name}", FILES):
        result = read(out / "results.nc") if resume else None
        if result is None or result.attrs.get("spec_hash") != content_hash(study):
            with one_thread():
                result = study.run(points.kept(out, anew=not resume))
            write(result, out / "results.nc")
        writing.write(out / "spec.json", dumps(study) + "\n")
        found = entry.findings(result)
        words = [*(["--quick"] if quick else []), *([f"--seed {seed}"] if seed else [])]
        command = " ".join(["orthoscope study", name, *words])
        section = _section(name, entry, result, found, command)
        for file, figure in section.figures.items():
            save_figure(figure, out / "figures" / file)
        page = render(
            title=entry.question,
            lead=_lead(study),
            cards=[],
            sections=[section],
            provenance=f"Orthoscope {__version__}. Settings: spec.json; numbers: results.nc.",
        )
        writing.write(out / "report.html", page)
    return {**found, "folder": str(out)}


def _lead(study: Any) -> str:
    """What is done, from the docstring of the study's class."""
    return str(type(study).__doc__).partition("\n")[0]


def _section(name: str, entry: Entry, result: xr.Dataset, found: Mapping[str, Any], command: str) -> Section:
    """A study as a section: the demonstration's own where there is one, else its figure and its findings."""
    if name in SECTIONS:
        return SECTIONS[name](result, command)
    module, _, function = entry.figure.partition(":")
    figure: Figure = getattr(import_module(f"orthoscope.plots.{module}"), function)(result)
    doc = str(import_module(f"orthoscope.experiments.{entry.cls.partition(':')[0]}").__doc__)
    return Section(
        name=name,
        title=doc.partition("\n")[0].rstrip("."),
        caption="",
        command=command,
        figures={name: figure},
        head=["finding", "number"],
        rows=[[key, text] for key, text in _rows(found)],
    )


def _rows(found: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, str]]:
    """Findings within findings as rows: `approach: mean shift: exponent`."""
    for name, value in found.items():
        title = str(name).replace("_", " ")
        key = f"{within}: {title}" if within else title
        match value:
            case {"value": float() | int() as number, "stderr": float() as error}:
                rest = [f"{part} {value[part]:.4g}" for part in ("theory", "z") if isinstance(value.get(part), float)]
                shown = str(Estimate(value=number, stderr=error, n=0))
                yield key, ", ".join([shown, *rest, *([value["verdict"]] if "verdict" in value else [])])
            case Mapping():
                yield from _rows(value, key)
            case float():
                yield key, f"{value:.5g}"
            case list() | tuple():
                yield key, ", ".join(f"{part:.5g}" if isinstance(part, float) else str(part) for part in value)
            case None:
                yield key, "–"
            case _:
                yield key, str(value)
