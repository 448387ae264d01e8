"""Cells of an audit in memory, from a Gaussian toy whose guidance is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from orthoscope.guidance.grammar import format_schedule, parse_schedule
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.rng import stream

Toy = Mapping[str, tuple[float, float]]  # by the canonical texts of schedules


def named(schedule: GuidanceSchedule | str) -> str:
    """The canonical text of a schedule."""
    return schedule if isinstance(schedule, str) else format_schedule(schedule)


def parsed(specs: Iterable[str]) -> list[GuidanceSchedule]:
    """Schedules of their texts."""
    return [parse_schedule(spec) for spec in specs]


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianCells:
    """Prompt p under a schedule: (1 + shift) center_p + spread (shared noise + a part of each schedule's own).

    Attributes:
        toy: Shift and spread of every schedule.
        prompts: The prompts.
        images: Images per prompt.
        dim: Features per image.
        apart: Standard deviation of the centers.
        own: Share of the noise's variance that schedules do not share.
        seed: Seed of everything.
        confidence: What a classifier gives the right class, by schedule; none without.
    """

    toy: Toy
    prompts: tuple[str, ...] = ("0", "1", "2", "3")
    images: int = 24
    dim: int = 6
    apart: float = 2.0
    own: float = 0.1
    seed: int = 0
    confidence: Mapping[str, float] = field(default_factory=dict)

    def center(self, prompt: str) -> NDArray[np.float64]:
        return self.apart * stream(0, "centers", prompt).standard_normal(self.dim)

    def features(self, schedule: GuidanceSchedule | str, prompt: str) -> NDArray[np.float32]:
        shift, spread = self.toy[named(schedule)]
        shape = (self.images, self.dim)
        shared = stream(self.seed, "shared", prompt).standard_normal(shape)
        own = stream(self.seed, "own", named(schedule), prompt).standard_normal(shape)
        noise = np.sqrt(1 - self.own) * shared + np.sqrt(self.own) * own
        return ((1 + shift) * self.center(prompt) + spread * noise).astype(np.float32)

    def probabilities(self, schedule: GuidanceSchedule | str, prompt: str) -> NDArray[np.float64] | None:
        if not self.confidence:
            return None
        classes = len(self.prompts)
        right = self.confidence[named(schedule)] + 0.02 * stream(self.seed, "judge", named(schedule), prompt).random(
            self.images
        )
        p = np.repeat((1 - right[:, None]) / (classes - 1), classes, axis=1)
        p[:, self.prompts.index(prompt)] = right
        return p

    def thumbnails(self, schedule: GuidanceSchedule | str, prompt: str) -> NDArray[np.uint8]:
        value = 10 * self.prompts.index(prompt) + list(self.toy).index(named(schedule))
        return np.full((self.images, 2, 3, 1), value, dtype=np.uint8)

    def log(self, schedule: GuidanceSchedule | str, prompt: str) -> dict[str, NDArray[np.float64]]:
        length = 3 + list(self.toy).index(named(schedule))
        return {"strength": np.full(length, float(self.prompts.index(prompt))), "sigma": np.full(length, np.nan)}

    def cost(self, schedule: GuidanceSchedule | str, prompt: str) -> dict[str, float]:
        return {"network_calls": 60.0 * self.images, "seconds": 0.5, "memory": 1e6 * (1 + self.prompts.index(prompt))}
