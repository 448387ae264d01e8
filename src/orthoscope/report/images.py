"""Images that were measured: tables for terminal and page, and the sentences over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from orthoscope.quantities import Estimate
from orthoscope.report.intervals import Interval
from orthoscope.report.page import Card
from orthoscope.report.tables import Table, short

FOOTER = (
    "Numbers in brackets directly behind a number are standard errors of its last digits; bars, and two numbers in "
    "square brackets, are intervals of 95 %: over groups where there are ten or more, else over the images of these."
)
_WITHIN = {
    "variance": "variance", "pairwise_distance": "distance of two", "participation_ratio": "directions",
    "vendi": "Vendi score", "near_duplicates": "near-duplicates",
}  # fmt: skip
_DISTANCES = {
    "class_distance": "distance from the reference", "novelty": "nearest real image, that of real ones = 1",
    "far_share": "share of images far away",
}  # fmt: skip
_NEAR = {
    "variance_ratio": "variance, that of the reference = 1", **_DISTANCES,
    "frechet_distance": "Frechet distance, squared, per dimension", "energy_distance": "energy distance",
}  # fmt: skip
_SETS = {name: name for name in ("precision", "recall", "density", "coverage")}
_CHANGES = {
    "variance_kept": "variance, that of the baseline = 1",
    **{name: f"{text}: difference" for name, text in (_WITHIN | _DISTANCES).items()},
}
_COLUMNS = (
    "Variance per dimension, mean distance of two images, participation ratio, Vendi score, share of images with a "
    "near-duplicate; in brackets standard errors of the last digits."
)
_NEARNESS = ("Embeddings at a cosine of at least 0.95", "Gray levels that differ by at most 2 %, root mean square")
_ROWS = 24  # groups in a table
_LONGEST = 40  # letters of their names
_CARDS = 3  # conditions that get a sentence
_FEATURES = {"pixel": "pixels", "clip": "CLIP's embeddings", "dinov2": "DINOv2's class tokens"}
Numbers = Mapping[str, Any]


def image_tables(numbers: Numbers) -> list[Table]:
    """Diversity by condition and by group; beside the reference; and what changes from the baseline."""
    conditions, groups, changes = numbers["conditions"], numbers["groups"], numbers["changes"]
    single = len(conditions) == 1
    names = [name for name in _WITHIN if any(name in one for one in conditions.values())]
    heads = [_WITHIN[name] for name in names]
    every = f"mean of {max(map(len, groups.values()))} groups" if groups else "all images"
    rows = [[every if single else told, *_texts(one, names)] for told, one in conditions.items()]
    tables = [Table(head=["" if single else every, *heads], rows=rows, lead=[_COLUMNS])]
    listed = [
        [short(group if single else f"{told}/{group}", _LONGEST), *_texts(one, names)]
        for told, of in groups.items()
        for group, one in of.items()
    ]
    more = [f"{len(listed) - _ROWS} more groups are in JSON and in results.nc"] if len(listed) > _ROWS else []
    if listed:
        tables.append(Table(head=["group", *heads], rows=listed[:_ROWS], lead=["", "Group by group."]))
    if numbers["reference"] is not None:
        known = {
            **({"these images": next(iter(conditions.values()))} if single else conditions),
            "real": numbers["real"],
        }
        tables.append(
            _columns(_NEAR, known, "All images beside the reference; a real image is measured without itself.")
        )
        tables.append(_columns(_SETS, known, "As sets, at equal numbers; real: what the same law would have."))
    if changes:
        tables.append(_columns(_CHANGES, changes, f"Group by group beside {numbers['baseline']}."))
    notes = [*more, *(f"- {note}" for note in numbers["notes"])]
    tables[-1] = replace(tables[-1], notes=["", *notes] if notes else [])
    return [table for table in tables if table.rows]


def _columns(measures: Mapping[str, str], found: Mapping[str, Numbers], lead: str) -> Table:
    """Measures that at least one has, one per row."""
    shown = [name for name in measures if any(name in one for one in found.values())]
    rows = [[measures[name], *(_text(one.get(name)) for one in found.values())] for name in shown]
    return Table(head=["", *found], rows=rows, lead=["", lead])


def _texts(one: Numbers, names: Sequence[str]) -> list[str]:
    return [_text(one.get(name)) for name in names]


def _text(found: Numbers | None) -> str:
    if found is None:
        return "–"
    return str(Estimate(value=found["value"], stderr=found["stderr"] or 0.0, n=0))


def lead(numbers: Numbers) -> str:
    """What was measured, and how."""
    groups = max(map(len, numbers["groups"].values()), default=1)
    beside = f", beside {numbers['reference_images']:,} real ones" if numbers["reference"] else ""
    among = f" in {groups} groups" if numbers["groups"] else ""
    several = f" under {len(numbers['conditions'])} conditions" if len(numbers["conditions"]) > 1 else ""
    return (
        f"{numbers['images']:,} images{among}{several}{beside}, by {_FEATURES[numbers['features']]}, "
        f"{numbers['dimension']:,} numbers each. Diversity is that within groups. More variance is not more diversity: "
        "only a reference of real images tells whether it was gained by leaving the data."
    )


def cards(numbers: Numbers) -> list[Card]:
    """What was found, in sentences."""
    found = [_of_change(numbers, told, one) for told, one in list(numbers["changes"].items())[:_CARDS]]
    if numbers["reference"] is not None:
        found += [_of_reference(numbers, told, one) for told, one in list(numbers["conditions"].items())[:_CARDS]]
    if not found:
        found = [_of_variance(numbers, one) for one in numbers["conditions"].values()]
    return [*filter(None, found), *_of_copies(numbers)]


def _of_variance(numbers: Numbers, one: Numbers) -> Card | None:
    if (variance := one.get("variance")) is None:
        return None
    text = (
        f"The interval is {variance['low']:.3g} to {variance['high']:.3g}. Whether that is much, another condition or "
        "real images beside these tell."
    )
    within = " within groups" if numbers["groups"] else ""
    return Card(value=f"Variance {variance['value']:.3g} per dimension{within}", text=text)


def _of_change(numbers: Numbers, told: str, change: Numbers) -> Card | None:
    if (kept := change.get("variance_kept")) is None:
        return None
    text = f"Within groups; the interval is {_share(kept, ends=True)}."
    if (far := change.get("class_distance")) is not None:
        where = "farther from" if far["value"] > 0 else "nearer to"
        sure = "" if far["low"] * far["high"] > 0 else ", which chance explains"
        text += f" Its images are {_interval(far, absolute=True)} {where} the reference{sure}."
    return Card(value=f"“{told}” has {_share(kept)} of the variance of “{numbers['baseline']}”", text=text)


def _of_reference(numbers: Numbers, told: str, one: Numbers) -> Card | None:
    if (ratio := one.get("variance_ratio")) is None:
        return None
    who = "These images have" if len(numbers["conditions"]) == 1 else f"“{told}” has"
    real = numbers["real"].get("class_distance")
    text = f"All images together; the interval is {_share(ratio, ends=True)}."
    if real is not None and "class_distance" in one:
        text += (
            f" Distance from the reference: {_interval(one['class_distance'])}, that of real images "
            f"{_interval(real)}; {_share(one['far_share'])} are as far as 1 % of real ones."
        )
    return Card(value=f"{who} {_share(ratio)} of the variance of the reference", text=text)


def _of_copies(numbers: Numbers) -> list[Card]:
    """The condition with most near-duplicates, if there are any."""
    shares = {told: one["near_duplicates"] for told, one in numbers["conditions"].items() if "near_duplicates" in one}
    told, most = max(shares.items(), key=lambda item: item[1]["value"], default=("", {"value": 0.0}))
    if not most["value"]:
        return []
    where, group = "" if len(shares) == 1 else f" of “{told}”", "their group" if numbers["groups"] else "the folder"
    text = f"{_NEARNESS[numbers['features'] == 'pixel']}; the interval is {_share(most, ends=True)}."
    return [Card(value=f"{_share(most)} of the images{where} have a near-duplicate in {group}", text=text)]


def _share(found: Numbers, *, ends: bool = False) -> str:
    if not ends:
        return f"{found['value']:.0%}".replace("%", "\u00a0%")
    return f"{100 * found['low']:.1f} to {100 * found['high']:.1f}\u00a0%"


def _interval(found: Numbers, *, absolute: bool = False) -> str:
    one = Interval(value=found["value"], low=found["low"], high=found["high"])
    if absolute and found["value"] < 0:
        one = Interval(value=-found["value"], low=-found["high"], high=-found["low"])
    return one.cell(" ")
