"""Several schedules in one batch: equal shares of the rows follow one each, so that all share one read of the modes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from orthoscope.guidance.schedules import Clock, Constant, GuidanceSchedule
from orthoscope.process import NoiseLevel


@runtime_checkable
class Strength(Protocol):
    """What a guided denoiser asks for the strength: a schedule, or several by row."""

    @property
    def clock(self) -> Clock:
        """What noise level is measured in."""
        ...

    def strength(self, level: NoiseLevel) -> float | NDArray[np.float64]:
        """The strength at a noise level: a number, or one per row."""
        ...


@dataclass(frozen=True, slots=True)
class ByRow:
    """Schedules of a batch, whose rows come schedule by schedule.

    Attributes:
        schedules: One for each share of the rows.
        rows: Rows of each share.
    """

    schedules: tuple[GuidanceSchedule, ...]
    rows: int = 1

    @property
    def clock(self) -> Clock:
        """The clock of the first."""
        return self.schedules[0].clock

    def strength(self, level: NoiseLevel) -> NDArray[np.float64]:
        """One strength per row."""
        return np.repeat([_strength(schedule, level) for schedule in self.schedules], self.rows)


def _strength(schedule: GuidanceSchedule, level: NoiseLevel) -> float:
    """One schedule's strength; there may be hundreds of constants, of which nothing is to be asked."""
    return schedule.value if type(schedule) is Constant else float(schedule.strength(level))
