"""The run folder of one study: results.nc, spec.json, figures and a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from orthoscope import __version__, writing
from orthoscope.datasets import attribute, write
from orthoscope.errors import ConfigError
from orthoscope.experiments.registry import SINGLE, STUDIES, name_of
from orthoscope.report import images
from orthoscope.report.page import Section, render, save_figure
from orthoscope.report.sections import SECTIONS
from orthoscope.report.tables import Table, flat, show_briefly
from orthoscope.serialize import dumps, to_dict
from orthoscope.sweeps.points import FOLDER, Study

FILES: tuple[str, ...] = ("results.nc", "spec.json", "report.html", "figures", FOLDER)  # of a run folder


def write_folder(study: Study, data: xr.Dataset, numbers: Mapping[str, Any], out: Path, command: str) -> None:
    """Write what a study came to into a folder that is held.

    Args:
        study: What was asked.
        data: What came of it.
        numbers: The same in a few numbers.
        out: The run folder.
        command: The command that the page shows.

    Raises:
        ConfigError: if the folder cannot be written.
    """
    spec = attribute(data, "spec")
    if "type" in spec and not _can_be_read(study):
        spec = {"kind": name_of(study), "in_memory": spec}
    write(data, out / "results.nc")
    writing.write(out / "spec.json", dumps(spec) + "\n")
    name = name_of(study)
    section = _section(name, data, numbers, command)
    for file, figure in section.figures.items():
        save_figure(figure, out / "figures" / file)
    page = render(
        title=(STUDIES | SINGLE)[name].question,
        sections=[section],
        provenance=f"Orthoscope {__version__}. Settings: spec.json; numbers: results.nc.",
        **_heads(study, numbers),
    )
    writing.write(out / "report.html", page)


def _heads(study: Study, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """What stands over the sections of a page, and what its errors mean."""
    if name_of(study) == "images":
        return {"lead": images.lead(numbers), "cards": images.cards(numbers), "footer": images.FOOTER}
    return {"lead": str(type(study).__doc__).partition("\n")[0], "cards": []}


def _can_be_read(study: Study) -> bool:
    """Whether the specification of a study is more than a description of what was in memory."""
    try:
        to_dict(study)
    except ConfigError:
        return False
    return True


def _section(name: str, data: xr.Dataset, numbers: Mapping[str, Any], command: str) -> Section:
    """A study as a section: the demonstration's own where there is one, else its figure and its findings."""
    if name in SECTIONS:
        return SECTIONS[name](data, command)
    entry = (STUDIES | SINGLE)[name]
    tables = entry.tables(numbers) if entry.table else [_findings(numbers)]
    before = [one for one in tables[:-1] if not one.head]  # lists, beside tables that speak for themselves
    table, *others = tables[len(before) :]
    lines = [*(": ".join(filter(None, row)) for one in before for row in one.rows), *table.notes]
    leads = [line for one in (*before, table) for line in one.lead]
    return Section(
        name=name,
        title=name.replace("-", " ").capitalize(),
        caption=" ".join(leads),
        command=command,
        figures={} if entry.figure is None else {name: entry.draw(data)},
        head=table.head or ("finding", "number"),
        rows=table.rows,
        points=[line.strip().removeprefix("- ") for line in lines if line.strip()],
        others=others,
    )


def _findings(numbers: Mapping[str, Any]) -> Table:
    """Numbers within numbers, one per row."""
    told = {name: value for name, value in numbers.items() if name not in ("spec", "orthoscope")}
    shown = ((key, show_briefly(value)) for key, value in flat(told, shown=show_briefly).items())
    return Table(rows=[(key.replace("_", " "), text) for key, text in shown if text is not None])
