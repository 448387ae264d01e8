"""A rule applied to a pipeline's pair of predictions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from orthoscope.denoise import Memory
from orthoscope.errors import ConfigError
from orthoscope.guidance.rules import Renoised, Rule, apply
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.integrations.diffusers.clock import Position, SchedulerClock
from orthoscope.integrations.diffusers.evidence import check_run, ends_of
from orthoscope.prediction import Form
from orthoscope.process import NoiseLevel
from orthoscope.typing import Events


def strength(schedule: GuidanceSchedule, position: Position) -> float:
    """The strength w at a position; at pure noise the limit that the schedule has there.

    Raises:
        ConfigError: if there is no finite strength.
    """
    if position.level.is_pure_noise and schedule.clock != "step" and schedule.limit() is None:
        w = np.inf
    else:
        w = float(schedule.strength(position.level))
    if not np.isfinite(w):
        raise ConfigError(
            f"{type(schedule).__name__} with clock={schedule.clock} has no finite strength at pure noise, where this "
            "scheduler starts; use clock=step, or a table, which is constant beyond its points"
        )
    return w


def for_run(rule: Rule, clock: SchedulerClock) -> Rule:
    """The rule for the run that a clock has begun to read.

    Raises:
        ConfigError: if the noise of the run does not fall.
    """
    check_run(clock)
    found = rule.resolved(clock.times)
    return replace(found, ends=tuple(ends_of(clock))) if isinstance(found, Renoised) else found


def combined(
    rule: Rule, w: float, pair: tuple[Events, Events], sample: Events, level: NoiseLevel, output: Form, memory: Memory
) -> tuple[Events, Memory]:
    """The guided prediction as the network would have put it out, and the rule's memory for the next step.

    Args:
        rule: How to combine.
        w: Strength.
        pair: Conditional and unconditional output.
        sample: State in the scheduler's scale.
        level: Its noise level.
        output: What the outputs are.
        memory: The rule's memory.
    """
    predictions: dict[str, Any] = dict(zip(("cond", "uncond"), map(_precise, pair), strict=True))
    return apply(rule, _precise(sample) / level.alpha, level, predictions, w, memory, output)


def _precise(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()
