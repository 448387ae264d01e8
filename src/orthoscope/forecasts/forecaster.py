"""Mean shift and variance ratio of any schedule, by two forecasters, of which the surer is trusted.

The surrogate makes the recorded images again; reweighting lets recorded paths stand for others as far as enough of them
count. An interval joins two errors. That of the images is the audit's own: their contributions, resampled. That of the
surrogate is taken as `MODEL_ERROR` of the distance of the images that it made from recorded ones, image by image, in
units of the spread of a prompt: a schedule that is idle where it differs from a recorded one has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from orthoscope import metrics, rng
from orthoscope.errors import ConfigError, StoppedError
from orthoscope.forecasts.pairs import Floats, PairRecorder, Pairs
from orthoscope.forecasts.plan import REFERENCE, Forecast
from orthoscope.forecasts.reweighting import Reweighted, Reweighting
from orthoscope.forecasts.surrogate import Replay, check_replayable
from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.rules import LinearCFG
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.integrations.batches import Batches
from orthoscope.integrations.host import Host
from orthoscope.metrics import Contributions, Measure
from orthoscope.metrics.contributions import Over
from orthoscope.numerics import Array
from orthoscope.process import NoiseLevel
from orthoscope.progress import LOG, Remark
from orthoscope.sweeps.cells import Cells
from orthoscope.threads import one_thread

LEVEL = 0.9  # of intervals
REACH = -float(ndtri((1 - LEVEL) / 2))  # half of one of a normal law, in standard errors
MODEL_ERROR = 0.2  # of the distance from recorded images; set on the digits and their twin, tested on characters
BELIEVED = 20.0  # images of a prompt that have to count: with fewer, weights make their own error too small
QUANTITIES = ("variance_ratio", "mean_shift")
_FAITHFUL = 0.01  # mean squared error of replayed recorded images, in units of the spread of a prompt
_MANY_PROMPTS = 10  # from here on texts count as a draw from all texts
_BESIDE = 1e-6  # of a strength, which schedules round


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """One schedule.

    Attributes:
        schedule: The schedule.
        surrogate: Variance ratio and mean shift, by name, with their intervals; empty if it was stopped.
        reweighted: The same by weighted paths; empty if too few images count.
        distance: Of the surrogate's images from those of the nearest recorded run, in units of the spread of a prompt.
        effective: Images of a prompt that count when paths are weighted.
        reached: Steps that are weighted.
        outside: Whether it has strengths beyond those recorded.
        stopped: Why there is none; empty if there is.
    """

    schedule: GuidanceSchedule
    surrogate: dict[str, Measure]
    reweighted: dict[str, Measure] = field(default_factory=dict)
    distance: float = math.nan
    effective: float = math.nan
    reached: int = 0
    outside: bool = False
    stopped: str = ""

    @property
    def trusted(self) -> dict[str, str]:
        """Which forecaster is trusted, by name of the quantity: the one of smaller error, if enough images count."""
        said = self.reweighted if self.effective >= BELIEVED else {}
        surer = {name for name, one in said.items() if one.stderr < self.surrogate[name].stderr}
        return {name: "reweighted" if name in surer else "surrogate" for name in self.surrogate}

    @property
    def measures(self) -> dict[str, Measure]:
        """What is trusted, by name; empty if it was stopped."""
        by = {"surrogate": self.surrogate, "reweighted": self.reweighted}
        return {name: by[forecaster][name] for name, forecaster in self.trusted.items()}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forecaster:
    """A surrogate with the runs that it was fitted to.

    Attributes:
        plan: What was recorded.
        host: The pipeline.
        runs: Recorded runs by schedule.
        groups: Number of the prompt of every image.
        replay: The surrogate.
        reweighting: Weights of recorded paths; None where they cannot be had.
        unweighted: Why they cannot be had; empty where they can.
        plain: Replayed images of strength 0.
        unfaithful: Mean squared error of replayed images by recorded schedule, in units of the spread of a prompt.
    """

    plan: Forecast
    host: Host
    runs: dict[GuidanceSchedule, Pairs]
    groups: NDArray[np.int64]
    replay: Replay
    reweighting: Reweighting | None
    unweighted: str
    plain: Floats
    unfaithful: dict[GuidanceSchedule, float]

    @classmethod
    def of(
        cls, plan: Forecast, host: Host, *, cells: Cells | None = None, may_ask: bool = True,
        advance: Callable[[], None] = lambda: None, remark: Remark = LOG.warning,
    ) -> Forecaster:  # fmt: skip
        """Record a pipeline, or read what was recorded, and fit the surrogate.

        Raises:
            ConfigError: if the pipeline cannot be asked for this, or cannot be replayed.
            StoppedError: if what it says is not finite, or not even one image fits into memory.
        """
        check_replayable(host)
        recorder = PairRecorder(
            host=host, plan=plan, batches=Batches(remark=remark), cells=cells, advance=advance, may_ask=may_ask
        )
        with threads_of(host):
            runs = {schedule: recorder.record(schedule) for schedule in plan.recorded}
            groups = np.repeat(np.arange(len(plan.prompts)), plan.images_per_prompt)
            seeds = [seed for prompt in plan.prompts for seed in recorder.seeds(prompt)]
            replay = Replay.of(host, list(runs.values()), groups, seeds)
            again = {schedule: replay(schedule, LinearCFG()) for schedule in runs}
        spread = _spread(runs[REFERENCE].final, groups)
        unfaithful = {schedule: _apart(again[schedule], run.final) / spread for schedule, run in runs.items()}
        if max(unfaithful.values()) > _FAITHFUL:
            raise ConfigError(
                f"the recorded images of {host.name} cannot be made again from its recorded predictions, so it cannot "
                "be forecast: the pipeline draws its noise otherwise, or does more than its scheduler; audit it instead"
            )
        try:
            reweighting, unweighted = _reweighting(plan, runs, groups, replay), ""
        except ConfigError as error:
            reweighting, unweighted = None, str(error)
        return cls(
            plan=plan, host=host, runs=runs, groups=groups, replay=replay, plain=again[REFERENCE],
            unfaithful=unfaithful, reweighting=reweighting, unweighted=unweighted,
        )  # fmt: skip

    @property
    def over(self) -> Over:
        """What is a random draw: prompts of text if there are many, else the images of these prompts."""
        is_draw = self.host.kind == "text" and len(self.plan.prompts) >= _MANY_PROMPTS
        return "prompts" if is_draw else "images"

    @property
    def calls(self) -> int:
        """Predictions that the recorded runs took."""
        return sum(run.calls for run in self.runs.values())

    def foresee(self, schedule: GuidanceSchedule) -> Foreseen:
        """One schedule forecast."""
        strengths = strengths_of(schedule, self.runs[REFERENCE])
        try:
            with threads_of(self.host):
                images = self.replay(schedule, self.plan.rule)
                weighted = self.reweighting(strengths) if self.reweighting else None
        except (ConfigError, StoppedError) as error:
            return Foreseen(schedule=schedule, surrogate={}, stopped=str(error))
        spread = _spread(self.plain, self.groups)
        distance = math.sqrt(min(_apart(images, run.final) for run in self.runs.values()) / spread)
        known = np.concatenate([strengths_of(run, self.runs[REFERENCE]) for run in self.runs])
        outside = bool(strengths.min() < known.min() - _BESIDE or strengths.max() > known.max() + _BESIDE)
        parts = contributions(images, metrics.variance_within(images, self.groups), self.plain, self.groups)
        measures = self._measured(parts, distance)
        found = Foreseen(schedule=schedule, surrogate=measures, distance=distance, outside=outside)
        return found if weighted is None else replace(found, **self._by_weights(weighted, spread))

    def _by_weights(self, weighted: Reweighted, spread: float) -> dict[str, Any]:
        """What weighted paths say, and how many images count."""
        images, variance = metrics.weighted_within(weighted.images, weighted.weights, self.groups)
        parts = contributions(images, variance, self.runs[REFERENCE].final, self.groups)
        measures = self._measured(parts, weighted.distance / math.sqrt(spread))
        return {"reweighted": measures, "effective": weighted.effective, "reached": weighted.reached}

    def _measured(self, parts: dict[str, Contributions], distance: float) -> dict[str, Measure]:
        """With intervals of both errors, by name."""
        error, found = MODEL_ERROR * distance, dict[str, Measure]()
        for name, part in parts.items():
            stream = rng.stream(self.plan.seed, "forecast", "resample", name)
            one = part.measure(stream, over=self.over, level=LEVEL, resamples=1000)
            found[name] = replace(
                one,
                low=one.value - math.hypot(one.value - one.low, REACH * error),
                high=one.value + math.hypot(one.high - one.value, REACH * error),
                stderr=math.hypot(one.stderr, error),
            )
        return found


def contributions(
    images: Floats | Array, variance: Contributions, plain: Floats, groups: NDArray[np.int64]
) -> dict[str, Contributions]:
    """What every image contributes to both quantities, beside those of strength 0."""
    return {
        "variance_ratio": variance.per(metrics.variance_within(plain, groups)),
        "mean_shift": metrics.mean_shift_from(images, plain, groups),
    }


def strengths_of(schedule: GuidanceSchedule, run: Pairs) -> Array:
    """Strengths of a schedule at the levels of a run, from noise to data."""
    levels = (NoiseLevel(time=float(t), step=k, steps=len(run.times)) for k, t in enumerate(run.times))
    return np.array([float(schedule.strength(level)) for level in levels])


def _reweighting(
    plan: Forecast, runs: dict[GuidanceSchedule, Pairs], groups: NDArray[np.int64], replay: Replay
) -> Reweighting:
    """Weights of the recorded paths.

    Raises:
        ConfigError: if the rule is not linear, or the scheduler has no noise that can be told.
    """
    if plan.rule != LinearCFG():
        raise ConfigError("the rule is not linear")
    strengths = np.stack([strengths_of(schedule, run) for schedule, run in runs.items()])
    return Reweighting.of(list(runs.values()), strengths, groups, replay.fitted)


def threads_of(host: Host) -> AbstractContextManager[None]:
    """One thread for small networks, which gain nothing from more."""
    return one_thread() if host.is_small else nullcontext()


def told(schedules: Sequence[GuidanceSchedule]) -> list[str]:
    """Their texts."""
    return [format_schedule(schedule) for schedule in schedules]


def _apart(one: Floats, other: Floats) -> float:
    """Mean squared distance, image by image."""
    return float(np.square(one.astype(np.float64) - other).sum(1).mean())


def _spread(images: Floats, groups: NDArray[np.int64]) -> float:
    """Mean squared distance of images from the mean of their prompt."""
    return metrics.variance_within(images, groups).value
