"""What `linear=True` promises, tried once: a combination of the predictions whose weights add up to 1.

The weights may depend on the noise level and the strength, and on nothing else: what a rule remembers of other levels
was not restated for this one, and what it makes of that is no combination of the predictions that are given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from orthoscope.denoise import Memory
from orthoscope.errors import ConfigError
from orthoscope.guidance.rules.base import Predictions
from orthoscope.typing import Events

_ROUNDED = 1e4  # times the precision of the numbers and the size of the weights


def check_linear(
    name: str, ask: Callable[[Predictions, Memory], tuple[Events, Memory]], like: Predictions, strength: float
) -> None:
    """Reject a rule that is not what it promises to be, seen at made-up predictions.

    Those of a run may agree with each other, and then show nothing.

    Args:
        name: What messages call the rule.
        ask: What the rule makes of predictions and a memory, all else as in the run; with the memory that it keeps.
        like: Predictions of the run, for names, shapes and sizes.
        strength: Largest strength, which weights grow with.

    Raises:
        ConfigError: if the weights do not add up to 1, it is not linear, or it makes something of what it remembers.
    """
    one, other = _made_up(like, 1.0), _made_up(like, 2.0)
    shift = next(iter(other.values()))
    size = float(shift.abs().max()) * (1 + abs(strength))
    least = _ROUNDED * torch.finfo(shift.dtype).eps * size

    def off(found: Tensor, expected: Tensor) -> bool:
        return float((found - expected).abs().max()) > least

    base, _ = ask(one, None)
    second, kept = ask(other, None)
    if off(ask({key: part + shift for key, part in one.items()}, None)[0], base + shift):
        wrong = "all predictions shifted by one vector do not shift the result by it: the weights must add up to 1"
    elif off(ask({key: part + other[key] for key, part in one.items()}, None)[0], base + second):
        wrong = "it is not linear in the predictions"
    elif kept is not None and off(ask(one, kept)[0], base):
        wrong = "it depends on what it remembers of other levels"
    else:
        return
    raise ConfigError(f"the rule {name} was said to be linear, but {wrong}; leave out `linear`", field="linear")


def _made_up(like: Predictions, phase: float) -> Mapping[str, Tensor]:
    """Predictions of the size of others, all different."""
    size = max(1.0, *(float(part.abs().max()) for part in like.values()))
    return {name: size * _wave(part, phase + 3 * k) for k, (name, part) in enumerate(like.items())}


def _wave(part: Tensor, phase: float) -> Tensor:
    place = torch.arange(part.numel(), device=part.device, dtype=part.dtype).reshape(part.shape)
    return (phase * (place + 1)).cos()
