"""The page and the files of a forecast."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from orthoscope import writing
from orthoscope.datasets import write
from orthoscope.forecasts.plan import Forecast
from orthoscope.forecasts.propose import Proposal
from orthoscope.guidance.grammar import format_schedule
from orthoscope.plots.forecast import forecast_figure
from orthoscope.report.page import Card, Section, render, save_figure
from orthoscope.report.tables import Table

FILES: tuple[str, ...] = ("results.nc", "spec.json", "report.html", "forecast.svg", "forecast.png")  # of its folder
_HEAD = ("schedule", "variance ratio", "mean shift", "trust")
_NAMES = ("variance_ratio", "mean_shift")
_TRUST = {
    "recorded": "recorded: what was measured",
    "between": "between recorded runs",
    "beyond": "strengths beyond those recorded: its interval does not know how wrong it may be",
    "stopped": "stopped",
}
_COVERED = "coverage of 90% intervals"
_WEIGHTED = "*"  # after what reweighting says
_IDLE = 0.02  # distance from recorded images that counts as none: what making them again leaves


def summary(data: xr.Dataset) -> dict[str, Any]:
    """Every schedule with its intervals and how far to trust it, and what the forecast took: the command's JSON."""
    at = data.attrs
    told = {str(text): _told(data.sel(schedule=text)) for text in data["schedule"].values}
    about = ("model", "scheduler", "prompts", "images_per_prompt", "steps", "strength", "level")
    taken = ("calls", "audit_calls", "unweighted")
    return {
        **{name: at[name] for name in (*about, *taken)},
        "recorded": [str(text) for text in data["recorded"].values],
        "replay_error": float(data["replay_error"].max()),
        "schedules": told,
        "spec": json.loads(at["spec"]),
    }


def _told(one: xr.Dataset) -> dict[str, Any]:
    stopped = str(one["stopped"].values)
    trust = "beyond" if bool(one["outside"]) else "recorded" if float(one["distance"]) < _IDLE else "between"
    if stopped:
        return {"trust": "stopped", "why": stopped}
    ends = {"value": "", "low": "_low", "high": "_high"}
    return {name: {end: float(one[f"{name}{part}"]) for end, part in ends.items()} for name in _NAMES} | {
        "trust": trust,
        "distance": float(one["distance"]),
        "by": {name: str(one[f"{name}_by"].values) for name in _NAMES},
        "images that count": float(one["effective"]) if np.isfinite(one["effective"]) else None,
        "surrogate": _both(one, "surrogate"),
        "reweighted": _both(one, "reweighted"),
    }


def _both(one: xr.Dataset, forecaster: str) -> dict[str, dict[str, float]]:
    """What one forecaster says, where it says anything."""
    return {
        name: {"value": float(one[f"{name}_{forecaster}"]), "stderr": float(one[f"{name}_{forecaster}_stderr"])}
        for name in _NAMES
        if np.isfinite(one[f"{name}_{forecaster}"])
    }


def proposed(proposal: Proposal, plan: Forecast) -> dict[str, Any]:
    """What is proposed, the constant strength beside it, and the command that puts both to the test on other seeds."""
    constant = proposal.constant
    texts = [format_schedule(one.schedule) for one in (constant, proposal.best) if one is not None]
    model = [] if plan.model is None else ["--model", plan.model]
    words = ["orthoscope", "audit", *model, "--steps", str(plan.steps), "--no-search"]
    return {
        "schedule": texts[-1],
        **{name: str(measure) for name, measure in proposal.best.measures.items()},
        "constant": "none keeps it" if constant is None else texts[0],
        **({} if constant is None else {f"constant: {name}": str(m) for name, m in constant.measures.items()}),
        "floor": proposal.floor,
        "schedules tried": proposal.tried,
        "audit_command": shlex.join(
            [*words, *(word for text in dict.fromkeys(texts) for word in ("--schedules", text))]
        ),
    }


def forecast_table(found: Mapping[str, Any]) -> Table:
    """One row for every schedule, and what all of it took."""
    return Table(head=list(_HEAD), rows=rows(found), notes=notes(found))


def rows(found: Mapping[str, Any]) -> list[list[str]]:
    """Schedules with their numbers and intervals."""
    return [
        [text, *(_shown(one.get(name), one.get("by", {}).get(name)) for name in _NAMES), one.get("why") or one["trust"]]
        for text, one in found["schedules"].items()
    ]


def notes(found: Mapping[str, Any]) -> list[str]:
    """What the forecast took, and what was not recorded."""
    cost = (
        f"- {found['calls']:,} predictions were recorded; an audit of as many images under every schedule asks for "
        f"{found['audit_calls']:,}"
    )
    kinds = {one["trust"] for one in found["schedules"].values()}
    beyond = [f"- beyond: {_TRUST['beyond']}; raise `strength`, or audit these"] if "beyond" in kinds else []
    if found["unweighted"]:
        by = [f"- recorded paths are not weighted: {found['unweighted']}"]
    else:
        by = [f"- {_WEIGHTED}: by recorded paths, weighted, where enough images count; the rest by a fit to them"]
    return ["", cost, *by, *beyond]


def reweighting_tables(numbers: Mapping[str, Any]) -> list[Table]:
    """Both forecasters beside each other, and what is trusted of them."""
    head = ["pipeline", "quantity", "count", "steps"]
    head += [part for who in ("surrogate", "weights", "trusted") for part in (who, "covered")]
    told = []
    for pipeline, one in numbers.items():
        for name in _NAMES:
            by = (one[name][who] for who in ("surrogate", "reweighted", "trusted"))
            cells = [f"{part[key]:.{digits}f}" for part in by for key, digits in (("rms error", 3), (_COVERED, 2))]
            told.append([pipeline, name.replace("_", " "), f"{one['effective']:.1f}", f"{one['reached']:g}", *cells])
    note = "Root mean square errors, and shares of intervals that hold; count: images of a class that count, median"
    return [Table(head=head, rows=told, notes=["", note])]


def write_forecast(data: xr.Dataset, found: Mapping[str, Any], out: Path, *, command: str) -> Path:
    """Write results, specification, figure and page into a folder; the page's path.

    Raises:
        ConfigError: if the folder cannot be written.
    """
    figure = forecast_figure(data)
    write(data, out / "results.nc")
    save_figure(figure, out / "forecast")
    writing.write(out / "spec.json", data.attrs["spec"] + "\n")
    section = Section(
        name="forecast",
        title="What every schedule would do",
        caption=(
            f"Intervals hold {found['level']:.0%}: the error of {found['images_per_prompt']} images per prompt, and "
            f"that of the surrogate. {' '.join(line.removeprefix('- ') for line in notes(found) if line)}."
        ),
        command=command,
        figures={"forecast": figure},
        head=list(_HEAD),
        rows=rows(found),
    )
    return writing.write(out / "report.html", _page(data, found, section))


def _page(data: xr.Dataset, found: Mapping[str, Any], section: Section) -> str:
    saved = found["audit_calls"] / max(found["calls"], 1)
    return render(
        title=f"Forecast of {found['model']}",
        lead=(
            f"{found['prompts']} prompts with {found['scheduler']}, {found['steps']} steps, were recorded under "
            f"{', '.join(found['recorded'])}. A fit to what both branches said there took the network's place, and the "
            "same images were made again under every schedule."
        ),
        cards=[
            Card(
                value=f"{found['calls']:,} predictions were asked for, one for every {saved:.3g} of an audit",
                text="An audit of these schedules by as many images.",
            ),
            Card(
                value=f"Recorded images are made again to {found['replay_error']:.1e} of their variance",
                text="The largest mean squared error of the recorded runs.",
            ),
        ],
        sections=[section],
        provenance=f"Orthoscope {data.attrs['orthoscope']}. Settings: spec.json; numbers: results.nc.",
        footer="What decides should be audited: a forecast says which schedules are worth it.",
    )


def _shown(found: Mapping[str, float] | None, by: str | None) -> str:
    if found is None or not math.isfinite(found["value"]):
        return "–"
    mark = _WEIGHTED if by == "reweighted" else ""
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]{mark}"
