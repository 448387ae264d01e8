r"""What a network predicts, four ways, and the affine maps between them.

In unscaled coordinates $x = x_0 + \sigma\varepsilon$ the same knowledge can be stated as

- `denoised` $D = E[x_0 \mid x]$,
- `noise` $(x - D)/\sigma$,
- `score` $(D - x)/\sigma^2$ (Tweedie's formula),
- `velocity` noise minus denoised, the field of the straight path of rectified flow.

These formulas exist here and nowhere else. All maps are affine in the prediction, so linear guidance commutes with
them.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from orthoscope.errors import unknown
from orthoscope.process import NoiseLevel
from orthoscope.typing import Events

Space = Literal["denoised", "noise", "score", "velocity"]
SPACES: tuple[Space, ...] = ("denoised", "noise", "score", "velocity")


def per_row(value: Any, x: Tensor) -> Any:
    """A number as it is; one number per row as a column that multiplies rows of x."""
    if getattr(value, "ndim", 0) == 0:
        return float(value)
    column = torch.as_tensor(value, dtype=x.dtype, device=x.device)
    return column.reshape(-1, *[1] * (x.ndim - 1))


def to_denoised(prediction: Events, x: Events, level: NoiseLevel, space: Space) -> Events:
    """The denoised mean behind a prediction made in `space`.

    Raises:
        ConfigError: if the space is unknown.
    Source:
        Tweedie's formula; derived in explanation/concepts.
    """
    sigma = per_row(level.sigma, x)
    match space:
        case "denoised":
            return prediction
        case "noise":
            return x - sigma * prediction
        case "score":
            return x + sigma**2 * prediction
        case "velocity":
            return (x - sigma * prediction) / (1 + sigma)
    raise unknown("prediction space", space, SPACES)


def from_denoised(denoised: Events, x: Events, level: NoiseLevel, space: Space) -> Events:
    """The denoised mean restated in `space`; the inverse of `to_denoised`.

    Raises:
        ConfigError: if the space is unknown.
    Source:
        Tweedie's formula; derived in explanation/concepts.
    """
    sigma = per_row(level.sigma, x)
    match space:
        case "denoised":
            return denoised
        case "noise":
            return (x - denoised) / sigma
        case "score":
            return (denoised - x) / sigma**2
        case "velocity":
            return (x - denoised) / sigma - denoised
    raise unknown("prediction space", space, SPACES)
