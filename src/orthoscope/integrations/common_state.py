"""The predictions of many prompts at one common state, from a pipeline that is run with all of them in a batch.

The pipeline runs as always; after every step of its scheduler the states of all rows are replaced by one that the
caller makes of what was predicted. Rows start from equal noise, and whatever solver the scheduler is no longer matters.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch

from orthoscope.errors import ConfigError
from orthoscope.guidance.rules.own import FunctionRule
from orthoscope.guidance.schedules import Constant
from orthoscope.integrations.diffusers import guided
from orthoscope.integrations.diffusers.evidence import clock_of
from orthoscope.integrations.host import Host
from orthoscope.integrations.randomness import own_randomness, restored_randomness, stepping_by
from orthoscope.process import NoiseLevel
from orthoscope.typing import Events

_BARELY = 1e-12  # a strength at which every pipeline makes both predictions
_EQUAL = 1e-3  # of the noise: rounding between rows of a batch

# The common state (1, ...), its level, and the denoised means of all prompts and of none; returns the next state.
Move: TypeAlias = Callable[[Events, NoiseLevel, Events, Events], Events]


def check_movable(host: Host) -> None:
    """Make sure that states can be replaced between steps.

    Raises:
        ConfigError: if the scheduler asks its network twice in a step.
    """
    scheduler = host.pipe.scheduler
    if hasattr(scheduler, "cur_model_output") or hasattr(scheduler, "state_in_first_order"):
        raise ConfigError(
            f"{type(scheduler).__name__} asks the network twice in a step, so prompts cannot share a state; "
            "choose `pipeline_scheduler` DDIMScheduler or DPMSolverMultistepScheduler"
        )


def ask_together(host: Host, prompts: Sequence[str], seed: int, steps: int, move: Move) -> list[float]:
    """Run a pipeline once with all prompts, moving their common state; the variance times of its steps.

    Args:
        host: The pipeline.
        prompts: All of them.
        seed: Seed of the common noise.
        steps: Steps of the scheduler.
        move: Called at every step with what was predicted.

    Raises:
        ConfigError: if the pipeline cannot be asked for this, or its rows do not start from one state.
    """
    times: list[float] = []
    moved: list[Events] = []

    def overheard(x: Events, level: NoiseLevel, predictions: Any, w: Any) -> Events:
        if not bool((x - x[:1]).abs().max() <= _EQUAL * (1 + level.sigma)):
            raise ConfigError(f"the rows of {host.name} do not share a state, so its prompts cannot be asked at one")
        times.append(float(level.time))
        moved.append(move(x[:1], level, predictions["cond"], predictions["uncond"][:1]))
        return torch.as_tensor(predictions["cond"])

    generators = [torch.Generator().manual_seed(seed) for _ in prompts]
    with (
        own_randomness(host.pipe.scheduler, generators),
        restored_randomness(seed),
        torch.no_grad(),
        guided(host.pipe, Constant(value=_BARELY), FunctionRule(call=overheard)),
        _replaced(host.pipe.scheduler, moved),
    ):
        host.run_together(prompts, generators, steps)
    return times


@contextmanager
def _replaced(scheduler: Any, moved: list[Events]) -> Iterator[None]:
    """Every step of the scheduler ends where `moved` says, in the scheduler's own scale."""
    step, clock = scheduler.step, clock_of(scheduler)
    known: list[float] = []

    @functools.wraps(step)
    def stepped(*args: Any, **kwargs: Any) -> Any:
        found = step(*args, **kwargs)
        known.append(0.0)
        clock_times = times_of(scheduler, clock.chart)
        time = clock_times[min(len(known), len(clock_times) - 1)]
        state = (alpha_at(time, clock.chart) * moved[-1]).to(found[0]).expand_as(found[0]).clone()
        if isinstance(found, tuple):
            return (state, *found[1:])
        found["prev_sample"] = state
        return found

    with stepping_by(scheduler, stepped):
        yield


def times_of(scheduler: Any, chart: str) -> list[float]:
    """Variance times of a scheduler's steps, as it stands, and that of the end."""
    if chart == "timestep":
        kept = [float(scheduler.alphas_cumprod[int(t)]) for t in scheduler.timesteps]
        return [*((1 - a) / a for a in kept), 0.0]
    sigmas = [float(sigma) for sigma in scheduler.sigmas]
    if chart == "flow":
        return [(s / max(1 - s, 1e-8)) ** 2 for s in sigmas]
    if chart == "reversed-flow":
        return [((1 - s) / max(s, 1e-8)) ** 2 for s in sigmas]
    return [s**2 for s in sigmas]


def alpha_at(time: float, chart: str) -> float:
    """Scale of the data at a variance time."""
    if chart == "exploding":
        return 1.0
    return 1 / (1 + math.sqrt(time)) if "flow" in chart else 1 / math.sqrt(1 + time)
