"""A pipeline whose network was replaced by a fit to its recorded answers; it asks nothing and takes no time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orthoscope.errors import ConfigError, StoppedError
from orthoscope.forecasts.pairs import Floats, Pairs
from orthoscope.forecasts.regression import Kernels, Regression
from orthoscope.guidance.rules import Rule
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.integrations.class_pipeline import ClassPipeline
from orthoscope.integrations.diffusers import guided
from orthoscope.integrations.host import Host, host_of
from orthoscope.integrations.randomness import own_randomness, restored_randomness
from orthoscope.integrations.stand_in import StandIn
from orthoscope.numerics import Array
from orthoscope.process import NoiseLevel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """Both branches at one noise level: the conditional one and the difference, which is 0 where they agree.

    Attributes:
        kernels: Of the recorded states.
        cond: The conditional branch.
        apart: Conditional minus unconditional.
    """

    kernels: Kernels
    cond: Regression
    apart: Regression

    def __call__(self, x: Array, prompts: NDArray[np.int64]) -> tuple[Array, Array]:
        """Denoised means with the prompt and without it."""
        kernels = self.kernels.to(x, prompts)
        cond = self.cond(kernels)
        return cond, cond - self.apart(kernels)


def fits(recorded: Sequence[Pairs], prompts: NDArray[np.int64]) -> list[Fit]:
    """A fit for every level of recorded runs.

    Args:
        recorded: Runs of the same images under several schedules.
        prompts: Number of the prompt of every image.
    """
    labels, found = np.tile(prompts, len(recorded)), list[Fit]()
    for level in range(len(recorded[0].times)):
        x, cond, uncond = (
            np.concatenate([getattr(run, name)[level] for run in recorded]).astype(np.float64)
            for name in ("states", "cond", "uncond")
        )
        kernels, last = Kernels.of(x, labels), found[-1:]
        first, second = (
            ({"start": branch.searched} for fit in last for branch in (fit.cond, fit.apart)) if last else ({}, {})
        )
        number = len(recorded)
        fitted = (
            Regression.fitted(kernels, cond, runs=number, **first),
            Regression.fitted(kernels, cond - uncond, runs=number, **second),
        )
        found.append(Fit(kernels=kernels, cond=fitted[0], apart=fitted[1]))
    return found


class Surrogate(StandIn):
    """Fits in the place of a network; the classes are the prompts."""

    def __init__(self, fitted: Sequence[Fit], times: Array, scheduler: Any, like: Tensor, prompts: int) -> None:
        """Take the place.

        Args:
            fitted: One fit for every noise level.
            times: Their variance times, descending.
            scheduler: The scheduler of the pipeline.
            like: States.
            prompts: Number of prompts.
        """
        super().__init__(scheduler, like, prompts)
        self._fits, self._log_times = fitted, np.log(times)

    def denoised(self, x: Tensor, level: NoiseLevel, labels: Tensor) -> Tensor:
        """Both halves of a batch, the unconditional first, whose answers depend on the prompt as states do."""
        prompts = labels[len(labels) // 2 :].numpy(force=True)
        fit = self._fits[int(np.abs(self._log_times - np.log(float(level.time))).argmin())]
        cond, uncond = fit(x[len(prompts) :].double().numpy(force=True), prompts)
        return torch.from_numpy(np.concatenate([uncond, cond])).to(x)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replay:
    """The recorded images made again, under any schedule, by the surrogate.

    Attributes:
        host: The surrogate's pipeline.
        labels: Number of the prompt of every image, as a text.
        seeds: Seed of every image.
        steps: Steps of the scheduler.
        fitted: The surrogate itself, level by level.
    """

    host: Host
    labels: Sequence[str]
    seeds: Sequence[int]
    steps: int
    fitted: Sequence[Fit]

    @classmethod
    def of(cls, host: Host, recorded: Sequence[Pairs], prompts: NDArray[np.int64], seeds: Sequence[int]) -> Replay:
        """The surrogate of a host, fitted to runs of it.

        Raises:
            ConfigError: if its scheduler cannot be run again without it.
        """
        scheduler = type(host.pipe.scheduler).from_config(host.pipe.scheduler.config)
        first = recorded[0]
        like = torch.empty(1, *first.shape, dtype=host.pipe.dtype)
        fitted = fits(recorded, prompts)
        network = Surrogate(fitted, first.times, scheduler, like, int(prompts.max()) + 1)
        made = host_of(ClassPipeline(network, scheduler), f"surrogate of {host.name}")
        labels = [str(number) for number in prompts]
        return cls(host=made, labels=labels, seeds=seeds, steps=len(first.times), fitted=fitted)

    def __call__(self, schedule: GuidanceSchedule, rule: Rule) -> Floats:
        """Final states (rows, dim).

        Raises:
            StoppedError: if they are not finite.
        """
        generators = [torch.Generator().manual_seed(seed) for seed in self.seeds]
        with (
            own_randomness(self.host.pipe.scheduler, generators),
            restored_randomness(self.seeds[0]),
            torch.no_grad(),
            guided(self.host.pipe, schedule, rule) as log,
        ):
            self.host.run_together(self.labels, generators, self.steps)
        assert log.final is not None  # the scheduler has stepped
        final: Floats = log.final.float().flatten(1).numpy(force=True)
        if not np.isfinite(final).all():
            raise StoppedError("its forecast leaves the finite numbers")
        return final


def check_replayable(host: Host) -> None:
    """Make sure that a scheduler can be run again without its pipeline.

    Raises:
        ConfigError: if it asks its network twice in a step, or its levels depend on the size of images.
    """
    scheduler = host.pipe.scheduler
    name, cure = type(scheduler).__name__, "choose `pipeline_scheduler` DDIMScheduler or DPMSolverMultistepScheduler"
    if hasattr(scheduler, "cur_model_output") or hasattr(scheduler, "state_in_first_order"):
        raise ConfigError(f"{name} asks the network twice in a step, which a forecast cannot replay; {cure}")
    if scheduler.config.get("use_dynamic_shifting"):
        raise ConfigError(f"the noise levels of {name} depend on the size of images, which are not replayed; {cure}")
