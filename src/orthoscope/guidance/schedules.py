r"""Guidance schedules: the strength $w$ as a function of the noise level, and of nothing else.

Strength 0 is the plain conditional model, -1 the unconditional one; pipelines speak of the scale 1 + w. A schedule
reads one clock:

- `variance`: variance time $t$, the variance added to the data (default),
- `sigma`: $\sqrt t$,
- `logsnr`: $-\log t$, which grows towards the data,
- `step`: step index / number of steps, 0 at the noise side.

"Early" is always the noise side, where a run starts. A level on a jump belongs to the step that starts there, so it has
the strength of the data side. What depends on the state belongs in a rule, not here.
"""

from __future__ import annotations

import itertools
import numbers
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthoscope import registered
from orthoscope.checks import real
from orthoscope.errors import ConfigError, unknown
from orthoscope.guidance.specs import spec_of
from orthoscope.process import NoiseLevel
from orthoscope.sources import code_of

Clock = Literal["variance", "sigma", "logsnr", "step"]
CLOCKS: tuple[Clock, ...] = ("variance", "sigma", "logsnr", "step")


def _coordinate(level: NoiseLevel, clock: Clock) -> NDArray[np.float64]:
    time = np.asarray(level.time, dtype=np.float64)
    match clock:
        case "variance":
            return time
        case "sigma":
            return np.asarray(np.sqrt(time))
        case "logsnr":
            # The noise side of clean data, a subnormal number, is clean data too.
            with np.errstate(divide="ignore"):
                return np.asarray(-np.log(np.where(time < np.finfo(np.float64).tiny, 0.0, time)))
        case "step":
            if level.step is None or level.steps is None:
                raise ConfigError("a schedule with clock=step needs a run with a known number of steps; give `steps`")
            return np.asarray(level.step / level.steps)


def _noisiness(position: ArrayLike, clock: Clock) -> NDArray[np.float64]:
    """What grows towards the noise side whatever the clock: the variance time, or minus the share of steps.

    Sides of a jump are told apart here and not on the clock, whose roots and logarithms round.
    """
    at = np.asarray(position, dtype=np.float64)
    match clock:
        case "variance":
            return at
        case "sigma":
            return np.asarray(at**2)
        case "logsnr":
            with np.errstate(over="ignore"):
                return np.asarray(np.exp(-at))
        case "step":
            return np.asarray(-at)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidanceSchedule(ABC):
    """Guidance strength over noise level.

    Attributes:
        clock: What the schedule's numbers mean, see the module's head.
    """

    clock: Clock = "variance"
    _knots: ClassVar[tuple[str, ...]] = ()  # fields that hold positions on the clock
    _rates: ClassVar[tuple[str, ...]] = ()  # fields that hold strengths per unit of the clock
    _tables: ClassVar[tuple[str, ...]] = ()  # fields that hold several numbers

    def __post_init__(self) -> None:
        """Reject numbers that are not finite and clocks that do not exist."""
        if self.clock not in CLOCKS:
            raise unknown("clock", str(self.clock), CLOCKS)
        for field in fields(self):
            if field.name != "clock":
                value = self._numbers(field.name, getattr(self, field.name))
                self._check(field.name, value)
                object.__setattr__(self, field.name, value if field.name in self._tables else value[0])

    def _numbers(self, name: str, value: Any) -> tuple[float, ...]:
        # Also what makes 3 and 3.0 one schedule with one content hash.
        several = name in self._tables
        parts = value if several and isinstance(value, Sequence | np.ndarray) else (value,)
        if isinstance(value, str) or not all(isinstance(p, numbers.Real) and not isinstance(p, bool) for p in parts):
            what = "a list of numbers" if several else "a number"
            raise ConfigError(f"{type(self).__name__}: {name} must be {what}, got {value!r}")
        return tuple(real(name, part) for part in parts)

    def _check(self, name: str, value: Sequence[float]) -> None:
        array, shown = np.asarray(value), ", ".join(map(str, value))
        if not np.isfinite(array).all():
            raise ConfigError(f"{type(self).__name__}: {name} must be finite, got {shown}")
        if name in self._knots and self.clock != "logsnr" and (array < 0).any():
            raise ConfigError(f"{type(self).__name__}: {name} is a noise level and must be >= 0, got {shown}")
        if name in self._knots and self.clock == "step" and (array > 1).any():
            raise ConfigError(f"{type(self).__name__}: {name} is a share of the steps and must be <= 1, got {shown}")

    @abstractmethod
    def _strength(self, at: NDArray[np.float64], noisiness: NDArray[np.float64]) -> NDArray[np.float64]:
        """Strength at positions on the schedule's own clock, given also as `_noisiness`."""

    @abstractmethod
    def _jumps(self) -> tuple[float, ...]:
        """Positions on the schedule's own clock at which it jumps or bends."""

    @abstractmethod
    def limit(self) -> float | None:
        """Strength at infinite noise, None if it has none: then a run must start at a finite time."""

    @property
    def graded(self) -> bool:
        """Whether strengths may not be smooth at clean data, as on any clock but variance time."""
        return self.clock != "variance"

    def to_spec(self) -> dict[str, Any]:
        """What stands in a file."""
        return spec_of(self, registered.SCHEDULES)

    def identity(self) -> str | None:
        """A fingerprint of its code, if that is not the package's; beside the settings it determines results."""
        return code_of(type(self))

    def strength(self, level: NoiseLevel) -> float | NDArray[np.float64]:
        """The strength w at a noise level: a number, or one per row.

        Raises:
            ConfigError: if the clock is `step` and the level belongs to no run.
        """
        if registered.is_own(type(self)):  # may change the times in place
            level = level.copied()
        at = _coordinate(level, self.clock)
        noisiness = _noisiness(at, "step") if self.clock == "step" else np.asarray(level.time, dtype=np.float64)
        value = self._strength(at, noisiness)
        return float(value) if value.ndim == 0 else value

    def at_time(self, time: ArrayLike) -> NDArray[np.float64]:
        """The strength w at variance times."""
        return np.asarray(self.strength(NoiseLevel(time=np.asarray(time, dtype=np.float64))))

    def switches(self) -> tuple[float, ...]:
        """Variance times, descending, between which the strength is smooth in time."""
        if self.clock == "step" and self._jumps():
            raise ConfigError("a schedule with clock=step has no times before it meets a grid; resolve it first")
        return tuple(sorted({float(time) for time in _noisiness(self._jumps(), self.clock)}, reverse=True))

    def resolved(self, times: Sequence[float]) -> GuidanceSchedule:
        """The same strengths in the variance clock, once the grid of a run is known.

        Args:
            times: Variance times of the run, descending, one more than there are steps.
        """
        if self.clock != "step":
            return self
        steps = len(times) - 1
        w = [float(self._strength(np.asarray(k / steps), np.asarray(-k / steps))) for k in range(steps)]
        # Each step holds its strength from its first time down to its last; equal knots are jumps.
        knots = [t for k in range(steps) for t in (times[k], times[k + 1])]
        return Tabulated(at=tuple(knots[::-1]), strengths=tuple(value for v in w for value in (v, v))[::-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant(GuidanceSchedule):
    """The same strength at every noise level."""

    value: float

    def _strength(self, at: NDArray[np.float64], noisiness: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.full(at.shape, self.value)

    def _jumps(self) -> tuple[float, ...]:
        return ()

    def limit(self) -> float | None:
        """The constant."""
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear(GuidanceSchedule):
    """w0 + slope * clock: with w0 < 0 < slope a window, positive early and negative late.

    Source:
        [ventura2026emergence], the linear window w(t) = w0 + omega t.
    """

    w0: float
    slope: float
    _rates: ClassVar[tuple[str, ...]] = ("slope",)

    def _strength(self, at: NDArray[np.float64], noisiness: NDArray[np.float64]) -> NDArray[np.float64]:
        # A zero slope times the infinite logsnr of clean data must stay zero.
        return np.asarray(self.w0 + (self.slope * at if self.slope else np.zeros(at.shape)))

    def _jumps(self) -> tuple[float, ...]:
        return ()

    def limit(self) -> float | None:
        """w0 if the slope is zero, else none."""
        return self.w0 if self.slope == 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(GuidanceSchedule):
    """`early` on the noise side of `switch`, `late` from there on."""

    early: float
    late: float
    switch: float
    _knots: ClassVar[tuple[str, ...]] = ("switch",)

    def _strength(self, at: NDArray[np.float64], noisiness: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(noisiness > _noisiness(self.switch, self.clock), self.early, self.late)

    def _jumps(self) -> tuple[float, ...]:
        return (self.switch,)

    def limit(self) -> float | None:
        """The early strength."""
        return self.early


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval(GuidanceSchedule):
    """`inside` between two noise levels and `outside` (default 0: plain conditional) elsewhere.

    Source:
        [kynkaanniemi2024applying], guidance in a limited interval of noise levels.
    """

    inside: float
    low: float
    high: float
    outside: float = 0.0
    _knots: ClassVar[tuple[str, ...]] = ("low", "high")

    def __post_init__(self) -> None:
        """Also reject an empty interval."""
        GuidanceSchedule.__post_init__(self)
        if not self.low < self.high:
            raise ConfigError(f"Interval: low must be below high, got low={self.low}, high={self.high}")

    def _strength(self, at: NDArray[np.float64], noisiness: NDArray[np.float64]) -> NDArray[np.float64]:
        late, early = sorted(_noisiness((self.low, self.high), self.clock))
        return np.where((late < noisiness) & (noisiness <= early), self.inside, self.outside)

    def _jumps(self) -> tuple[float, ...]:
        return (self.low, self.high)

    def limit(self) -> float | None:
        """The strength outside."""
        return self.outside


@dataclass(frozen=True, slots=True, kw_only=True)
class Tabulated(GuidanceSchedule):
    """Straight lines between tabulated points, constant beyond them; two points at one position are a jump.

    Attributes:
        at: Positions on the clock, ascending.
        strengths: The strength at each.
    """

    at: tuple[float, ...]
    strengths: tuple[float, ...]
    _knots: ClassVar[tuple[str, ...]] = ("at",)
    _tables: ClassVar[tuple[str, ...]] = ("at", "strengths")

    def __post_init__(self) -> None:
        """Also reject tables that are empty, ragged or out of order."""
        GuidanceSchedule.__post_init__(self)
        if len(self.at) != len(self.strengths) or not self.at:
            raise ConfigError(
                "Tabulated: at and strengths must be equally long and not empty, "
                f"got {len(self.at)} and {len(self.strengths)}"
            )
        if any(b < a for a, b in itertools.pairwise(self.at)):
            raise ConfigError("Tabulated: at must be ascending")

    def _strength(self, at: NDArray[np.float64], noisiness: NDArray[np.float64]) -> NDArray[np.float64]:
        order = slice(None, None, -1 if self.clock in ("logsnr", "step") else 1)  # ascending in noise
        knots, values = np.asarray(self.at)[order], np.asarray(self.strengths)[order]
        right = np.searchsorted(_noisiness(knots, self.clock), noisiness).clip(0, len(knots) - 1)
        left = np.maximum(right - 1, 0)
        span = knots[right] - knots[left]
        share = np.where(span != 0, (at - knots[left]) / np.where(span != 0, span, 1), 1.0).clip(0, 1)
        between = values[left] + share * (values[right] - values[left])
        return np.where(share < 1, between, values[right])  # exact at both ends

    def _jumps(self) -> tuple[float, ...]:
        return self.at

    def limit(self) -> float | None:
        """The strength at the noisiest tabulated point."""
        return self.strengths[0] if self.clock in ("logsnr", "step") else self.strengths[-1]


SCHEDULES: dict[str, type[GuidanceSchedule]] = {
    cls.__name__: cls for cls in (Constant, Linear, Step, Interval, Tabulated)
}
