"""Numbers of an audit with their intervals, as text for people and as plain entries for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from orthoscope import datasets
from orthoscope.quantities import decimals

DIVERSITY = (
    "variance_ratio", "total_variance", "log_volume_ratio", "participation_ratio", "vendi", "pairwise_distance",
)  # fmt: skip
ADHERENCE = ("mean_shift", "displacement", "fisher_ratio", "lda_accuracy", "class_posterior", "text_similarity")
FIDELITY = ("precision", "recall", "density", "coverage", "frechet_distance")
DISTANCE = ("class_distance", "novelty", "far_share", "distance_excess")
COMPARISON = ("gain", "distance_gain", "equal_strength", "adherence_change", "diversity_change")
COSTS = ("network_calls", "seconds", "memory")
_PERCENT = "\u00a0%"
_NARROW = 2  # percent, up to which an interval asks for a digit after the point
_ENDS = ("_low", "_high", "_stderr", "_least")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A number with its 95 % interval; the ends are NaN where there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def bounded(self) -> bool:
        """Whether there is an interval to show: the ratio of a schedule to itself is 1 without error."""
        return math.isfinite(self.low) and math.isfinite(self.high) and self.high > self.low

    def _text(self, number: float) -> str:
        if not self.bounded:
            return f"{number:.4g}"
        return f"{number:z.{decimals((self.high - self.low) / 2)}f}"

    @property
    def shown(self) -> str:
        """The number alone, with two digits of the error."""
        return self._text(self.value)

    def cell(self, between: str = "\n") -> str:
        """The number and its interval, with two digits of the error."""
        if not math.isfinite(self.value):
            return "–"
        ends = f"{between}[{self._text(self.low)}, {self._text(self.high)}]" if self.bounded else ""
        return self._text(self.value) + ends

    def percent(self) -> str:
        """The number as a share with its interval, e.g. 43 % (39 to 47 %)."""
        digits = 1 if self.bounded and 100 * (self.high - self.low) <= _NARROW else 0
        value, low, high = (f"{100 * one:z.{digits}f}" for one in (self.value, self.low, self.high))
        return f"{value}{_PERCENT}" + (f" ({low} to {high}{_PERCENT})" if self.bounded else "")

    def as_entry(self) -> dict[str, float]:
        """The number and its interval, for JSON."""
        return {"value": self.value, "low": self.low, "high": self.high}

    def __str__(self) -> str:
        return self.cell(" ")


def interval(audit: xr.Dataset, name: str, spec: str) -> Interval | None:
    """A measure of one schedule; None if it was not measured at all."""
    places = np.flatnonzero(audit["schedule"].values == spec)
    if name not in audit or not places.size:
        return None
    value, low, high = (
        float(audit[name + end].values[places[0]]) if name + end in audit else math.nan for end in ("", *_ENDS[:2])
    )
    return Interval(value=value, low=low, high=high) if math.isfinite(value) else None


def measured(audit: xr.Dataset, names: Sequence[str]) -> list[str]:
    """Those measures that at least one schedule has a number for."""
    return [name for name in names if name in audit and bool(audit[name].notnull().any())]


def cells(audit: xr.Dataset, names: Sequence[str], spec: str, *, between: str = "\n") -> list[str]:
    """One row of a table: the measures of a schedule, with `between` before each interval."""
    return [(interval(audit, name, spec) or Interval(value=math.nan)).cell(between) for name in names]


def entries(audit: xr.Dataset) -> list[dict[str, Any]]:
    """Every schedule as one plain entry: its text, role, measures, and cost."""
    measures = sorted(
        str(name) for name in audit.data_vars
        if audit[name].dims == ("schedule",) and not str(name).endswith(_ENDS) and name not in COSTS
    )  # fmt: skip
    found = []
    for place, (spec, role) in enumerate(zip(audit["schedule"].values, audit["role"].values, strict=True)):
        numbers = {name: interval(audit, name, str(spec)) for name in measures}
        costs = {name: audit[name].values[place].item() for name in COSTS if name in audit}
        found.append(
            {"spec": str(spec), "role": str(role)} | {name: n and n.as_entry() for name, n in numbers.items()} | costs
        )
    return found


def real(audit: xr.Dataset) -> dict[str, Interval]:
    """Distances of real images from their class, by name; none where distances are measured from other images."""
    ends = {"value": "", "low": "_low", "high": "_high"}
    known = [name for name in DISTANCE if f"real_{name}" in audit]
    return {
        name: Interval(**{field: float(audit[f"real_{name}{end}"]) for field, end in ends.items()}) for name in known
    }


def noted(audit: xr.Dataset) -> list[str]:
    """What the measuring had to remark."""
    return [str(text) for text in datasets.attribute(audit, "notes", "[]")]


def attribute(audit: xr.Dataset, name: str) -> dict[str, Any]:
    """An attribute that holds a JSON object, such as `recommendation` and `stopped`."""
    held = datasets.attribute(audit, name)
    return dict(held) if isinstance(held, Mapping) else {}


def summary(pipeline: xr.Dataset, twin: xr.Dataset | None) -> dict[str, Any]:
    """The whole audit as one plain object: schedules, recommendation, twin, and what was stopped."""
    recommendation: dict[str, Any] = {"schedule": None, "text": "", "evidence": []}
    return {
        "schedules": entries(pipeline),
        "distances_from": pipeline.attrs.get("distances_from"),
        "real": {name: n.as_entry() for name, n in real(pipeline).items()},
        "recommendation": recommendation | attribute(pipeline, "recommendation"),
        "knowledge": attribute(pipeline, "knowledge") or None,
        "twin": None if twin is None else entries(twin),
        "stopped": attribute(pipeline, "stopped"),
    }
