"""Is it my model or is it guidance? Networks of few and many real classes beside what their data imply.

Every network is audited beside three exact counterparts, on the same seeds: its data as modes, as Gaussian classes, and
as Gaussian classes against one Gaussian, an unconditional branch that does not know its classes. Schedules are compared
at equal mean shift, and with the distance from the class beside the variance: what strays far is no diversity. What the
unconditional branch knows is measured from the network alone, as `calibrate` does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import xarray as xr

from orthoscope.audits.plan import Audit
from orthoscope.audits.run import Session
from orthoscope.audits.studio import Studio
from orthoscope.audits.yardstick import Yardstick
from orthoscope.calibration import Calibration, calibrate
from orthoscope.checks import among, whole
from orthoscope.datasets import dataset, grid, stored
from orthoscope.guidance.grammar import format_schedule, parse_schedule
from orthoscope.integrations.features import LatentFeatures
from orthoscope.integrations.judge import ShippedJudge
from orthoscope.integrations.shipped import MODELS
from orthoscope.integrations.source import Source
from orthoscope.integrations.twin import LAWS, twin_of
from orthoscope.sweeps.points import HERE, Points

NETWORK = "network"
SOURCES = (NETWORK, *LAWS)
SCHEDULES = {
    name: parse_schedule(text)
    for name, text in {
        "constant 0": "0",
        "constant 1": "1",
        "constant 3": "3",
        "waiting": "step:early=0,late=3,switch=50%",
        "ending": "step:early=3,late=0,switch=50%",
        "turning": "step:early=3,late=-1,switch=60%",
        "turning late": "step:early=3,late=-1,switch=80%",
    }.items()
}
MEASURES = (
    "variance_ratio", "mean_shift", "gain", "class_posterior", "class_distance", "distance_gain", "distance_excess",
    "novelty", "far_share",
)  # fmt: skip
KNOWN = ("learned_fraction", "decided_nats", "decided_nats_exact")
SIGMAS = tuple(np.geomspace(0.1, 30, 16).round(3).tolist())  # noise at which learned fractions are listed
_TEXTS = [format_schedule(schedule) for schedule in SCHEDULES.values()]
_ENDS = ("", "_stderr", "_low", "_high")


@dataclass(frozen=True, slots=True, kw_only=True)
class GlyphStudy:
    """Audits of the models that ship, beside their exact counterparts.

    Attributes:
        models: Which of them.
        sources: Which of each network and its counterparts.
        classes: Classes of each that are asked for at most, spread evenly.
        images: Images of each class under every schedule.
        steps: Steps of the scheduler.
        knows: Whether it is measured what unconditional branches know.
        seed: Root seed.
    """

    name: str = field(default="glyphs", init=False)
    models: tuple[str, ...] = tuple(MODELS)
    sources: tuple[str, ...] = SOURCES
    classes: int = 16
    images: int = 12
    steps: int = 30
    knows: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject studies of nothing."""
        among("models", self.models, MODELS)
        among("sources", self.sources, SOURCES)
        for name, least in {"classes": 2, "images": 8, "steps": 4}.items():
            whole(name, getattr(self, name), least)

    @classmethod
    def quick(cls) -> GlyphStudy:
        """The digits and the thousand characters beside Gaussian classes, few images."""
        sources = (NETWORK, "classes", "gaussian")
        return cls(models=("digits", "glyphs"), sources=sources, classes=6, images=8, steps=12, knows=False)

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Audit every model and its counterparts; images stay in the run folder, and are not made again."""
        axes = {"model": self.models, "source": self.sources}
        ahead = len(self.models) if self.knows else 0
        rows = points.each(self._audit, list(product(*axes.values())), beside="audits", ahead=ahead)
        variables = grid(rows, axes)
        if self.knows:
            known = points.each(self._know, [(model,) for model in self.models])
            variables |= grid(known, {"model": self.models})
        coords = {**axes, "schedule": list(SCHEDULES), "sigma": SIGMAS}
        return dataset(variables, coords=coords, spec=self).assign_coords(text=("schedule", _TEXTS))

    def summarize(self, result: xr.Dataset) -> dict[str, Any]:
        """What each branch knows, and every measure of every schedule by source, by model."""
        return {
            str(model): (_knowledge(result.sel(model=model)) if self.knows else {})
            | {
                "sources": {
                    str(source): {
                        str(schedule): _numbers(result.sel(model=model, source=source, schedule=schedule))
                        for schedule in result["schedule"].values
                    }
                    for source in result["source"].values
                }
            }
            for model in result["model"].values
        }

    def _audit(self, model: str, source: str, folder: Path | None) -> dict[str, Any]:
        """One network, or one of its counterparts."""
        shipped = MODELS[model]
        host = Source(model=model, device="cpu", dtype="float32").host()
        if source != NETWORK:
            host = twin_of(host, law=source)  # type: ignore[arg-type]
        number = min(shipped.classes, self.classes)
        prompts = tuple(str(k * shipped.classes // number) for k in range(number))
        plan = Audit(
            prompts=prompts, schedules=tuple(SCHEDULES.values()),
            images_per_prompt=self.images, steps=self.steps, search=False, seed=self.seed,
        ).completed(host)  # fmt: skip
        studio = Studio(host=host, features=LatentFeatures(), judge=ShippedJudge.fitted(model))
        with TemporaryDirectory() as nowhere:
            out = Path(nowhere) if folder is None else folder / model / source
            session = Session(
                plan=plan, studio=studio, yardstick=Yardstick.of(plan, studio), out=out, is_alone=True
            )  # fmt: skip
            found = session.run().pipeline.sel(schedule=_TEXTS)
        names = ["equal_strength", *(f"{name}{end}" for name in MEASURES for end in _ENDS)]
        missing = np.full(len(SCHEDULES), np.nan)  # what so few images do not allow
        return {name: (["schedule"], np.asarray(found.get(name, missing))) for name in names}

    def _know(self, model: str) -> dict[str, Any]:
        """What the unconditional branch of a network knows, by the network alone."""
        plan = Calibration(model=model, seed=self.seed)
        one = calibrate(plan, Source(model=model, device="cpu", dtype="float32")).sel(source="pipeline")
        order = np.argsort(one["answer_time"].values)
        times = np.log(one["answer_time"].values[order])
        levels = np.where(one["competing"], one["learned_level"], np.nan)[order]
        return {name: stored(one, name)[0] for name in KNOWN} | {
            "learned_level": (["sigma"], np.interp(2 * np.log(SIGMAS), times, levels, left=np.nan, right=np.nan))
        }


def _knowledge(one: xr.Dataset) -> dict[str, Any]:
    """Learned fraction, over levels at which classes compete and by level, and nats claimed once all is decided."""
    levels = {f"{sigma:.3g}": float(one["learned_level"].sel(sigma=sigma)) for sigma in SIGMAS}
    return {name: stored(one, name)[0].as_numbers() for name in KNOWN} | {
        "learned_level": {sigma: value for sigma, value in levels.items() if np.isfinite(value)}
    }


def _numbers(one: xr.Dataset) -> dict[str, Any]:
    """Value and standard error by measure; None where a schedule has none, such as the gain of a constant strength."""
    known = [name for name in MEASURES if np.isfinite(float(one[name]))]
    return dict.fromkeys(MEASURES) | {name: stored(one, name)[0].as_numbers() for name in known}
