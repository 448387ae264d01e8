"""What a rule of one's own returns, once it was seen to be a prediction; whatever else it does is told in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from orthoscope.denoise import Memory
from orthoscope.errors import ConfigError, OrthoscopeError, in_one_line
from orthoscope.guidance.rules.base import Predictions
from orthoscope.process import NoiseLevel


def asked(
    name: str, call: Callable[[], Any], predictions: Predictions, level: NoiseLevel, *, remembers: bool
) -> tuple[Tensor, Memory]:
    """The prediction that a rule makes, and what it wants to see at the next step.

    Args:
        name: What messages call the rule.
        call: The rule with its arguments.
        predictions: What it is given: what it returns must be like these.
        level: Where.
        remembers: Whether it returns a memory beside the prediction.

    Raises:
        ConfigError: if it fails, or returns something else.
    """
    try:
        found = call()
    except OrthoscopeError:
        raise
    except Exception as error:
        raise ConfigError(f"the rule {name} failed: {in_one_line(error)}", field="rule") from error
    kept = None
    if remembers:
        if not isinstance(found, tuple) or len(found) != 2:
            kind = type(found).__name__
            raise _refused(name, "returns with a memory", "a pair: the prediction and the memory", kind)
        found, kept = found
    return _checked(name, found, predictions, level), kept


def _checked(name: str, found: Any, predictions: Predictions, level: NoiseLevel) -> Tensor:
    like = next(iter(predictions.values()))
    if not isinstance(found, Tensor) or not found.is_floating_point():
        got = f"a tensor of {found.dtype}" if isinstance(found, Tensor) else type(found).__name__
        raise _refused(name, "returns", "a floating-point tensor", got)
    if found.shape != like.shape:
        raise _refused(name, "returns", f"a prediction of shape {tuple(like.shape)}", tuple(found.shape))
    if not bool(found.isfinite().all()) and all(bool(part.isfinite().all()) for part in predictions.values()):
        does = f"returns at variance time {np.max(level.time):.4g}"
        raise _refused(name, does, "finite numbers", "NaN or infinity")
    return found.to(like.dtype)


def _refused(name: str, does: str, expected: str, got: Any) -> ConfigError:
    return ConfigError(f"the rule {name} {does} what is no prediction: expected {expected}, got {got}", field="rule")
