"""The sections of an audit's page with every number: measures, prompts and costs."""

from __future__ import annotations

import math

import xarray as xr

from orthoscope.report.audit_sections import Marks, folded, head, specs, table
from orthoscope.report.intervals import ADHERENCE, DISTANCE, DIVERSITY, FIDELITY, attribute, measured, noted, real
from orthoscope.report.page import Section

_PROMPTS_LISTED = 60

_TABLES = {
    "Diversity in numbers": (
        DIVERSITY,
        "Variance kept is the total variance over that of strength 0. The log-volume ratio counts narrow directions "
        "like wide ones; the participation ratio counts directions and is blind to uniform shrinkage; the Vendi "
        "score counts images that differ.",
    ),
    "Adherence in numbers": (
        ADHERENCE,
        "Mean shift and displacement say how far prompts moved from where strength 0 has them; Fisher ratio and linear "
        "discriminant, how well they can be told apart; posterior and cosine, how well a judge recognizes them.",
    ),
    "Distance from the class in numbers": (
        DISTANCE,
        "Whether variance comes of images off the class. The distance is that of Mahalanobis per coordinate, in the "
        "directions that hold 99 % of the variance within classes; far are images beyond what only 1 % of the images "
        "measured from exceed. Copies have novelty near 0. The last column is what the distance is beyond that of "
        "images measured from that are moved by the same mean shift.",
    ),
    "Fidelity in numbers": (
        FIDELITY,
        "Against the reference images, at equal numbers: precision and density for how real the images are, recall and "
        "coverage for how much of the reference they reach, the Frechet distance for both at once.",
    ),
}


def number_sections(audit: xr.Dataset, marks: Marks) -> list[Section]:
    """Every measure of every schedule, by what it measures."""
    sections = []
    for title, (group, caption) in _TABLES.items():
        if names := measured(audit, group):
            rows, heads = table(audit, names, marks), ["schedule", *(head(name) for name in names)]
            if "class_posterior" in names and "judge" in audit.attrs:
                caption += f" The judge is {_judge(audit)}."
            if group is DISTANCE:
                caption += _measured_from(audit)
            name = title.split()[0].lower() + "-numbers"
            sections.append(
                Section(name=name, title=title, caption=caption, command="", figures={}, head=heads, rows=rows)
            )
    return sections


def _measured_from(audit: xr.Dataset) -> str:
    """What distances are measured from, and how far real images are."""
    found = [f"{head(name)} {number}" for name, number in real(audit).items()]
    of_real = f" Of real images that were not among these: {', '.join(found)}." if found else ""
    return f" Measured from {audit.attrs['distances_from']}.{of_real}"


def _judge(audit: xr.Dataset) -> str:
    """Who says which class an image is of, and how far to believe it."""
    accuracy = audit.attrs.get("judge_accuracy")
    return str(audit.attrs["judge"]) + ("" if accuracy is None else f", right on {accuracy:.1%} of held-out images")


def prompt_section(audit: xr.Dataset, marks: Marks) -> Section:
    """Variance kept, prompt by prompt."""
    name = "by_prompt_variance_ratio"
    listed = audit[name].isel(prompt=slice(_PROMPTS_LISTED)).transpose("prompt", "schedule")
    more = audit.sizes["prompt"] - listed.sizes["prompt"]
    rest = f" {more} more prompts are in results.nc." if more else ""
    return Section(
        name="prompts",
        title="Prompt by prompt",
        caption=f"Variance kept by each prompt under each schedule; intervals of these are in results.nc.{rest}",
        command="",
        figures={},
        head=["prompt", *(marks[spec].letter for spec in specs(audit))],
        rows=[
            [str(row["prompt"].values), *("–" if not math.isfinite(value) else f"{value:.2f}" for value in row.values)]
            for row in listed
        ],
    )


def cost_section(audit: xr.Dataset, marks: Marks, command: str) -> Section:
    """What it took, what was stopped, and how to make the page again."""
    rows = [
        [
            folded(spec, f"{marks[spec].letter}  "),
            f"{int(one['network_calls']):,}",
            f"{float(one['seconds']):.1f}",
            f"{float(one['memory']) / 2**20:,.0f}",
        ]
        for spec in specs(audit)
        for one in [audit.sel(schedule=spec)]
    ]
    stopped = [f"stopped: {spec}: {reason}" for spec, reason in attribute(audit, "stopped").items()]
    return Section(
        name="cost",
        title="What it cost",
        caption=(
            "A network call is one prediction for one image: guidance needs two per step and image, and one where a "
            "strength of 0 or −1 makes the other idle and the pipeline can leave it out. Memory is the peak up to "
            "then. The command goes on where it was stopped, and reuses every image it has made."
        ),
        command=command,
        figures={},
        head=["schedule", "network calls", "seconds", "memory, MiB"],
        rows=rows,
        points=[*stopped, *noted(audit)],
    )
