r"""What a network predicts, and the affine maps between the ways to state it.

In unscaled coordinates $x = x_0 + \sigma\varepsilon$ the same knowledge can be stated as

- `denoised` $D = E[x_0 \mid x]$,
- `noise` $(x - D)/\sigma$,
- `score` $(D - x)/\sigma^2$ (Tweedie's formula),
- `velocity` noise minus denoised, the field of the straight path of rectified flow.

Others are what some networks put out, but no rule acts in them:

- `reversed-velocity` denoised minus noise, where the clock of a flow runs from noise to data,
- `preserving-velocity` $(\varepsilon - \sigma D)/\sqrt{1 + \sigma^2}$, the velocity of a variance-preserving chart.

Networks with the preconditioning of EDM put out the latter in units of the data's spread, up to sign: `Preconditioned`.

A rule may also act in the `output` itself, whatever form that has.

These formulas exist here and nowhere else. All maps are affine in the prediction, so linear guidance commutes with
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from orthoscope.errors import unknown
from orthoscope.process import NoiseLevel
from orthoscope.typing import Events

Space = Literal["denoised", "noise", "score", "velocity", "output"]
SPACES: tuple[Space, ...] = ("denoised", "noise", "score", "velocity")
RULE_SPACES: tuple[Space, ...] = (*SPACES, "output")
Named = Literal["denoised", "noise", "score", "velocity", "reversed-velocity", "preserving-velocity"]
FORMS: tuple[Named, ...] = ("denoised", "noise", "score", "velocity", "reversed-velocity", "preserving-velocity")


@dataclass(frozen=True, slots=True)
class Preconditioned:
    r"""What a network puts out whose denoised mean is $D = c_\text{skip} x + c_\text{out} F$.

    Attributes:
        spread: Standard deviation of the data that it was scaled for.
        sign: Of $c_\text{out}$, 1 or -1.

    Source:
        [karras2022elucidating], Eq. (7) and Table 1.
    """

    spread: float
    sign: int = 1

    def __str__(self) -> str:
        """In words, as datasets hold it."""
        return f"preconditioned:spread={self.spread:g},sign={self.sign}"


Form = Named | Preconditioned


def per_row(value: Any, x: Tensor) -> Any:
    """A number as it is; one number per row as a column that multiplies rows of x."""
    if getattr(value, "ndim", 0) == 0:
        return float(value)
    column = torch.as_tensor(value, dtype=x.dtype, device=x.device)
    return column.reshape(-1, *[1] * (x.ndim - 1))


def to_denoised(prediction: Events, x: Events, level: NoiseLevel, form: Form) -> Events:
    """The denoised mean behind a prediction of this form.

    Raises:
        ConfigError: if the form is unknown.
    Source:
        Tweedie's formula; derived in explanation/concepts.
    """
    sigma = per_row(level.sigma, x)
    match form:
        case "denoised":
            return prediction
        case "noise":
            return x - sigma * prediction
        case "score":
            return x + sigma**2 * prediction
        case "velocity":
            return (x - sigma * prediction) / (1 + sigma)
        case "reversed-velocity":
            return to_denoised(-prediction, x, level, "velocity")
        case "preserving-velocity":
            return to_denoised(-prediction, x, level, Preconditioned(1.0))
        case Preconditioned(spread, sign):
            ratio = sigma / spread
            return x / (1 + ratio**2) + prediction * (sign * sigma / (1 + ratio**2) ** 0.5)
    raise unknown("prediction space", form, FORMS)


def from_denoised(denoised: Events, x: Events, level: NoiseLevel, form: Form) -> Events:
    """The denoised mean restated in this form; the inverse of `to_denoised`.

    Raises:
        ConfigError: if the form is unknown.
    Source:
        Tweedie's formula; derived in explanation/concepts.
    """
    sigma = per_row(level.sigma, x)
    match form:
        case "denoised":
            return denoised
        case "noise":
            return (x - denoised) / sigma
        case "score":
            return (denoised - x) / sigma**2
        case "velocity":
            return (x - denoised) / sigma - denoised
        case "reversed-velocity":
            return -from_denoised(denoised, x, level, "velocity")
        case "preserving-velocity":
            return -from_denoised(denoised, x, level, Preconditioned(1.0))
        case Preconditioned(spread, sign):
            ratio = sigma / spread
            return (denoised - x / (1 + ratio**2)) * (sign * (1 + ratio**2) ** 0.5 / sigma)
    raise unknown("prediction space", form, FORMS)
