"""Schedules against constant strength at equal mean shift, and against the schedule in use, image by image."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import xarray as xr

from orthoscope.audits.contribute import Material, Notes, Run, between, ratio
from orthoscope.audits.line import Knot, Reading, line
from orthoscope.audits.measure import columns, labelled, measure_of
from orthoscope.audits.plan import REFERENCE
from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.schedules import Constant, GuidanceSchedule
from orthoscope.metrics import Contributions, Measure

ALPHA = 0.05
_RESAMPLES = 8000  # ends at the shared level are far out


class Traits(NamedTuple):
    """What is compared of one schedule, as contributions of the same images; None where it cannot be measured."""

    variance_ratio: Contributions | None
    mean_shift: Contributions | None
    adherence: Contributions | None


class Compared(NamedTuple):
    """One schedule beside constant strength at equal mean shift; None where it cannot be measured.

    Attributes:
        variance_ratio: Total variance within prompts over that without guidance.
        mean_shift: Shift of the prompts' means, in units of their distance.
        adherence: The primary measure of adherence.
        gain: Variance ratio above that of constant strength at equal mean shift; None for constant strengths.
        equal_strength: The constant strength of equal mean shift; NaN without a line.
        extended: Whether the line had to be extended beyond the constant strengths measured.
    """

    variance_ratio: Measure | None
    mean_shift: Measure | None
    adherence: Measure | None
    gain: Measure | None
    equal_strength: float
    extended: bool


def gains(material: Material, schedules: Sequence[GuidanceSchedule]) -> dict[GuidanceSchedule, Compared]:
    """Diversity, mean shift, adherence and gain at equal mean shift of every schedule.

    Args:
        material: What is read.
        schedules: Schedules to compare; the constant ones among them, and strength 0, make the line.

    Accuracy:
        A line that is convex runs below the chords between its knots, so gains are on the low side.
    """
    comparison = Comparison(material=material, schedules=tuple(schedules), notes=Notes())
    return {schedule: comparison.compared(schedule) for schedule in schedules}


def compared(
    material: Material, ds: xr.Dataset, schedules: Sequence[GuidanceSchedule], *, current: GuidanceSchedule
) -> xr.Dataset:
    """A measured dataset with gains, and with changes from the schedule in use, added.

    `gain_least` and `diversity_change_least` are lower ends at a level that all schedules but the one in use share.

    Args:
        material: What was measured.
        ds: What `measured` made of it.
        schedules: Its schedules.
        current: The schedule in use.

    Accuracy:
        As `gains`.
    """
    comparison = Comparison(material=material, schedules=tuple(schedules), notes=Notes())
    candidates = max(1, len(schedules) - (current in schedules))
    parts = [comparison.parts(schedule, current) for schedule in schedules]
    variables = columns("", [comparison.measures(s, row) for s, row in zip(schedules, parts, strict=True)])
    for name in ("gain", "diversity_change"):
        ends = [comparison.least(name, s, row[name], candidates) for s, row in zip(schedules, parts, strict=True)]
        variables[f"{name}_least"] = (("schedule",), ends)
    grains = [traits.adherence.grain for traits in comparison.traits.values() if traits.adherence is not None]
    readings = [comparison.reading(schedule) for schedule in schedules]
    strengths = [math.nan if reading is None else reading.equal_strength for reading in readings]
    result = labelled(ds.assign(variables | {"equal_strength": (("schedule",), strengths)}))
    texts = [*json.loads(ds.attrs.get("notes", "[]")), *comparison.notes.texts]
    result.attrs |= {
        "current": format_schedule(current),
        "candidates": candidates,
        "adherence_grain": max(grains, default=0.0),
        "notes": json.dumps(list(dict.fromkeys(texts))),
    }
    return result


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Schedules on common seeds, beside the line that constant strengths make.

    Attributes:
        material: What to read.
        schedules: The schedules.
        notes: Where reasons for what cannot be measured go.
    """

    material: Material
    schedules: tuple[GuidanceSchedule, ...]
    notes: Notes

    @cached_property
    def traits(self) -> dict[GuidanceSchedule, Traits]:
        """What is compared, by schedule; the reference is among them."""
        reference = self._read(REFERENCE)
        found: dict[GuidanceSchedule, Traits] = {REFERENCE: self._traits(REFERENCE, reference, reference)}
        for schedule in self.schedules:
            if schedule not in found:
                found[schedule] = self._traits(schedule, self._read(schedule), reference)
        return found

    @cached_property
    def knots(self) -> list[Knot]:
        """The constant strengths that could be measured, in order of mean shift."""
        knots = [
            Knot(schedule.value, traits.variance_ratio, traits.mean_shift)
            for schedule, traits in self.traits.items()
            if isinstance(schedule, Constant) and traits.variance_ratio is not None and traits.mean_shift is not None
        ]
        return sorted(knots, key=lambda knot: knot.mean_shift.value)

    def compared(self, schedule: GuidanceSchedule) -> Compared:
        """One schedule with its intervals."""
        traits, reading = self.traits[schedule], self.reading(schedule)
        return Compared(
            variance_ratio=self._measure("variance_ratio", schedule, traits.variance_ratio),
            mean_shift=self._measure("mean_shift", schedule, traits.mean_shift),
            adherence=self._measure(self.material.primary, schedule, traits.adherence),
            gain=None if reading is None else self._measure("gain", schedule, reading.gain),
            equal_strength=math.nan if reading is None else reading.equal_strength,
            extended=reading is not None and reading.extended,
        )

    def parts(self, schedule: GuidanceSchedule, current: GuidanceSchedule) -> dict[str, Contributions | None]:
        """Contributions to the gain, and to changes from the schedule in use."""
        reading = self.reading(schedule)
        return {
            "gain": None if reading is None else reading.gain,
            "diversity_change": self._change("variance_ratio", schedule, current),
            "adherence_change": self._change("adherence", schedule, current),
        }

    def measures(
        self, schedule: GuidanceSchedule, parts: Mapping[str, Contributions | None]
    ) -> dict[str, Measure | None]:
        """Each with its interval of 95 %."""
        return {name: self._measure(name, schedule, part) for name, part in parts.items()}

    def least(self, name: str, schedule: GuidanceSchedule, part: Contributions | None, candidates: int) -> float:
        """Lower end of an interval at the level that all candidates share; NaN where there is none."""
        found = self._measure(name, schedule, part, level=1 - ALPHA / candidates, resamples=_RESAMPLES)
        return math.nan if found is None else found.low

    def reading(self, schedule: GuidanceSchedule) -> Reading | None:
        """The line read at a schedule's mean shift; None for constant strengths, or where there is no line."""
        traits = self.traits[schedule]
        if isinstance(schedule, Constant) or traits.variance_ratio is None or traits.mean_shift is None:
            return None
        if len(self.knots) < 2:
            self.notes.add("gain: give a constant strength other than 0 to compare with", schedule)
            return None
        variance, shift = traits.variance_ratio, traits.mean_shift
        over = self.material.over
        reading = self.notes.tried("gain", schedule, lambda: line(self.knots, variance, shift, over=over))
        if reading is not None and reading.extended:
            self.notes.add("gain: the line of constant strengths is extended beyond its ends", schedule)
        return reading

    def _change(self, trait: str, schedule: GuidanceSchedule, current: GuidanceSchedule) -> Contributions | None:
        mine, theirs = (getattr(self.traits[s], trait) if s in self.traits else None for s in (schedule, current))
        return None if schedule == current or mine is None or theirs is None else mine.minus(theirs)

    def _measure(self, name: str, schedule: GuidanceSchedule, part: Contributions | None, **how: Any) -> Measure | None:
        if part is None:
            return None
        return self.notes.tried(name, schedule, lambda: measure_of(self.material, name, part, **how))

    def _read(self, schedule: GuidanceSchedule) -> Run:
        return self.material.read(schedule, self.notes, names=("total_variance", self.material.primary))

    def _traits(self, schedule: GuidanceSchedule, run: Run, reference: Run) -> Traits:
        def tried(name: str, call: Callable[[], Contributions]) -> Contributions | None:
            return self.notes.tried(name, schedule, call)

        calls, primary = between(run, reference), self.material.primary
        return Traits(
            variance_ratio=tried(
                "variance_ratio", ratio(run.joined("total_variance"), reference.joined("total_variance"))
            ),
            mean_shift=tried("mean_shift", calls["mean_shift"]),
            adherence=tried(primary, calls[primary]) if primary in calls else run.joined(primary),
        )
