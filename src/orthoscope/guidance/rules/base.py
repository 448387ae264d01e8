"""The contract of a guidance rule."""

from __future__ import annotations

import dataclasses
import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from orthoscope import registered
from orthoscope.denoise import Memory
from orthoscope.errors import ConfigError, unknown
from orthoscope.guidance.specs import spec_of
from orthoscope.prediction import RULE_SPACES, Space
from orthoscope.process import NoiseLevel, Scalar
from orthoscope.sources import code_of
from orthoscope.typing import Events

Predictions = Mapping[str, Events]


class Rule(ABC):
    """How predictions are combined.

    Attributes:
        name: What the rule is called on the command line and in files.
        needs: Names of the predictions that the rule combines.
        is_linear: Whether it is linear in the predictions.
    """

    name: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ("cond", "uncond")
    is_linear: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Reject settings that are no finite numbers, and spaces that do not exist."""
        _settle(self)

    @property
    def space(self) -> Space:
        """Prediction space in which it is defined."""
        return "denoised"

    def needed(self, w: Scalar) -> tuple[str, ...]:
        """Names of the predictions that matter at strength w; the others are not computed."""
        return self.needs

    def resolved(self, times: Sequence[float]) -> Rule:
        """The rule for a run through these variance times, for rules that look at the next level; else itself."""
        return self

    def to_spec(self) -> dict[str, Any]:
        """What stands in a file."""
        return spec_of(self, registered.RULES)

    def identity(self) -> str | None:
        """A fingerprint of its code, if that is not the package's; beside the settings it determines results."""
        return code_of(type(self))

    @abstractmethod
    def __call__(
        self, x: Events, level: NoiseLevel, predictions: Predictions, w: Scalar, memory: Memory
    ) -> tuple[Events, Memory]:
        """The combined prediction, in the rule's space, and the memory for the next step."""


def _settle(rule: Any) -> None:
    # Numbers become floats, so that 3 and 3.0 are one rule.
    for field in dataclasses.fields(rule):
        value = getattr(rule, field.name)
        if field.name == "space" and value not in RULE_SPACES:
            raise unknown("prediction space", str(value), RULE_SPACES)
        if field.type not in ("float", float):
            continue
        if not isinstance(value, numbers.Real) or isinstance(value, bool) or not math.isfinite(value):
            raise ConfigError(
                f"rule {rule.name or type(rule).__name__}: {field.name} must be a finite number, got {value!r}"
            )
        object.__setattr__(rule, field.name, float(value))
