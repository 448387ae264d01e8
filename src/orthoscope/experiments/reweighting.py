"""Both forecasters, a surrogate and weighted paths, beside many images of other seeds, where a scheduler draws noise.

The surrogate is surer with few images and has an error of its own; weights have none and need many. Forecasts from few
and from more images are held against what the pipeline makes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from orthoscope import metrics, rng
from orthoscope.checks import among, whole
from orthoscope.datasets import dataset, grid
from orthoscope.errors import ConfigError
from orthoscope.experiments.forecasts import SOURCES, opened, spread
from orthoscope.forecasts.forecaster import LEVEL, QUANTITIES, REACH, Forecaster, contributions, threads_of
from orthoscope.forecasts.pairs import PairRecorder, Pairs
from orthoscope.forecasts.plan import REFERENCE, Forecast, usual
from orthoscope.forecasts.run import labelled
from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.integrations.batches import Batches
from orthoscope.integrations.host import Host
from orthoscope.integrations.shipped import MODELS
from orthoscope.metrics import Measure
from orthoscope.numerics import Array
from orthoscope.sweeps.points import HERE, Points

FORECASTERS = ("surrogate", "reweighted")
_STRENGTH = 3.0
_ASKED = (0, 1, 3, 6, 8, 10, 13, 15, 19, 21, 22, 25, 27, 28)  # of the usual schedules: those of every shape


@dataclass(frozen=True, slots=True, kw_only=True)
class ReweightingStudy:
    """Models that ship, and their exact counterparts, with a scheduler that draws noise.

    How many images have to count was set on the digits; the characters test it.

    Attributes:
        models: Which of them.
        sources: The network, its exact counterpart, or both.
        images: Images of each class that are recorded at every strength.
        asked: Which of the usual thirty schedules, by their number.
        classes: Classes that are asked for, spread evenly.
        audited: Images of each class, of other seeds, that are made under every schedule.
        steps: Steps of the scheduler.
        scheduler: Class of diffusers that draws noise.
        seed: Root seed.
    """

    name: str = field(default="reweighting", init=False)
    models: tuple[str, ...] = ("digits", "glyphs-10")
    sources: tuple[str, ...] = SOURCES
    images: tuple[int, ...] = (10, 40)
    asked: tuple[int, ...] = _ASKED
    classes: int = 6
    audited: int = 48
    steps: int = 20
    scheduler: str = "EulerAncestralDiscreteScheduler"
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject studies of nothing."""
        among("models", self.models, MODELS)
        among("sources", self.sources, SOURCES)
        for name, least in {"classes": 2, "audited": 8, "steps": 4}.items():
            whole(name, getattr(self, name), least)
        if not self.asked or not set(self.asked) <= set(range(len(usual(_STRENGTH)))):
            raise ConfigError(f"`asked` are numbers of the usual schedules, 0 to 29, got {list(self.asked)}")

    @classmethod
    def quick(cls) -> ReweightingStudy:
        """The exact counterpart alone, under three schedules."""
        return cls(
            models=("digits",), sources=("exact",), images=(8,), asked=(1, 10, 15), classes=3, audited=8, steps=8
        )

    @property
    def schedules(self) -> tuple[GuidanceSchedule, ...]:
        """What is forecast and made."""
        every = usual(_STRENGTH)
        return tuple(every[k] for k in self.asked)

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Forecast from every number of images, and make what was forecast."""
        pipelines = {"model": self.models, "source": self.sources}
        axes = {**pipelines, "images": self.images}
        truths = points.each(self._truth, list(product(*pipelines.values())), beside="truths")
        rows = points.each(self._forecast, list(product(*axes.values())), beside="forecasts")
        coords = {**axes, "schedule": [format_schedule(schedule) for schedule in self.schedules]}
        known = dataset(grid(truths, pipelines), coords=coords, spec=self)
        return known.merge(dataset(grid(rows, axes), coords=coords, spec=self), combine_attrs="override")

    def summarize(self, result: xr.Dataset) -> dict[str, Any]:
        """How far each forecaster is off, by model, source and number of images."""
        return {
            f"{model}, {source}, {images} images": judged(result.sel(model=model, source=source, images=images))
            for model, source, images in product(self.models, self.sources, self.images)
        }

    def _plan(self, host: Host, model: str, images: int, seed: int) -> Forecast:
        return Forecast(
            model=model, prompts=spread(model, self.classes), schedules=self.schedules, strength=_STRENGTH,
            images_per_prompt=images, steps=self.steps, scheduler=self.scheduler, seed=seed,
        ).completed(host)  # fmt: skip

    def _forecast(self, model: str, source: str, images: int, folder: Path | None) -> dict[str, Any]:
        """What both forecasters say."""
        host = opened(model, source, self.scheduler)
        forecaster = Forecaster.of(self._plan(host, model, images, self.seed), host)
        found = labelled(forecaster, [forecaster.foresee(schedule) for schedule in self.schedules])
        names = [f"{name}_{one}{end}" for name in QUANTITIES for one in FORECASTERS for end in ("", "_stderr")]
        rows = {name: (["schedule"], found[name].values) for name in (*names, "effective", "reached")}
        trusted = {name: (found[f"{name}_by"].values == "reweighted").astype(float) for name in QUANTITIES}
        return rows | {f"{name}_by_weights": (["schedule"], shares) for name, shares in trusted.items()}

    def _truth(self, model: str, source: str, folder: Path | None) -> dict[str, Any]:
        """What the pipeline makes of other seeds."""
        host = opened(model, source, self.scheduler)
        plan = self._plan(host, model, self.audited, self.seed + 1)
        recorder = PairRecorder(host=host, plan=plan, batches=Batches(remark=lambda text: None))
        groups = np.repeat(np.arange(len(plan.prompts)), plan.images_per_prompt)
        with threads_of(host):
            plain = recorder.record(REFERENCE)
            rows = [_measured(recorder.record(schedule), plain, groups) for schedule in self.schedules]
        return {
            f"{name}_true{end}": (["schedule"], [getattr(row[name], part) for row in rows])
            for name in QUANTITIES
            for end, part in (("", "value"), ("_stderr", "stderr"))
        }


def _measured(run: Pairs, plain: Pairs, groups: NDArray[np.int64]) -> dict[str, Measure]:
    """Both quantities of one run beside strength 0."""
    parts = contributions(run.final, metrics.variance_within(run.final, groups), plain.final, groups)
    stream = rng.stream(0, "reweighting", "resample")
    return {name: part.measure(stream, over="images", level=LEVEL) for name, part in parts.items()}


def judged(one: xr.Dataset) -> dict[str, Any]:
    """Both forecasters, and what is trusted of them, over the schedules."""
    found: dict[str, Any] = {name: float(one[name].median()) for name in ("effective", "reached")}
    for name in QUANTITIES:
        said = {
            forecaster: np.stack([one[f"{name}_{forecaster}{end}"].values for end in ("", "_stderr")])
            for forecaster in FORECASTERS
        }
        by_weights = one[f"{name}_by_weights"].values > 0
        said["trusted"] = np.where(by_weights, said["reweighted"], said["surrogate"])
        truth = np.stack([one[f"{name}_true{end}"].values for end in ("", "_stderr")])
        found[name] = {"by weights": float(by_weights.mean()), **{who: _off(told, truth) for who, told in said.items()}}
    return found


def _off(told: Array, truth: Array) -> dict[str, float]:
    """How far one forecaster is off, and how far it says that it may be; values and errors (2, schedules)."""
    told, truth = (one[:, np.isfinite(told[0])] for one in (told, truth))
    off = told[0] - truth[0]
    return {
        "rms error": float(np.sqrt(np.mean(off**2))),
        "rms stderr": float(np.sqrt(np.mean(told[1] ** 2))),
        f"coverage of {LEVEL:.0%} intervals": float(np.mean(np.abs(off) <= REACH * np.hypot(told[1], truth[1]))),
        "schedules": len(off),
    }
