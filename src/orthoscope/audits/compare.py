"""Schedules against constant strength at equal mean shift, and against the schedule in use, image by image."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import xarray as xr

from orthoscope.audits.contribute import Material, Notes, Run, Traits, between, ratio
from orthoscope.audits.line import Knot, Reading, line
from orthoscope.audits.measure import columns, labelled
from orthoscope.audits.plan import REFERENCE
from orthoscope.audits.resampling import Resampling, measures_of
from orthoscope.datasets import attribute
from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.schedules import Constant, GuidanceSchedule
from orthoscope.metrics import Contributions, Measure

ALPHA = 0.05
_RESAMPLES = 8000  # ends at the shared level are far out


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
    return Comparison(material=material, schedules=tuple(schedules), notes=Notes()).compared()


def compared(
    material: Material, ds: xr.Dataset, schedules: Sequence[GuidanceSchedule], *, current: GuidanceSchedule
) -> xr.Dataset:
    """A measured dataset with gains of variance and distance, and with changes from the schedule in use, added.

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
    parts = comparison.parts(current)
    measures = {name: comparison.measures(Resampling(name=name), of_name) for name, of_name in parts.items()}
    variables = columns("", [{name: found[schedule] for name, found in measures.items()} for schedule in schedules])
    for name in ("gain", "diversity_change"):
        how = Resampling(name=name, level=1 - ALPHA / candidates, resamples=_RESAMPLES)
        ends = comparison.measures(how, parts[name]).values()
        variables[f"{name}_least"] = (("schedule",), [math.nan if end is None else end.low for end in ends])
    grains = [traits.adherence.grain for traits in comparison.traits.values() if traits.adherence is not None]
    strengths = [comparison.equal_strength(schedule) for schedule in schedules]
    result = labelled(ds.assign(variables | {"equal_strength": (("schedule",), strengths)}))
    texts = [*attribute(ds, "notes", "[]"), *comparison.notes.texts]
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
        """What is compared, by schedule; the reference is among them. What was measured already is not read again."""
        wanted, known = dict.fromkeys((REFERENCE, *self.schedules)), self.material.traits
        if missing := [schedule for schedule in wanted if schedule not in known]:
            reference = self._read(REFERENCE)
            for schedule in missing:
                run = reference if schedule == REFERENCE else self._read(schedule)
                known[schedule] = self._traits(schedule, run, reference)
        return {schedule: known[schedule] for schedule in wanted}

    @cached_property
    def knots(self) -> list[Knot]:
        """The constant strengths that could be measured, in order of mean shift."""
        knots = [
            Knot(schedule.value, traits.variance_ratio, traits.mean_shift, traits.class_distance)
            for schedule, traits in self.traits.items()
            if isinstance(schedule, Constant) and traits.variance_ratio is not None and traits.mean_shift is not None
        ]
        return sorted(knots, key=lambda knot: knot.mean_shift.value)

    @cached_property
    def readings(self) -> dict[GuidanceSchedule, Reading | None]:
        """The line read at every schedule's mean shift; None for constant strengths, or where there is no line."""
        return {schedule: self._reading(schedule) for schedule in self.schedules}

    def equal_strength(self, schedule: GuidanceSchedule) -> float:
        """The constant strength of equal mean shift; NaN without a line."""
        reading = self.readings[schedule]
        return math.nan if reading is None else reading.equal_strength

    def compared(self) -> dict[GuidanceSchedule, Compared]:
        """Every schedule with its intervals."""
        names = {"variance_ratio": "variance_ratio", "mean_shift": "mean_shift", "adherence": self.material.primary}
        found = {
            trait: self.measures(Resampling(name=name), {s: getattr(self.traits[s], trait) for s in self.schedules})
            for trait, name in names.items()
        } | {"gain": self.measures(Resampling(name="gain"), self.gains)}
        return {
            schedule: Compared(
                **{name: measures[schedule] for name, measures in found.items()},
                equal_strength=self.equal_strength(schedule),
                extended=(reading := self.readings[schedule]) is not None and reading.extended,
            )
            for schedule in self.schedules
        }

    def parts(self, current: GuidanceSchedule) -> dict[str, dict[GuidanceSchedule, Contributions | None]]:
        """Contributions to the gain, and to changes from the schedule in use, by name and schedule."""
        changes = {"diversity_change": "variance_ratio", "adherence_change": "adherence"}
        far = {
            schedule: None if reading is None else reading.distance_gain for schedule, reading in self.readings.items()
        }
        return {"gain": self.gains, "distance_gain": far} | {
            name: {schedule: self._change(trait, schedule, current) for schedule in self.schedules}
            for name, trait in changes.items()
        }

    @property
    def gains(self) -> dict[GuidanceSchedule, Contributions | None]:
        """Contributions to the gain of every schedule."""
        return {schedule: None if reading is None else reading.gain for schedule, reading in self.readings.items()}

    def measures(
        self, how: Resampling, parts: Mapping[GuidanceSchedule, Contributions | None]
    ) -> dict[GuidanceSchedule, Measure | None]:
        """One measure of every schedule with its interval."""
        return measures_of(self.material, how, parts, self.notes)

    def _reading(self, schedule: GuidanceSchedule) -> Reading | None:
        traits = self.traits[schedule]
        if isinstance(schedule, Constant) or traits.variance_ratio is None or traits.mean_shift is None:
            return None
        if len(self.knots) < 2:
            self.notes.add("gain: give a constant strength other than 0 to compare with", schedule)
            return None
        variance, shift, far = traits.variance_ratio, traits.mean_shift, traits.class_distance
        over = self.material.over
        reading = self.notes.tried("gain", schedule, lambda: line(self.knots, variance, shift, far, over=over))
        if reading is not None and reading.extended:
            self.notes.add("gain: the line of constant strengths is extended beyond its ends", schedule)
        return reading

    def _change(self, trait: str, schedule: GuidanceSchedule, current: GuidanceSchedule) -> Contributions | None:
        mine, theirs = (getattr(self.traits[s], trait) if s in self.traits else None for s in (schedule, current))
        return None if schedule == current or mine is None or theirs is None else mine.minus(theirs)

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
