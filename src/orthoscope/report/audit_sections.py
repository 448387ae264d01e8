"""The sections of an audit's page. Captions quote numbers from the datasets, never from memory."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import xarray as xr

from orthoscope.plots.audit import NAMES, log_figure, pareto_figure, search_figure, twin_figure
from orthoscope.plots.audit_images import IMAGES, PROMPTS, image_figure
from orthoscope.plots.letters import CONSTANT, Mark
from orthoscope.quantities import QUANTITIES
from orthoscope.report.acting import acting, own_errors
from orthoscope.report.intervals import (
    ADHERENCE,
    COMPARISON,
    DIVERSITY,
    FIDELITY,
    attribute,
    cells,
    interval,
    measured,
    noted,
)  # fmt: skip
from orthoscope.report.page import Section

Marks = Mapping[str, Mark]
HEADS = {
    "gain": "gain at equal mean shift",
    "equal_strength": "equal to constant",
    "adherence_change": "adherence against yours",
    "diversity_change": "variance against yours",
    "variance_ratio": "variance kept",
    "mean_shift": "mean shift",
}
_PIXELS = 32  # images of more pixels a side are embedded as pixels
_PROMPTS_LISTED = 60
_FOLD = 28  # characters of a schedule on one line of a table


def head(name: str) -> str:
    """A measure at the head of a column."""
    return HEADS.get(name) or NAMES.get(name) or (QUANTITIES[name].long_name if name in QUANTITIES else name)


def specs(audit: xr.Dataset) -> list[str]:
    """Its schedules."""
    return [str(spec) for spec in audit["schedule"].values]


def windows(audit: xr.Dataset) -> list[str]:
    """Its schedules that are no constant strengths."""
    roles = audit["role"].values
    return [spec for spec, role in zip(specs(audit), roles, strict=True) if str(role) not in CONSTANT]


def deciding(audit: xr.Dataset) -> list[str]:
    """The measures that the recommendation rests on, as far as they could be measured."""
    return measured(audit, ["variance_ratio", "mean_shift", str(audit.attrs["adherence"]), *COMPARISON])


def _rows(audit: xr.Dataset, names: Sequence[str], marks: Marks) -> list[list[str]]:
    return [[_folded(spec, marks), *cells(audit, names, spec)] for spec in specs(audit)]


def _folded(spec: str, marks: Marks) -> str:
    """A schedule with its letter, in lines that leave room for a table beside them."""
    letter = f"{marks[spec].letter}  "
    lines = [letter]
    for part in re.findall(r"[^,]+,?", spec):
        if len(lines[-1]) + len(part) > _FOLD and lines[-1].strip():
            lines.append(" " * len(letter))
        lines[-1] += part
    return "\n".join(lines)


def recommendation_section(audit: xr.Dataset) -> Section:
    """What to use, in words, with the evidence."""
    found = attribute(audit, "recommendation")
    return Section(
        name="recommendation",
        title="What to use",
        caption=str(found.get("text", "")) or "Nothing can be recommended from what was measured.",
        points=[str(line) for line in found.get("evidence", ())],
        command=str(found.get("apply") or ""),
        figures={},
    )


def pareto_section(audit: xr.Dataset, twin: xr.Dataset | None, marks: Marks) -> Section:
    """Diversity against adherence, and the numbers that decide."""
    names, current = deciding(audit), str(audit.attrs["current"])
    return Section(
        name="diversity",
        title="Diversity against adherence",
        caption=(
            "Up is more diverse, right is closer to the prompt. Every schedule made its images from the same seeds; "
            "letters are listed below the figure, bars are 95 % intervals. The gray line joins constant strengths: any "
            "of them trades variance for mean shift, so a schedule is worth having only if it lies above the line. "
            "How far is its gain at equal mean shift; “equal to constant” is the strength at that point of the "
            f"line. “Yours” is {current}."
        ),
        command="",
        figures={"audit-pareto": pareto_figure(_named(audit, twin), marks)},
        head=["schedule", *(head(name) for name in names)],
        rows=_rows(audit, names, marks),
    )


def _named(audit: xr.Dataset, twin: xr.Dataset | None) -> dict[str, xr.Dataset]:
    return {"Pipeline": audit} | ({} if twin is None else {"Exact score of the same data": twin})


def image_section(audit: xr.Dataset, marks: Marks) -> Section:
    """What the images look like."""
    shown = {"images": min(audit.sizes["shown"], IMAGES), "prompts": min(audit.sizes["shown_prompt"], PROMPTS)}
    figure = image_figure(audit, marks)
    large = max(audit.sizes["row"], audit.sizes["column"]) > _PIXELS
    return Section(
        name="images",
        title="The images",
        caption=(
            f"{shown['images']} images of each of {shown['prompts']} prompts. Rows are schedules; all images of a "
            "column started from the same noise. Look down a column for what a schedule changes, along a row for how "
            "alike its images are."
        ),
        command="",
        figures={"audit-images": figure},
        pictures=frozenset({"audit-images"} if large else ()),
    )


def log_section(audit: xr.Dataset, marks: Marks) -> Section:
    """Where guidance can act at all."""
    return Section(
        name="acts",
        title="Where guidance can act",
        caption=(
            "Noise is on the left, the finished image on the right. Guidance adds strength times the difference of "
            "two predictions, with the prompt and without. Once an image is committed to its prompt the two agree, "
            "the difference in the middle panel goes to zero, and no strength, positive or negative, does anything "
            "more. A window that is to give variance back has to be negative while the difference is still there. "
            "Where a strength makes one of the two predictions idle the pipeline does not compute it, and there the "
            "curves stop."
        ),
        command="",
        figures={"audit-curves": log_figure(audit, marks)},
        points=[line for spec in windows(audit) if (line := acting(audit, spec, marks))],
    )


def search_section(search: xr.Dataset, adherence: str) -> Section:
    """The search on other seeds."""
    count, chosen = search.sizes["candidate"], [str(s) for s in search["candidate"].values[search["chosen"].values]]
    return Section(
        name="search",
        title="The search for windows",
        caption=(
            f"{count} candidates were tried on few images and seeds of their own. Those ringed were the best of their "
            "kind, by gain at equal mean shift among those that keep adherence; they are judged above on seeds that "
            "the search never saw. The best of many looks better in a search than it is: believe the numbers above, "
            "not these. Bars are two standard errors."
        ),
        command="",
        figures={"audit-search": search_figure(search, adherence)},
        points=[f"chosen: {spec}" for spec in chosen],
    )


def twin_section(audit: xr.Dataset, twin: xr.Dataset, marks: Marks) -> Section:
    """The same pipeline with the exact score."""
    names = [name for name in deciding(twin) if not name.endswith("_change")]
    current = str(audit.attrs["current"])
    kept = {name: interval(one, "variance_ratio", current) for name, one in _named(audit, twin).items()}
    said = [f"{name}: {value} of the variance kept at {current}." for name, value in kept.items() if value]
    said += [line for spec in windows(twin) if (line := acting(twin, spec, marks))]
    said += [line for spec in windows(audit) if (line := own_errors(audit, twin, spec, marks))]
    return Section(
        name="twin",
        title="The pipeline beside the exact score",
        caption=(
            "The network is one reading of its training data; the exact score of these data, as a mixture of its "
            "images, in the same pipeline with the same scheduler, seeds and schedules, is another. What both do is "
            "guidance's; what only one does is the network's, or comes of the mixture's knowing no image beyond those."
        ),
        command="",
        figures={"audit-twin": twin_figure(audit, twin, marks)},
        points=said,
        head=["schedule, exact score", *(head(name) for name in names)],
        rows=_rows(twin, names, marks),
    )


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
            rows, heads = _rows(audit, names, marks), ["schedule", *(head(name) for name in names)]
            if "class_posterior" in names and "judge" in audit.attrs:
                caption += f" The judge is {_judge(audit)}."
            name = title.split()[0].lower() + "-numbers"
            sections.append(
                Section(name=name, title=title, caption=caption, command="", figures={}, head=heads, rows=rows)
            )
    return sections


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
            _folded(spec, marks),
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
