"""Every measure of an audit, pooled and by prompt, each with its interval: from cells to a labelled dataset.

What the images do not allow is NaN, with a note that says why; a measure that applies to no schedule is left out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orthoscope import metrics, rng
from orthoscope.audits import account
from orthoscope.audits.account import Variables
from orthoscope.audits.contribute import Material, Notes, Run, between, given, ratio
from orthoscope.audits.plan import REFERENCE, Role
from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.metrics import Contributions, Measure
from orthoscope.metrics.contributions import Over
from orthoscope.quantities import QUANTITIES

BY_PROMPT = (
    "total_variance",
    "variance_ratio",
    "participation_ratio",
    "vendi",
    "pairwise_distance",
    "class_posterior",
    "text_similarity",
)
ENDS = {"": "value", "_low": "low", "_high": "high", "_stderr": "stderr"}
_RESAMPLES = 1000
_MOST_COMPARED = 4096  # images compared with references, whose tables of distances are quadratic
Found = dict[str, Measure | None]


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
    reference = material.read(REFERENCE, notes)
    pooled, by_prompt = [], []
    for schedule in schedules:
        run = reference if schedule == REFERENCE else material.read(schedule, notes)
        pooled.append(_pooled(material, schedule, run, reference, references, notes))
        by_prompt.append(_by_prompt(material, schedule, run, reference, notes))
    variables = columns("", pooled) | columns("by_prompt_", by_prompt, ends=("", "_low", "_high"))
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
            "notes": json.dumps(notes.texts),
        },
    )
    return labelled(result.sel(prompt=list(prompts)))


def columns(
    prefix: str, rows: Sequence[Mapping[str, Any]], *, dim: str = "schedule", ends: Sequence[str] = tuple(ENDS)
) -> Variables:
    """Variables along schedules, or schedules and prompts, from a measure (or a list of them) by name and schedule."""
    variables: Variables = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        found = [row.get(name) for row in rows]
        flat = [m for f in found for m in (f if isinstance(f, list) else [f]) if m is not None]
        if not flat:
            continue
        dims = (dim, "prompt") if any(isinstance(f, list) for f in found) else (dim,)
        for end in ends:
            variables[f"{prefix}{name}{end}"] = (dims, [_field(f, ENDS[end]) for f in found])
    return variables


def _field(found: Any, name: str) -> Any:
    if isinstance(found, list):
        return [_field(f, name) for f in found]
    return float("nan") if found is None else getattr(found, name)


def labelled(result: xr.Dataset) -> xr.Dataset:
    """The dataset with units and long names from `quantities`."""
    for name in map(str, result.variables):
        quantity = QUANTITIES.get(re.sub(r"^(by_prompt|log)_|_(low|high|stderr)$", "", name))
        if quantity is not None:
            result[name].attrs.update(units=quantity.unit, long_name=quantity.long_name)
    return result


def measure_of(
    material: Material,
    name: str,
    part: Contributions,
    *,
    prompt: str | None = None,
    over: Over | None = None,
    level: float = 0.95,
    resamples: int | None = None,
) -> Measure:
    """A measure with its interval, from a random stream of its own name, and the prompt's if it is of one alone."""
    stream = rng.stream(material.seed, "audit", "resample", name, *([] if prompt is None else [prompt]))
    return part.measure(stream, over=over or material.over, level=level, resamples=resamples or _RESAMPLES)


def _pooled(
    material: Material,
    schedule: GuidanceSchedule,
    run: Run,
    reference: Run,
    references: NDArray[Any] | None,
    notes: Notes,
) -> Found:
    """Every measure of all prompts together."""
    found: Found = {}

    def add(name: str, call: Callable[[], Contributions], over: Over | None = None) -> None:
        found[name] = notes.tried(name, schedule, lambda: measure_of(material, name, call(), over=over))

    for name in run.within:
        if (part := run.joined(name)) is not None:
            add(name, part.inverse if name == "participation_ratio" else given(part))
    add("variance_ratio", ratio(run.joined("total_variance"), reference.joined("total_variance")))
    for name, call in between(run, reference).items():
        add(name, call)
    if references is not None:
        x, y = compared_rows(material, run.rows, references)
        balls = notes.tried("precision, recall, density and coverage", schedule, lambda: metrics.manifolds(x, y))
        for name, part in balls._asdict().items() if balls is not None else []:
            add(name, given(part), "images")
        found["frechet_distance"] = notes.tried(
            "frechet_distance", schedule, lambda: frechet_at_equal_numbers(x, y, seed=material.seed)
        )
    return found


def compared_rows(
    material: Material, rows: NDArray[Any], references: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """At most 4096 images and references in the same features; the same of them for every schedule."""
    y = material.projected(references.reshape(len(references), -1).astype(np.float32))
    return _drawn(rows, _MOST_COMPARED, material.seed), _drawn(y, _MOST_COMPARED, material.seed)


def _drawn(rows: NDArray[Any], most: int, seed: int) -> NDArray[Any]:
    """So many of the rows, in their order."""
    if len(rows) <= most:
        return rows
    return rows[np.sort(rng.stream(seed, "audit", "compared").permutation(len(rows))[:most])]


def frechet_at_equal_numbers(x: NDArray[Any], y: NDArray[Any], *, seed: int) -> Measure:
    """Fréchet distance between as many of either set, in squared feature units, with Student's interval.

    Accuracy:
        As `metrics.frechet_between`.

    Raises:
        ConfigError: if there are too few of either.
    """
    # Rows come by prompt, but the blocks that the jackknife leaves out must be alike.
    fewer, stream = min(len(x), len(y)), rng.stream(seed, "audit", "mixed")
    found = metrics.frechet_between(*(rows[stream.permutation(len(rows))[:fewer]] for rows in (x, y)))
    half = found.limit(0.05) * found.stderr
    return Measure(
        value=found.value,
        low=found.value - half,
        high=found.value + half,
        stderr=found.stderr,
        n=found.n,
        dof=math.inf if found.dof is None else found.dof,
    )


def _by_prompt(
    material: Material, schedule: GuidanceSchedule, run: Run, reference: Run, notes: Notes
) -> dict[str, list[Measure | None]]:
    """What is measured of every prompt by itself; its images are the random draw."""
    parts: dict[str, list[Any]] = {name: list(run.within[name]) for name in BY_PROMPT if name in run.within}
    pairs = zip(run.within["total_variance"], reference.within["total_variance"], strict=True)
    calls: dict[str, list[Callable[[], Contributions] | None]] = {
        "variance_ratio": [ratio(*pair) for pair in pairs],
        **{name: [None if p is None else given(p) for p in parts[name]] for name in parts},
        "participation_ratio": [None if p is None else p.inverse for p in parts["participation_ratio"]],
    }

    def one(name: str, prompt: str, call: Callable[[], Contributions] | None) -> Measure | None:
        if call is None:
            return None
        return notes.tried(
            f"{name} by prompt", schedule, lambda: measure_of(material, name, call(), prompt=prompt, over="images")
        )

    return {
        name: [one(name, *pair) for pair in zip(material.prompts, column, strict=True)]
        for name, column in calls.items()
    }
