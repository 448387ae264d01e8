"""Measures with their intervals, of all schedules at once: resamples come from a stream of the measure's own name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from orthoscope import rng
from orthoscope.audits.contribute import Material, Notes
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.metrics import Contributions, Measure
from orthoscope.metrics.bootstrap import intervals
from orthoscope.metrics.contributions import Over


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """How the intervals of one measure are found.

    Attributes:
        name: The measure.
        prompt: The prompt, if it is of one alone.
        over: What is a random draw; None for what the material says.
        level: Coverage of the intervals.
        resamples: Number of resamples.
    """

    name: str
    prompt: str | None = None
    over: Over | None = None
    level: float = 0.95
    resamples: int = 1000

    @property
    def told(self) -> str:
        """The measure in notes."""
        return self.name if self.prompt is None else f"{self.name} by prompt"

    def stream(self, seed: int) -> np.random.Generator:
        """The random stream, the same for every schedule."""
        return rng.stream(seed, "audit", "resample", self.name, *([] if self.prompt is None else [self.prompt]))


def measures_of(
    material: Material, how: Resampling, parts: Mapping[GuidanceSchedule, Contributions | None], notes: Notes
) -> dict[GuidanceSchedule, Measure | None]:
    """The measure of every schedule with its interval; None, and a note, where the images do not allow it.

    All schedules get the same resamples, drawn once; a schedule's numbers are those that it would have alone.
    """
    over = how.over or material.over
    known = {schedule: part for schedule, part in parts.items() if part is not None}
    tried = {schedule: notes.tried(how.told, schedule, partial(part.sample, over)) for schedule, part in known.items()}
    samples = {schedule: sample for schedule, sample in tried.items() if sample is not None}
    found: dict[GuidanceSchedule, Measure | None] = dict.fromkeys(parts)
    for sizes in dict.fromkeys(sample.sizes for sample in samples.values()):
        alike = {schedule: sample for schedule, sample in samples.items() if sample.sizes == sizes}
        stream = how.stream(material.seed)
        found |= zip(alike, intervals([*alike.values()], stream, level=how.level, resamples=how.resamples), strict=True)
    return found
