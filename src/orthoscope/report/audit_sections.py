"""The sections of an audit's page that tell what was found. Captions quote numbers from the datasets, never memory."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import xarray as xr

from orthoscope.plots.audit import NAMES, log_figure, pareto_figure, search_figure, twin_figure
from orthoscope.plots.audit_images import IMAGES, PROMPTS, image_figure
from orthoscope.plots.letters import CONSTANT, Mark
from orthoscope.quantities import QUANTITIES
from orthoscope.report.acting import acting, beside, cost_of_strength, outcome
from orthoscope.report.intervals import COMPARISON, attribute, cells, interval, measured
from orthoscope.report.page import Section

Marks = Mapping[str, Mark]
HEADS = {
    "gain": "gain at equal mean shift",
    "distance_gain": "distance at equal mean shift",
    "class_distance": "distance from the class",
    "novelty": "novelty",
    "far_share": "share far off",
    "distance_excess": "distance in excess",
    "equal_strength": "equal to constant",
    "adherence_change": "adherence against yours",
    "diversity_change": "variance against yours",
    "variance_ratio": "variance kept",
    "mean_shift": "mean shift",
}
_PIXELS = 32  # images of more pixels a side are embedded as pixels
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


def table(audit: xr.Dataset, names: Sequence[str], marks: Marks) -> list[list[str]]:
    """Rows of measures, one schedule each."""
    return [[folded(spec, f"{marks[spec].letter}  "), *cells(audit, names, spec)] for spec in specs(audit)]


def folded(spec: str, letter: str = "") -> str:
    """A schedule after its letter, in lines that leave room for a table beside them."""
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
            "line, and the distance at equal mean shift says how much farther from the class its images are than "
            f"there. “Yours” is {current}."
        ),
        command="",
        figures={"audit-pareto": pareto_figure(sources(audit, twin), marks)},
        points=cost_of_strength(sources(audit, twin)),
        head=["schedule", *(head(name) for name in names)],
        rows=table(audit, names, marks),
    )


_EXACT = {
    "modes": (
        "Exact score of the same data", "as a mixture of its images", "the mixture's knowing no image beyond those",
    ),
    "classes": (
        "Exact score of Gaussian classes", "each class taken as a Gaussian", "the images' being no Gaussians",
    ),
}  # fmt: skip


def sources(audit: xr.Dataset, twin: xr.Dataset | None) -> dict[str, xr.Dataset]:
    """Pipeline and twin by the names that figures give them."""
    return {"Pipeline": audit} | ({} if twin is None else {_exact(twin)[0]: twin})


def _exact(twin: xr.Dataset) -> tuple[str, str, str]:
    """What a twin is the exact score of: as a name, what its data are taken as, and what comes of that."""
    return _EXACT[twin.attrs.get("law", "modes")]


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


def search_section(search: xr.Dataset, audit: xr.Dataset, marks: Marks) -> Section:
    """The search on other seeds, and how those chosen did on the audit's."""
    count, chosen = search.sizes["candidate"], [str(s) for s in search["candidate"].values[search["chosen"].values]]
    return Section(
        name="search",
        title="The search for windows",
        caption=(
            f"{count} candidates were tried on few images and seeds of their own. Those ringed were the best of their "
            "kind, by gain at equal mean shift among those in which no loss of adherence from strength 0 was seen, "
            "which shows nothing yet; they are judged above on seeds that the search never saw. The best of many looks "
            "better in a search than it is: believe the numbers above, not these. Bars are two standard errors."
        ),
        command="",
        figures={"audit-search": search_figure(search, str(audit.attrs["adherence"]))},
        points=[_judged(audit, spec, marks) for spec in chosen],
        verdict=_better(audit, chosen, marks),
    )


def _judged(audit: xr.Dataset, spec: str, marks: Marks) -> str:
    """What a schedule that a search chose does on seeds that the search never saw."""
    if spec not in specs(audit):
        return f"{spec} was chosen, and not judged."
    found = [outcome(audit, spec)]
    if change := interval(audit, "adherence_change", spec):
        found.append(f"{head(str(audit.attrs['adherence']))} changes by {change} from {audit.attrs['current']}")
    return f"{marks[spec].letter}, {spec}, judged: {'; '.join(filter(None, found)) or 'nothing could be compared'}."


def _better(audit: xr.Dataset, chosen: Sequence[str], marks: Marks) -> str:
    """Which of those chosen are shown to do better than constant strength, and what of adherence they may lose."""
    if not chosen:
        return "None was chosen: none without a loss of adherence could be compared with constant strength."
    least = {spec: end for spec in chosen if (end := interval(audit, "gain_least", spec))}
    better = [spec for spec, end in least.items() if end.value > 0]
    if not better:
        return "None of these is shown to keep more variance than constant strength at equal mean shift."
    lows = [change.low for spec in better if (change := interval(audit, "adherence_change", spec))]
    loss = f"; of adherence they lose at most {max(0.0, -min(lows)):.2g}" if lows else ""
    each = ", ".join(f"{marks[spec].letter} by {least[spec].value:.2g}" for spec in better)
    return (
        "Shown to keep more variance than constant strength at equal mean shift, at a level that all schedules share: "
        f"{each} at least{loss}."
    )


def twin_section(audit: xr.Dataset, twin: xr.Dataset, marks: Marks) -> Section:
    """The same pipeline with the exact score."""
    names = [name for name in deciding(twin) if not name.endswith("_change")]
    _, taken, beyond = _exact(twin)
    return Section(
        name="twin",
        title="The pipeline beside the exact score",
        caption=(
            f"The network is one reading of its training data; the exact score of these data, {taken}, in the same "
            "pipeline with the same scheduler, seeds and schedules, is another. What both do is guidance's; what only "
            f"one does is the network's, or comes of {beyond}."
        ),
        command="",
        figures={"audit-twin": twin_figure(audit, twin, marks)},
        points=[line for spec in windows(audit) if (line := beside(audit, twin, spec, marks))],
        head=["schedule, exact score", *(head(name) for name in names)],
        rows=table(twin, names, marks),
    )
