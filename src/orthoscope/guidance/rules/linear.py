"""Linear rules: classifier-free guidance, and CFG++, which is the same at strengths of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from orthoscope.denoise import Memory
from orthoscope.errors import ConfigError
from orthoscope.guidance.renoised import renoising_factors
from orthoscope.guidance.rules.base import Predictions, Rule
from orthoscope.prediction import Space, per_row
from orthoscope.process import NoiseLevel, Scalar
from orthoscope.typing import Events


@dataclass(frozen=True, slots=True)
class LinearCFG(Rule):
    r"""Classifier-free guidance, $(1 + w)\,c - w\,u$.

    Written so that w = 0 returns the conditional prediction bit for bit and w = -1 the unconditional one.

    Source:
        [ho2022classifier], Eq. (6); strength w = 0 means no guidance.
    """

    name: ClassVar[str] = "cfg"
    needs: ClassVar[tuple[str, ...]] = ("cond", "uncond")
    space: ClassVar[Space] = "denoised"
    is_linear: ClassVar[bool] = True

    def needed(self, w: Scalar) -> tuple[str, ...]:
        """Only one prediction at w = 0 and at w = -1."""
        if getattr(w, "ndim", 0) == 0:
            return {0.0: ("cond",), -1.0: ("uncond",)}.get(float(w), self.needs)
        return self.needs

    def __call__(
        self, x: Events, level: NoiseLevel, predictions: Predictions, w: Scalar, memory: Memory
    ) -> tuple[Events, Memory]:
        """The guided denoised mean; no memory."""
        used = self.needed(w)
        if len(used) == 1:
            return predictions[used[0]], None
        strength = per_row(w, x)
        return (1 + strength) * predictions["cond"] - strength * predictions["uncond"], None


@dataclass(frozen=True, slots=True, kw_only=True)
class Renoised(Rule):
    r"""CFG++: denoise with $u + \lambda(c - u)$, add the unconditional noise back; here $\lambda = 1 + w$.

    On a DDIM step (first order, no noise) this is linear guidance of scale $\lambda\,\sigma/(\sigma - \sigma')$, and
    that is what the rule computes, on any step. It must know the levels of its run: `resolved` tells it.

    Attributes:
        times: Variance times of the run, descending, one more than there are steps; empty until resolved.
        ends: Those at which its steps end, where that is not where the next ones begin; empty if it is.

    Source:
        [chung2025cfg], DDIM step; as a strength derived in explanation/rules.
    """

    times: tuple[float, ...] = ()
    ends: tuple[float, ...] = ()
    name: ClassVar[str] = "cfg++"
    is_linear: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Reject times that are no grid."""
        if self.times:
            for name in ("times", "ends"):
                object.__setattr__(self, name, tuple(float(time) for time in getattr(self, name)))
            renoising_factors(self.times, self.ends)

    def needed(self, w: Scalar) -> tuple[str, ...]:
        """Only the unconditional prediction at w = -1."""
        return ("uncond",) if getattr(w, "ndim", 0) == 0 and float(w) == -1 else self.needs

    def resolved(self, times: Sequence[float]) -> Renoised:
        """The rule for a run through these variance times."""
        return replace(self, times=tuple(times))

    def strength(self, level: NoiseLevel, w: Scalar) -> Scalar:
        """The strength of linear guidance at the step that this level belongs to.

        Raises:
            ConfigError: if the rule is not resolved, or the level is not on its grid.
        """
        if not self.times:
            raise ConfigError("CFG++ needs the levels of its run; use `rule.resolved(grid.times)`")
        steps = len(self.times) - 1
        step = level.step if level.step is not None else self._step(level.time)
        if level.steps not in (None, steps) or not 0 <= np.min(step) <= np.max(step) < steps:
            raise ConfigError(
                f"CFG++ was resolved for {steps} steps, and step {step} of {level.steps} starts at none of them; "
                "use `rule.resolved(grid.times)` with the grid of this run"
            )
        return (1 + w) * renoising_factors(self.times, self.ends)[step] - 1

    def _step(self, time: Scalar) -> Scalar:
        # The step that contains the time; a level belongs to the step that starts there.
        return np.searchsorted(-np.asarray(self.times), -np.asarray(time), side="right") - 1

    def __call__(
        self, x: Events, level: NoiseLevel, predictions: Predictions, w: Scalar, memory: Memory
    ) -> tuple[Events, Memory]:
        """The prediction whose first-order step without noise is that of CFG++; no memory."""
        return LinearCFG()(x, level, predictions, self.strength(level, w), memory)
