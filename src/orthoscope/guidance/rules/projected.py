"""Rules that project: guidance freed of its part along the conditional prediction, and a reference scaled to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from orthoscope.denoise import Memory
from orthoscope.errors import ConfigError
from orthoscope.guidance.events import is_zero, row_dot, row_norm
from orthoscope.guidance.rules.base import Predictions, Rule
from orthoscope.guidance.rules.linear import LinearCFG
from orthoscope.prediction import Space, per_row
from orthoscope.process import NoiseLevel, Scalar
from orthoscope.typing import Events

_LEAST_NORM = 1e-30  # of a prediction to be projected on: scores at extreme noise are small, but no less defined


@dataclass(frozen=True, slots=True, kw_only=True)
class Projected(Rule):
    r"""Adaptive projected guidance, $c + w\,[g_\perp + \eta\,g_\parallel]$ with respect to $c$.

    The direction $g = c - u$ first gathers momentum, $g \leftarrow g + \beta\,g_{\text{previous}}$, and is then
    shortened to the threshold. Without momentum, threshold and with $\eta = 1$ it is linear guidance.

    Attributes:
        eta: Share kept of the part along the conditional prediction.
        momentum: Weight of the previous step's direction; published values are negative.
        threshold: Largest norm of the direction over all entries of an event; 0 for no limit.
        space: Prediction space.

    Source:
        [sadat2025eliminating], Algorithm 1.
    """

    eta: float = 0.0
    momentum: float = 0.0
    threshold: float = 0.0
    space: Space = "denoised"
    name: ClassVar[str] = "apg"

    def __post_init__(self) -> None:
        """Reject a negative threshold."""
        Rule.__post_init__(self)
        if self.threshold < 0:
            raise ConfigError(f"rule apg: threshold is a norm and must be >= 0 (0: no limit), got {self.threshold:g}")

    def needed(self, w: Scalar) -> tuple[str, ...]:
        """Only the conditional prediction at w = 0, unless the direction is to be remembered."""
        return ("cond",) if is_zero(w) and not self.momentum else self.needs

    def __call__(
        self, x: Events, level: NoiseLevel, predictions: Predictions, w: Scalar, memory: Memory
    ) -> tuple[Events, Memory]:
        """The guided prediction; the memory is the direction with its momentum."""
        cond = predictions["cond"]
        if len(self.needed(w)) == 1:
            return cond, None
        gap = cond - predictions["uncond"]
        if self.momentum and memory is not None:
            gap = gap + self.momentum * memory
        direction = gap.to(torch.promote_types(gap.dtype, torch.float32))
        if self.threshold:
            direction = direction * (self.threshold / row_norm(direction)).clamp_max(1)
        unit = cond / row_norm(cond).clamp_min(_LEAST_NORM)
        update = direction + (self.eta - 1) * row_dot(direction, unit) * unit
        return (cond + per_row(w, x) * update).to(cond.dtype), gap if self.momentum else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroStar(Rule):
    r"""CFG-Zero*: guidance against $a u$ with $a = \langle c, u\rangle/\|u\|^2$, after first steps that stand still.

    The best multiple of the unconditional prediction takes its place. A velocity of zero leaves the state of
    rectified flow where it is.

    Attributes:
        zero_steps: Number of first steps whose prediction is zero.
        space: Prediction space.

    Source:
        [fan2025cfg], optimized scale and zero-init.
    """

    zero_steps: float = 1
    space: Space = "velocity"
    name: ClassVar[str] = "cfg-zero-star"

    def __post_init__(self) -> None:
        """Reject a number of steps that is none."""
        Rule.__post_init__(self)
        if self.zero_steps < 0 or self.zero_steps % 1:
            raise ConfigError(f"rule cfg-zero-star: zero_steps must be a whole number >= 0, got {self.zero_steps:g}")

    def needed(self, w: Scalar) -> tuple[str, ...]:
        """Only the conditional prediction at w = 0."""
        return ("cond",) if is_zero(w) else self.needs

    def __call__(
        self, x: Events, level: NoiseLevel, predictions: Predictions, w: Scalar, memory: Memory
    ) -> tuple[Events, Memory]:
        """The guided prediction; no memory.

        Raises:
            ConfigError: if first steps are to stand still but the level belongs to no run.
        """
        cond = predictions["cond"]
        if self.zero_steps and level.step is None:
            raise ConfigError("cfg-zero-star counts steps and needs a run; set zero_steps=0 to use it outside one")
        if level.step is not None and level.step < self.zero_steps:
            return torch.zeros_like(cond), None
        if is_zero(w):
            return cond, None
        uncond = predictions["uncond"]
        unit = uncond / row_norm(uncond).clamp_min(_LEAST_NORM)
        reference = (row_dot(cond, unit) * unit).to(cond.dtype)  # the best multiple of it
        return LinearCFG()(x, level, {"cond": cond, "uncond": reference}, w, None)
