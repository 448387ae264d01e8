r"""Guidance rules: how several predictions become one, at a given strength.

A rule maps named predictions of one state to one prediction, and may carry a memory from step to step. It
declares the space it acts in and whether it is linear: linear rules are the same in every space and are the
only ones that may be used after the width of a target was absorbed into the noise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from orthoscope.denoise import Memory
from orthoscope.prediction import Space, per_row
from orthoscope.process import NoiseLevel, Scalar
from orthoscope.typing import Events

Predictions = Mapping[str, Events]


class Rule(ABC):
    """How predictions are combined.

    Attributes:
        needs: Names of the predictions that the rule combines.
        space: Prediction space in which it is defined.
        is_linear: Whether it is linear in the predictions.
    """

    needs: ClassVar[tuple[str, ...]] = ("cond", "uncond")
    space: ClassVar[Space] = "denoised"
    is_linear: ClassVar[bool] = False

    def needed(self, w: Scalar) -> tuple[str, ...]:
        """Names of the predictions that matter at strength w; the others are not computed."""
        return self.needs

    @abstractmethod
    def __call__(
        self, x: Events, level: NoiseLevel, predictions: Predictions, w: Scalar, memory: Memory
    ) -> tuple[Events, Memory]:
        """The combined prediction, in the rule's space, and the memory for the next step."""


@dataclass(frozen=True, slots=True)
class LinearCFG(Rule):
    r"""Classifier-free guidance, $(1 + w)\,c - w\,u$.

    Written so that w = 0 returns the conditional prediction bit for bit and w = -1 the unconditional one.

    Source:
        [ho2022classifier], Eq. (6); strength w = 0 means no guidance.
    """

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
