"""A rule applied to a pipeline's pair of predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from orthoscope.denoise import Memory
from orthoscope.errors import ConfigError
from orthoscope.guidance.rules import Rule
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.integrations.diffusers.clock import Output, Position
from orthoscope.prediction import from_denoised, per_row, to_denoised
from orthoscope.process import NoiseLevel
from orthoscope.typing import Events


def strength(schedule: GuidanceSchedule, position: Position) -> float:
    """The strength w at a position; at pure noise the limit that the schedule has there.

    Raises:
        ConfigError: if there is no finite strength.
    """
    if position.is_pure_noise and schedule.clock != "step" and schedule.limit() is None:
        w = np.inf
    else:
        w = float(schedule.strength(position.level))
    if not np.isfinite(w):
        raise ConfigError(
            f"{type(schedule).__name__} with clock={schedule.clock} has no finite strength at pure noise, where this "
            "scheduler starts; use clock=step, or a table, which is constant beyond its points"
        )
    return w


def denoised(prediction: Events, x: Events, level: NoiseLevel, output: Output) -> Events:
    r"""The denoised mean behind a network's output at the unscaled state x.

    With the velocity $v = \alpha\varepsilon - s x_0$ of a chart with $\alpha^2 + s^2 = 1$ the denoised mean is
    $x/(1+\sigma^2) - v\,\sigma/\sqrt{1+\sigma^2}$.
    """
    if output != "preserving-velocity":
        return to_denoised(prediction, x, level, output)
    sigma = per_row(level.sigma, x)
    return x / (1 + sigma**2) - prediction * (sigma / np.sqrt(1 + sigma**2))


def restated(mean: Events, x: Events, level: NoiseLevel, output: Output) -> Events:
    """The network's output that means a denoised mean; the inverse of `denoised`."""
    if output != "preserving-velocity":
        return from_denoised(mean, x, level, output)
    sigma = per_row(level.sigma, x)
    return (x / (1 + sigma**2) - mean) * (np.sqrt(1 + sigma**2) / sigma)


def combined(
    rule: Rule, w: float, pair: tuple[Events, Events], sample: Events, level: NoiseLevel, output: Output, memory: Memory
) -> tuple[Events, Memory]:
    """The guided prediction as the network would have put it out, and the rule's memory for the next step.

    A linear rule is the same in every space and acts on the outputs as they are; others get them in their own space.

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
    if rule.is_linear or rule.space == output:
        return rule(_precise(sample) / level.alpha, level, predictions, w, memory)
    x = _precise(sample) / level.alpha
    there = {
        name: from_denoised(denoised(prediction, x, level, output), x, level, rule.space)
        for name, prediction in predictions.items()
    }
    result, memory = rule(x, level, there, w, memory)
    return restated(to_denoised(result, x, level, rule.space), x, level, output), memory


def _precise(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()
