"""The page of an audit: one self-contained file with its figures, tables and recommendation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import xarray as xr

from orthoscope import writing
from orthoscope.guidance.words import in_words
from orthoscope.plots.letters import Mark, marks
from orthoscope.report import audit_sections as parts
from orthoscope.report.audit_numbers import cost_section, number_sections, prompt_section
from orthoscope.report.intervals import attribute, interval
from orthoscope.report.page import Card, Section, render, save_figure

FOOTER = (
    "Numbers in brackets are 95 % intervals, [low, high], of the number before them; differences and "
    "ratios are paired, seed by seed."
)


@runtime_checkable
class Audited(Protocol):
    """The results of an audit: the pipeline's, its twin's, and the search's."""

    @property
    def pipeline(self) -> xr.Dataset: ...

    @property
    def twin(self) -> xr.Dataset | None: ...

    @property
    def search(self) -> xr.Dataset | None: ...


def write_report(result: Audited, out: Path, *, command: str) -> Path:
    """Write report.html and the figures of an audit into its run folder; the page's path.

    Raises:
        ConfigError: if the folder cannot be written.
    """
    sections = audit_sections(result, command=command)
    for section in sections:
        for name, figure in section.figures.items():
            save_figure(figure, out / "figures" / name)
    return writing.write(out / "report.html", audit_page(result, sections))


def audit_page(result: Audited, sections: list[Section]) -> str:
    """The page as text."""
    told = result.pipeline.attrs
    rule = f" Predictions are combined by {told['rule']}." if told.get("rule", "cfg") != "cfg" else ""
    return render(
        title=f"Audit of {told['model']}",
        lead=(
            f"{told['family']} with {told['scheduler']}, {told['steps']} steps; {told['images_per_prompt']} images of "
            f"each of {result.pipeline.sizes['prompt']} prompts under {result.pipeline.sizes['schedule']} guidance "
            f"schedules, with common seeds, compared in {told['features']} features.{rule} Strength 0 is the plain "
            "conditional model, −1 the unconditional one; pipelines call 1 + strength the guidance scale."
        ),
        cards=cards(result.pipeline, schedule_marks(result.pipeline, result.twin)),
        sections=sections,
        provenance=f"Orthoscope {told['orthoscope']}. Settings: spec.json; numbers: results.nc.",
        footer=FOOTER,
    )


def audit_sections(result: Audited, *, command: str) -> list[Section]:
    """The sections, in reading order; those without data are left out."""
    audit, twin, search = result.pipeline, result.twin, result.search
    found = schedule_marks(audit, twin)
    sections = [parts.recommendation_section(audit), parts.pareto_section(audit, twin, found)]
    if "image" in audit:
        sections.append(parts.image_section(audit, found))
    if "log_strength" in audit:
        sections.append(parts.log_section(audit, found))
    if twin is not None:
        sections.append(parts.twin_section(audit, twin, found))
    if search is not None:
        sections.append(parts.search_section(search, audit, found))
    sections += number_sections(audit, found)
    if "by_prompt_variance_ratio" in audit:
        sections.append(prompt_section(audit, found))
    return [*sections, cost_section(audit, found, command)]


def schedule_marks(audit: xr.Dataset, twin: xr.Dataset | None) -> dict[str, Mark]:
    """Letters for the pipeline's schedules, then for those that only its twin has; words for those that were run."""
    roles: dict[str, str] = {}
    words: dict[str, str] = {}
    for one in (audit,) if twin is None else (audit, twin):
        for spec, role in zip(one["schedule"].values, one["role"].values, strict=True):
            roles.setdefault(str(spec), str(role))
        if "log_strength" in one:
            for spec, run in zip(one["schedule"].values, one["log_strength"].values, strict=True):
                if len(told := run[np.isfinite(run)]):
                    words.setdefault(str(spec), in_words(told.tolist()))
    return marks(roles, words)


def cards(audit: xr.Dataset, found: Mapping[str, Mark]) -> list[Card]:
    """The findings, a sentence each."""
    current = str(audit.attrs["current"])
    advice, yours = attribute(audit, "recommendation"), found[current].words
    value, text = "Nothing is shown to be better than what you do", f"You do: {yours} ({current})."
    if schedule := advice.get("schedule"):
        value, text = f"Use {found[schedule].words}", f"{schedule}, in place of {yours}."
    elif nearest := advice.get("nearest"):
        value = "Nothing is shown yet to be better than what you do"
        text = f"You do: {yours} ({current}). Nearest comes {found[nearest].letter}: {found[nearest].words}."
    told = [Card(value=value, text=text)]
    if kept := interval(audit, "variance_ratio", current):
        told.append(
            Card(value=f"Your guidance keeps {kept.percent()} of the variance", text=f"Of that without: {yours}.")
        )
    if windows := parts.windows(audit):
        told.append(_gained(audit, windows, found, advice))
    seconds = float(audit["seconds"].sum())
    images = audit.sizes["schedule"] * audit.sizes["prompt"] * int(audit.attrs["images_per_prompt"])
    told.append(Card(value=f"{images:,} images", text=f"made in {seconds:,.0f} s of generating"))
    return told


def _gained(audit: xr.Dataset, windows: Sequence[str], found: Mapping[str, Mark], advice: Mapping[str, Any]) -> Card:
    """The window that is shown to gain most, at a level that all share, of those that do not leave the class."""
    away = {one["schedule"] for one in advice.get("verdicts", ()) if one.get("leaves_class")}
    least = {spec: end.value for spec in windows if (end := interval(audit, "gain_least", spec))}
    better = {spec: end for spec, end in least.items() if end > 0 and spec not in away}
    also = (
        f" {', '.join(found[spec].letter for spec in windows if spec in away)} gains by leaving the class."
        if away
        else ""
    )
    if not better:
        return Card(
            value="At equal push no window is shown to gain any of it",
            text=f"{len(windows)} were judged beside constant strength at equal mean shift.{also}",
        )
    best = max(better, key=lambda spec: better[spec])
    gain, distance = interval(audit, "gain", best), interval(audit, "distance_gain", best)
    assert gain is not None
    beside = f" Its distance from the class, less theirs: {distance.cell(' ')}." if distance else ""
    return Card(
        value=f"At equal push a window gains {gain.percent()} of it",
        text=f"{found[best].letter}, {found[best].words}, beside constant strength at equal mean shift; of "
        f"{len(windows)} judged.{beside}{also}",
    )
