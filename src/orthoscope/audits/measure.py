"""Every measure of an audit, pooled and by prompt, each with its interval: from cells to a labelled dataset.

What the images do not allow is NaN, with a note that says why; a measure that applies to no schedule is left out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orthoscope import metrics, rng
from orthoscope.audits import account
from orthoscope.audits.account import Variables
from orthoscope.audits.beside import Beside, Origin, drawn
from orthoscope.audits.contribute import Material, Notes, Run, Traits, between, given, ratio
from orthoscope.audits.plan import REFERENCE, Role
from orthoscope.audits.resampling import Resampling, measures_of
from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.metrics import Contributions, Measure
from orthoscope.metrics.contributions import Over
from orthoscope.quantities import QUANTITIES, Estimate

BY_PROMPT = (
    "total_variance",
    "variance_ratio",
    "participation_ratio",
    "vendi",
    "pairwise_distance",
    "class_posterior",
    "text_similarity",
)
DISTANCES = ("class_distance", "novelty", "far_share", "distance_excess", "distance_gain")
ENDS = {"": "value", "_low": "low", "_high": "high", "_stderr": "stderr"}
Found = dict[str, Measure | None]
T = TypeVar("T")


def measured(
    material: Material,
    roles: Mapping[GuidanceSchedule, Role],
    prompts: Sequence[str],
    references: NDArray[Any] | None = None,
) -> xr.Dataset:
    """Measures, costs, logs and thumbnails of every schedule, labelled as in docs/schema.

    Args:
        material: What is read.
        roles: The schedules to measure, each with all its cells, and what each is there for.
        prompts: The prompts, in the order in which they are labelled.
        references: Features of reference images, one per row; None without.

    Accuracy:
        Intervals hold 95 % each. Features longer than 1024 are projected at random where prompts are compared, which
        keeps squared distances on average.
    """
    notes, cells, schedules = Notes(), material.cells, list(roles)
    beside = Beside.of(material, references, notes)
    reference, origin = beside.plain, beside.origin
    parts: dict[GuidanceSchedule, Parts] = {}
    for schedule in schedules:
        run = reference if schedule == REFERENCE else material.read(schedule, notes)
        parts[schedule] = _parts(material, schedule, run, beside, notes)
        material.traits[schedule] = parts[schedule].traits(material.primary)
    variables = columns("", _pooled(material, parts, notes))
    variables |= columns("by_prompt_", _by_prompt(material, parts, notes), ends=("", "_low", "_high"))
    variables |= _real_ones(material, origin, notes)
    logs = account.logs(cells, schedules, material.prompts)
    images, shown = account.images(cells, schedules, prompts)
    result = xr.Dataset(
        variables | account.cost(cells, schedules, material.prompts) | logs | images,
        coords={
            "schedule": [format_schedule(schedule) for schedule in schedules],
            "role": ("schedule", list(roles.values())),
            "prompt": list(material.prompts),
            "shown_prompt": shown,
            "evaluation": np.arange(logs["log_strength"][1].shape[1]),
        },
        attrs={
            "adherence": material.primary,
            "over": material.over,
            "features_compared": reference.rows.shape[1],
            "distances_from": "" if origin is None else origin.name,
            "notes": json.dumps(notes.texts),
        },
    )
    return labelled(result.sel(prompt=list(prompts)))


def columns(
    prefix: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    dims: tuple[str, str] = ("schedule", "prompt"),
    ends: Sequence[str] = tuple(ENDS),
) -> Variables:
    """Variables along schedules, or schedules and prompts, from a measure (or a list of them) by name and schedule."""
    variables: Variables = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        found = [row.get(name) for row in rows]
        flat = [m for f in found for m in (f if isinstance(f, list) else [f]) if m is not None]
        if not flat:
            continue
        along = dims if any(isinstance(f, list) for f in found) else dims[:1]
        for end in ends:
            variables[f"{prefix}{name}{end}"] = (along, [_field(f, ENDS[end]) for f in found])
    return variables


def _field(found: Any, name: str) -> Any:
    if isinstance(found, list):
        return [_field(f, name) for f in found]
    return float("nan") if found is None else getattr(found, name)


def labelled(result: xr.Dataset) -> xr.Dataset:
    """The dataset with units and long names from `quantities`; those of distances say what they are measured from."""
    origin = result.attrs.get("distances_from")
    for name in map(str, result.variables):
        quantity = QUANTITIES.get(re.sub(r"^(by_prompt|by_group|change|log|real)_|_(low|high|stderr)$", "", name))
        if quantity is not None:
            said = f" (from {origin})" if origin and quantity.name in DISTANCES else ""
            result[name].attrs.update(units=quantity.unit, long_name=quantity.long_name + said)
    return result


class Parts(NamedTuple):
    """What the images of one schedule contribute to every measure; None where it could not be measured.

    Attributes:
        pooled: Of all prompts together, by name.
        fidelity: Beside real images, by name; over images.
        frechet: The Fréchet distance to these, with its own interval.
        by_prompt: Of every prompt by itself, by name.
    """

    pooled: dict[str, Contributions | None]
    fidelity: dict[str, Contributions]
    frechet: Measure | None
    by_prompt: dict[str, list[Contributions | None]]

    def traits(self, primary: str) -> Traits:
        """What is compared with other schedules."""
        return Traits(*(self.pooled.get(name) for name in ("variance_ratio", "mean_shift", primary, "class_distance")))


def _parts(material: Material, schedule: GuidanceSchedule, run: Run, beside: Beside, notes: Notes) -> Parts:
    """Everything of one schedule, read beside the one without guidance and beside real images."""
    reference, real, origin = beside

    def tried(name: str, call: Callable[[], T]) -> T | None:
        return notes.tried(name, schedule, call)

    calls: dict[str, Callable[[], Contributions]] = {}
    for name in run.within:
        if (part := run.joined(name)) is not None:
            calls[name] = part.inverse if name == "participation_ratio" else given(part)
    calls["variance_ratio"] = ratio(run.joined("total_variance"), reference.joined("total_variance"))
    pooled = {name: tried(name, call) for name, call in (calls | dict(between(run, reference))).items()}
    far = None if origin is None else tried("distance from the class", lambda: origin.distances(run))
    if far is not None and origin is not None:
        pooled |= far.by_name
        if (shift := pooled["mean_shift"]) is not None:
            pooled["distance_excess"] = tried("distance_excess", lambda: origin.excess(far, shift))
    fidelity, frechet = {}, None
    if real is not None:
        x = drawn(run.rows, material.seed)
        balls = tried("precision, recall, density and coverage", lambda: metrics.manifolds(x, real))
        fidelity = {} if balls is None else balls._asdict()
        frechet = tried("frechet_distance", lambda: frechet_at_equal_numbers(x, real.rows, seed=material.seed))
    by_prompt = _of_prompts(schedule, run, reference, notes)
    if far is not None:
        by_prompt |= {name: list(column) for name, column in far.by_group.items()}
    return Parts(pooled, fidelity, frechet, by_prompt)


def _of_prompts(
    schedule: GuidanceSchedule, run: Run, reference: Run, notes: Notes
) -> dict[str, list[Contributions | None]]:
    """What every prompt contributes by itself."""
    parts = {name: run.within[name] for name in BY_PROMPT if name in run.within}
    pairs = zip(run.within["total_variance"], reference.within["total_variance"], strict=True)
    calls: dict[str, list[Callable[[], Contributions] | None]] = {
        "variance_ratio": [ratio(*pair) for pair in pairs],
        **{name: [None if p is None else given(p) for p in column] for name, column in parts.items()},
        "participation_ratio": [None if p is None else p.inverse for p in parts["participation_ratio"]],
    }
    return {
        name: [call and notes.tried(f"{name} by prompt", schedule, call) for call in column]
        for name, column in calls.items()
    }


def _pooled(material: Material, parts: Mapping[GuidanceSchedule, Parts], notes: Notes) -> list[Found]:
    """Every measure of all prompts together, by schedule."""
    found: dict[GuidanceSchedule, Found] = {schedule: {} for schedule in parts}
    columns: tuple[tuple[Over | None, Callable[[Parts], Mapping[str, Contributions | None]]], ...] = (
        (None, lambda part: part.pooled),
        ("images", lambda part: part.fidelity),
    )
    for over, column in columns:
        for name in dict.fromkeys(name for part in parts.values() for name in column(part)):
            of_name = {schedule: column(part).get(name) for schedule, part in parts.items()}
            for schedule, measure in measures_of(material, Resampling(name=name, over=over), of_name, notes).items():
                found[schedule][name] = measure
    for schedule, part in parts.items():
        found[schedule]["frechet_distance"] = part.frechet
    return list(found.values())


def _by_prompt(
    material: Material, parts: Mapping[GuidanceSchedule, Parts], notes: Notes
) -> list[dict[str, list[Measure | None]]]:
    """What is measured of every prompt by itself, by schedule; its images are the random draw."""
    found: dict[GuidanceSchedule, dict[str, list[Measure | None]]] = {schedule: {} for schedule in parts}
    for name in dict.fromkeys(name for part in parts.values() for name in part.by_prompt):
        for place, prompt in enumerate(material.prompts):
            of_prompt = {
                schedule: part.by_prompt[name][place] for schedule, part in parts.items() if name in part.by_prompt
            }
            how = Resampling(name=name, prompt=prompt, over="images")
            for schedule, measure in measures_of(material, how, of_prompt, notes).items():
                found[schedule].setdefault(name, []).append(measure)
    return list(found.values())


def _real_ones(material: Material, origin: Origin | None, notes: Notes) -> Variables:
    """Distances of real images, each with its interval; none where distances are measured from other images."""
    if origin is None or not origin.is_real:
        return {}
    variables: Variables = {}
    for name, part in (notes.tried("real images", REFERENCE, lambda: origin.classes.real.by_name) or {}).items():
        how = Resampling(name=f"real_{name}", over="images")
        found = measures_of(material, how, {REFERENCE: part}, notes)[REFERENCE]
        variables |= {f"real_{name}{end}": ((), _field(found, field)) for end, field in ENDS.items()}
    return variables


def frechet_at_equal_numbers(x: NDArray[Any], y: NDArray[Any], *, seed: int) -> Measure:
    """Fréchet distance between as many of either set, in squared feature units, with Student's interval.

    Accuracy:
        As `metrics.frechet_between`.

    Raises:
        ConfigError: if there are too few of either.
    """
    # Rows come by prompt, but the blocks that the jackknife leaves out must be alike.
    fewer, stream = min(len(x), len(y)), rng.stream(seed, "audit", "mixed")
    return in_measure(metrics.frechet_between(*(rows[stream.permutation(len(rows))[:fewer]] for rows in (x, y))))


def in_measure(found: Estimate) -> Measure:
    """An estimate with Student's interval."""
    low, high = found.interval()
    return Measure(
        value=found.value,
        low=low,
        high=high,
        stderr=found.stderr,
        n=found.n,
        dof=math.inf if found.dof is None else found.dof,
    )
