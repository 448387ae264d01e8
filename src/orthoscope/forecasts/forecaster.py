"""Mean shift and variance ratio of any schedule, by replaying the recorded images with a surrogate.

An interval joins two errors. That of the images is the audit's own: contributions of the replayed images, resampled.
That of the surrogate is taken as `MODEL_ERROR` of the distance of the replayed images from those of the nearest
recorded run, image by image, in units of the spread of a prompt: a schedule that is idle where it differs from a
recorded one has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from orthoscope import metrics, rng
from orthoscope.errors import ConfigError, StoppedError
from orthoscope.forecasts.pairs import Floats, PairRecorder, Pairs
from orthoscope.forecasts.plan import REFERENCE, Forecast
from orthoscope.forecasts.surrogate import Replay, check_replayable
from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.rules import LinearCFG
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.integrations.batches import Batches
from orthoscope.integrations.host import Host
from orthoscope.metrics import Contributions, Measure
from orthoscope.metrics.contributions import Over
from orthoscope.process import NoiseLevel
from orthoscope.progress import Remark
from orthoscope.sweeps.cells import Cells
from orthoscope.threads import one_thread

LEVEL = 0.9  # of intervals
REACH = -float(ndtri((1 - LEVEL) / 2))  # half of one of a normal law, in standard errors
MODEL_ERROR = 0.2  # of the distance from recorded images; set on the digits and their twin, tested on characters
QUANTITIES = ("variance_ratio", "mean_shift")
_FAITHFUL = 0.1  # mean squared error of replayed recorded images, in units of the spread of a prompt
_MANY_PROMPTS = 10  # from here on texts count as a draw from all texts
_BESIDE = 1e-6  # of a strength, which schedules round


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """One schedule.

    Attributes:
        schedule: The schedule.
        measures: Variance ratio and mean shift, by name, with their intervals; empty if it was stopped.
        distance: Of its images from those of the nearest recorded run, in units of the spread of a prompt.
        outside: Whether it has strengths beyond those recorded.
        stopped: Why there is none; empty if there is.
    """

    schedule: GuidanceSchedule
    measures: dict[str, Measure]
    distance: float = math.nan
    outside: bool = False
    stopped: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forecaster:
    """A surrogate with the runs that it was fitted to.

    Attributes:
        plan: What was recorded.
        host: The pipeline.
        runs: Recorded runs by schedule.
        groups: Number of the prompt of every image.
        replay: The surrogate.
        plain: Replayed images of strength 0.
        unfaithful: Mean squared error of replayed images by recorded schedule, in units of the spread of a prompt.
    """

    plan: Forecast
    host: Host
    runs: dict[GuidanceSchedule, Pairs]
    groups: NDArray[np.int64]
    replay: Replay
    plain: Floats
    unfaithful: dict[GuidanceSchedule, float]

    @classmethod
    def of(
        cls, plan: Forecast, host: Host, *, cells: Cells | None = None, may_ask: bool = True,
        advance: Callable[[], None] = lambda: None, remark: Remark = lambda text: None,
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
        return cls(
            plan=plan, host=host, runs=runs, groups=groups, replay=replay, plain=again[REFERENCE], unfaithful=unfaithful
        )

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
        strengths = self._strengths(schedule)
        try:
            with threads_of(self.host):
                images = self.replay(schedule, self.plan.rule)
        except (ConfigError, StoppedError) as error:
            return Foreseen(schedule=schedule, measures={}, stopped=str(error))
        spread = _spread(self.plain, self.groups)
        distance = math.sqrt(min(_apart(images, run.final) for run in self.runs.values()) / spread)
        known = np.concatenate([self._strengths(run) for run in self.runs])
        outside = bool(strengths.min() < known.min() - _BESIDE or strengths.max() > known.max() + _BESIDE)
        measures = {name: self._measured(name, part, distance) for name, part in self._parts(images).items()}
        return Foreseen(schedule=schedule, measures=measures, distance=distance, outside=outside)

    def _parts(self, images: Floats) -> dict[str, Contributions]:
        """What every image contributes to both quantities."""
        variance, plain = (metrics.variance_within(one, self.groups) for one in (images, self.plain))
        return {
            "variance_ratio": variance.per(plain),
            "mean_shift": metrics.mean_shift_from(images, self.plain, self.groups),
        }

    def _measured(self, name: str, part: Contributions, distance: float) -> Measure:
        """With the interval of both errors."""
        stream = rng.stream(self.plan.seed, "forecast", "resample", name)
        found = part.measure(stream, over=self.over, level=LEVEL, resamples=1000)
        error = MODEL_ERROR * distance
        half = REACH * error
        return replace(
            found,
            low=found.value - math.hypot(found.value - found.low, half),
            high=found.value + math.hypot(found.high - found.value, half),
            stderr=math.hypot(found.stderr, error),
        )

    def _strengths(self, schedule: GuidanceSchedule) -> NDArray[np.float64]:
        """Strengths of a run, from noise to data."""
        times = self.runs[REFERENCE].times
        levels = (NoiseLevel(time=float(t), step=k, steps=len(times)) for k, t in enumerate(times))
        return np.array([float(schedule.strength(level)) for level in levels])


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
