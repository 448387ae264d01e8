"""Rules and schedules as users write them, in a module where texts and files find them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from orthoscope.guidance.rules import Rule
from orthoscope.guidance.schedules import GuidanceSchedule


def straight(x: Any, level: Any, predictions: Any, w: Any) -> Any:
    return (1 + w) * predictions["cond"] - w * predictions["uncond"]


def bent(x: Any, level: Any, predictions: Any, w: Any) -> Any:
    gap = predictions["cond"] - predictions["uncond"]
    return predictions["cond"] + w * gap * gap.abs()


@dataclass(frozen=True)
class Inert:
    """An object with settings and a memory, that says itself where it acts."""

    eta: float = 0.5
    turns: int = 2
    space: str = "noise"

    def __call__(self, x: Any, level: Any, predictions: Any, w: Any, memory: Any) -> tuple[Any, Any]:
        gap = predictions["cond"] - predictions["uncond"]
        kept = gap if memory is None else gap + self.eta * memory
        return predictions["cond"] + w * kept, kept


class Plain:
    """An object without settings."""

    is_linear = True

    def __call__(self, x: Any, level: Any, predictions: Any, w: Any) -> Any:
        return straight(x, level, predictions, w)


@dataclass(frozen=True)
class Proper(Rule):
    """A rule of the package's own kind."""

    eta: float = 0.5
    name: ClassVar[str] = "proper"

    def __call__(self, x: Any, level: Any, predictions: Any, w: Any, memory: Any) -> tuple[Any, Any]:
        return predictions["cond"] + self.eta * w * (predictions["cond"] - predictions["uncond"]), None


def fading(level: Any) -> Any:
    return 3 / (1 + level.sigma)


def stepped(level: Any) -> float:
    return 3.0 if level.time > 1 else -1.0  # cannot take an array


def counted(level: Any) -> float:
    return 3.0 if level.step / level.steps < 0.5 else 0.0


@dataclass(frozen=True)
class Decay:
    rate: float = 1.0

    def __call__(self, level: Any) -> Any:
        return self.rate / (1 + level.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sloped(GuidanceSchedule):
    """A schedule of the package's own kind."""

    height: float

    def _strength(self, at: Any, noisiness: Any) -> Any:
        return self.height * at / (1 + at)

    def _jumps(self) -> tuple[float, ...]:
        return ()

    def limit(self) -> float | None:
        return self.height
