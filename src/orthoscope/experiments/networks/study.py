"""Law or network? Networks of many sizes and trainings learn random mixtures, one factor changed at a time.

Each is asked what its branches know, what guidance makes of its samples against those of the exact score on the same
noise, and by which branch. From the losses alone, the effective law foretells the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xarray as xr

from orthoscope.datasets import dataset, table
from orthoscope.errors import ConfigError
from orthoscope.experiments.networks.examination import Examination, examine
from orthoscope.experiments.networks.learner import Learner
from orthoscope.experiments.networks.summary import summarize
from orthoscope.sweeps.points import HERE, Points

FACTORS: tuple[tuple[str, tuple[float | None, ...]], ...] = (
    ("width", (16, 32, 128, 256, 512)),
    ("depth", (1, 4)),
    ("null_share", (0.1, 0.3, 0.5)),
    ("points", (10, 30, 100, 1000)),
    ("steps", (1000, 16000)),
    ("classes", (8, 32, 512, 1000)),
    ("dim", (24, 32)),
    ("std", (0.3, 0.7)),
)
WEIGHTS = "networks"  # in the run folder
SETTINGS = ("classes", "dim", "std", "width", "depth", "points", "null_share", "steps", "seed")


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedStudy:
    """Networks round a base, each factor changed by itself.

    Attributes:
        base: The network that is changed.
        factors: Names of its fields, each with the values that it takes beside that of the base.
        seeds: Networks of each kind; law, weights, points and noise are drawn anew for each.
        examination: What is asked of each.
        seed: Root seed.
    """

    name: str = field(default="learned", init=False)
    base: Learner = field(default_factory=Learner)
    factors: tuple[tuple[str, tuple[Any, ...]], ...] = FACTORS
    seeds: int = 3
    examination: Examination = field(default_factory=Examination)
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject factors that are no fields, and studies of nothing."""
        if self.seeds < 1:
            raise ConfigError(f"`seeds` must be at least 1, got {self.seeds}", field="seeds")
        self.kinds()

    @classmethod
    def quick(cls) -> LearnedStudy:
        """Three networks: of few classes, of some, and of more than the network can tell apart."""
        return cls(factors=(("classes", (8, 32)),), seeds=1)

    def kinds(self) -> list[Learner]:
        """One network of each kind, the base first."""
        changes: list[Mapping[str, Any]] = [{}, *({name: value} for name, values in self.factors for value in values)]
        if unknown := {name for one in changes for name in one} - set(SETTINGS):
            raise ConfigError(
                f"`factors` are fields of the network, {', '.join(SETTINGS[:-1])}; got {', '.join(sorted(unknown))}",
                field="factors",
            )
        return [self.base.but(**change) for change in changes]

    def learners(self) -> list[Learner]:
        """Every network."""
        return [kind.but(seed=self.seed + k) for k in range(self.seeds) for kind in self.kinds()]

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Train and examine every network; weights stay in the run folder, and are not trained again."""
        learners = self.learners()
        rows = points.each(self._network, [(learner,) for learner in learners], beside=WEIGHTS)
        settings = [{name: _field(learner, name) for name in SETTINGS} for learner in learners]
        coords = {"schedule": self.examination.schedules, "level": self.examination.times}
        told = [one | row for one, row in zip(settings, rows, strict=True)]
        names = [self._named(learner) for learner in learners]
        return dataset(table(told, "network"), coords=coords | {"network": names}, spec=self)

    def _network(self, learner: Learner, folder: Path | None) -> dict[str, Any]:
        """One network."""
        return examine(learner, self.examination, folder)

    def _named(self, learner: Learner) -> str:
        """What differs from the base."""
        own = {name: _field(learner, name) for name in SETTINGS[:-1]}
        changed = [f"{name}={value}" for name, value in own.items() if value != _field(self.base, name)]
        return f"{', '.join(changed) or 'base'}, seed {learner.seed}"

    def summarize(self, result: xr.Dataset) -> dict[str, Any]:
        """What was found, in a few numbers and by network."""
        return summarize(result)


def _field(learner: Learner, name: str) -> Any:
    return getattr(learner.training if name in ("null_share", "steps", "seed") else learner, name)
