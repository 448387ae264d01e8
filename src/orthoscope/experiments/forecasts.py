"""Forecasts of schedules beside audits of the same schedules on other seeds, of networks and of their counterparts.

What a forecast takes as its own error was set on the digits and their exact counterpart; the characters test it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import xarray as xr
from scipy.stats import spearmanr

from orthoscope.audits.plan import Audit
from orthoscope.audits.run import Session
from orthoscope.audits.studio import Studio
from orthoscope.audits.yardstick import Yardstick
from orthoscope.checks import among, whole
from orthoscope.datasets import dataset, grid
from orthoscope.forecasts.forecaster import LEVEL, QUANTITIES, REACH, Forecaster, threads_of
from orthoscope.forecasts.plan import Forecast, usual
from orthoscope.forecasts.propose import propose
from orthoscope.forecasts.run import FOLDER, labelled
from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.integrations.features import LatentFeatures
from orthoscope.integrations.host import Host
from orthoscope.integrations.shipped import MODELS
from orthoscope.integrations.source import Source
from orthoscope.integrations.twin import twin_of
from orthoscope.numerics import Array
from orthoscope.sweeps.cells import Cells
from orthoscope.sweeps.points import HERE, Points

SOURCES = ("network", "exact")
_STRENGTH = 3.0
_TIE = 0.003  # audited differences that count as none
_QUICK = (0, 2, 4, 9, 14, 19, 22, 25)  # of the usual schedules


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastStudy:
    """Forecasts and audits of the models that ship, and of their exact counterparts.

    Attributes:
        models: Which of them.
        sources: The network, its exact counterpart, or both.
        is_quick: Whether some of the thirty schedules will do.
        classes: Classes of each model that are asked for at most, spread evenly.
        images: Images of each class that are recorded at every strength.
        audited: Images of each class that the audit makes under every schedule.
        steps: Steps of the scheduler.
        floor: Variance ratio that the proposed schedule has to keep.
        seed: Root seed.
    """

    name: str = field(default="forecast", init=False)
    models: tuple[str, ...] = ("digits", "glyphs-10", "glyphs")
    sources: tuple[str, ...] = SOURCES
    is_quick: bool = False
    classes: int = 6
    images: int = 10
    audited: int = 12
    steps: int = 20
    floor: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject studies of nothing."""
        among("models", self.models, MODELS)
        among("sources", self.sources, SOURCES)
        for name, least in {"classes": 2, "images": 4, "audited": 8, "steps": 4}.items():
            whole(name, getattr(self, name), least)

    @classmethod
    def quick(cls) -> ForecastStudy:
        """The digits and their exact counterpart under eight schedules."""
        return cls(models=("digits",), is_quick=True, classes=3, images=8, audited=12, steps=10)

    @property
    def schedules(self) -> tuple[GuidanceSchedule, ...]:
        """What is forecast and audited."""
        every = usual(_STRENGTH)
        return tuple(every[k] for k in _QUICK) if self.is_quick else every

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Forecast and audit every pipeline; what was recorded and made stays in the run folder."""
        axes = {"model": self.models, "source": self.sources}
        rows = points.each(self._pipeline, list(product(*axes.values())), beside="pipelines")
        coords = {**axes, "schedule": [format_schedule(schedule) for schedule in self.schedules]}
        return dataset(grid(rows, axes), coords=coords, spec=self)

    def summarize(self, result: xr.Dataset) -> dict[str, Any]:
        """How well each pipeline was forecast, by model and source."""
        return {
            f"{model}, {source}": judged(result.sel(model=model, source=source))
            for model, source in product(self.models, self.sources)
        }

    def _pipeline(self, model: str, source: str, folder: Path | None) -> dict[str, Any]:
        """One network, or its counterpart."""
        host, prompts = opened(model, source), spread(model, self.classes)
        plan = Forecast(
            model=model, prompts=prompts, schedules=self.schedules, strength=_STRENGTH, images_per_prompt=self.images,
            steps=self.steps, seed=self.seed,
        ).completed(host)  # fmt: skip
        with TemporaryDirectory() as nowhere:
            out = Path(nowhere) if folder is None else folder / model / source
            forecaster = Forecaster.of(plan, host, cells=Cells(out / FOLDER))
            found = labelled(forecaster, [forecaster.foresee(schedule) for schedule in self.schedules])
            best = propose(forecaster, self.floor)
            audit = self._audit(host, model, prompts, [*self.schedules, best.best.schedule], out)
        row: dict[str, Any] = {"calls": float(forecaster.calls), "audit_calls": float(audit["network_calls"].sum())}
        texts = [format_schedule(schedule) for schedule in self.schedules]
        proposed = audit.sel(schedule=format_schedule(best.best.schedule))
        for name in QUANTITIES:
            for end in ("", "_low", "_high"):
                row[f"{name}{end}"] = (["schedule"], found[f"{name}{end}"].values)
            for end in ("", "_stderr"):
                row[f"{name}_audited{end}"] = (["schedule"], audit[f"{name}{end}"].sel(schedule=texts).values)
                row[f"proposed_{name}_audited{end}"] = float(proposed[f"{name}{end}"])
            row[f"proposed_{name}"] = best.best.measures[name].value
            row[f"constant_{name}"] = best.constant.measures[name].value if best.constant else np.nan
        rest = {name: (["schedule"], found[name].values) for name in ("distance", "outside")}
        return row | rest | {"proposed": format_schedule(best.best.schedule)}

    def _audit(
        self, host: Host, model: str, prompts: tuple[str, ...], schedules: Sequence[GuidanceSchedule], out: Path
    ) -> xr.Dataset:
        """The same schedules by images of other seeds."""
        plan = Audit(
            prompts=prompts, schedules=tuple(dict.fromkeys(schedules)), images_per_prompt=self.audited,
            steps=self.steps, search=False, match=False, seed=self.seed,
        ).completed(host)  # fmt: skip
        studio = Studio(host=host, features=LatentFeatures())
        with threads_of(host):
            session = Session(
                plan=plan, studio=studio, yardstick=Yardstick.of(plan, studio), out=out, is_alone=True
            )  # fmt: skip
            return session.run().pipeline


def opened(model: str, source: str, scheduler: str | None = None) -> Host:
    """A network that ships, or its exact counterpart."""
    host = Source(model=model, device="cpu", dtype="float32", scheduler=scheduler).host()
    return twin_of(host) if source == "exact" else host


def spread(model: str, number: int) -> tuple[str, ...]:
    """Classes of a model, spread evenly: all of them where there are fewer."""
    known = MODELS[model].classes
    number = min(known, number)
    return tuple(str(k * known // number) for k in range(number))


def judged(one: xr.Dataset) -> dict[str, Any]:
    """How well one pipeline was forecast: by quantity, and what it took."""
    found: dict[str, Any] = {name: _judged(one, name) for name in QUANTITIES}
    calls = {name: int(one[name]) for name in ("calls", "audit_calls")}
    proposed = {"schedule": str(one["proposed"].values)} | {
        name: {
            "forecast": float(one[f"proposed_{name}"]),
            "audited": float(one[f"proposed_{name}_audited"]),
            "stderr": float(one[f"proposed_{name}_audited_stderr"]),
            "best constant": float(one[f"constant_{name}"]),
        }
        for name in QUANTITIES
    }
    return found | {"cost": calls, "proposed": proposed}


def _judged(one: xr.Dataset, name: str) -> dict[str, float]:
    """Rank correlation, slope, error, coverage and ties of one quantity, over schedules."""
    value, truth = one[name].values, one[f"{name}_audited"].values
    error = truth - value
    half = np.where(error > 0, one[f"{name}_high"].values - value, value - one[f"{name}_low"].values)
    reach = np.hypot(half, REACH * one[f"{name}_audited_stderr"].values)
    tied = _ties(one)
    return {
        "rank correlation": float(spearmanr(value, truth)[0]),
        "pairs in order": _in_order(value, truth, one[f"{name}_audited_stderr"].values),
        "slope": float(np.polyfit(value, truth, 1)[0]),
        "rms error": float(np.sqrt(np.mean(error**2))),
        "spread": float(truth.std()),
        f"coverage of {LEVEL:.0%} intervals": float(np.mean(np.abs(error) <= reach)),
        "half interval": float(np.median(half)),
        "ties": float(len(tied)),
        "largest difference of ties": float(max((abs(value[a] - value[b]) for a, b in tied), default=np.nan)),
    }


def _in_order(value: Array, truth: Array, stderr: Array) -> float:
    """Share of the pairs of schedules that differ beyond the audit's error which are forecast in their order."""
    pairs = np.array(list(combinations(range(len(value)), 2))).T
    ahead, known = (one[pairs[0]] - one[pairs[1]] for one in (value, truth))
    differs = np.abs(known) > REACH * np.hypot(stderr[pairs[0]], stderr[pairs[1]])
    return float(np.mean((ahead * known > 0)[differs])) if differs.any() else np.nan


def _ties(one: xr.Dataset) -> list[tuple[int, int]]:
    """Pairs of schedules whose audited images differ by nothing that counts in either quantity."""
    truths: list[Array] = [one[f"{name}_audited"].values for name in QUANTITIES]
    pairs = combinations(range(len(truths[0])), 2)
    return [(a, b) for a, b in pairs if all(abs(truth[a] - truth[b]) < _TIE for truth in truths)]
