"""Rules that change how far guidance goes: by the size of the guided prediction, or of the guidance itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from orthoscope.denoise import Memory
from orthoscope.errors import ConfigError, ShapeError
from orthoscope.guidance.events import is_zero, row_norm
from orthoscope.guidance.rules.base import Predictions, Rule
from orthoscope.guidance.rules.linear import LinearCFG
from orthoscope.prediction import Space, per_row
from orthoscope.process import NoiseLevel, Scalar
from orthoscope.typing import Events


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescaled(Rule):
    r"""Linear guidance $g$ rescaled towards the spread of $c$: $g\,[\phi\,\mathrm{std}(c)/\mathrm{std}(g) + 1 - \phi]$.

    Standard deviations are over all entries of an event. In noise space unless told otherwise; the paper applies it to
    whatever the network predicts, and pipelines follow.

    Attributes:
        phi: Share of the rescaling: 0 is linear guidance.
        space: Prediction space; `output` is that of whatever the network predicts.

    Source:
        [lin2024common], Eqs. (14) to (16).
    """

    phi: float = 0.7
    space: Space = "noise"
    name: ClassVar[str] = "rescale"

    def needed(self, w: Scalar) -> tuple[str, ...]:
        """Only the conditional prediction at w = 0."""
        return ("cond",) if is_zero(w) else self.needs

    def __call__(
        self, x: Events, level: NoiseLevel, predictions: Predictions, w: Scalar, memory: Memory
    ) -> tuple[Events, Memory]:
        """The rescaled prediction; no memory.

        Raises:
            ShapeError: if an event has one entry only, and so no standard deviation.
        """
        cond = predictions["cond"]
        if cond[0].numel() < 2:
            raise ShapeError("rescaling compares standard deviations within an event; it needs two entries or more")
        if is_zero(w):
            return cond, None
        guided, _ = LinearCFG()(x, level, predictions, w, None)
        factor = self.phi * _spread(cond) / _spread(guided) + (1 - self.phi)
        return (factor * guided).to(cond.dtype), None


def _spread(a: torch.Tensor) -> torch.Tensor:
    # Norm of the centered event: the number of entries cancels in ratios.
    wide = a.to(torch.promote_types(a.dtype, torch.float32))
    return row_norm(wide - wide.mean(dim=tuple(range(1, a.ndim)), keepdim=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLaw(Rule):
    r"""Strength that grows with the guidance itself: $s_c + w\,\|s_c - s_u\|^\alpha\,(s_c - s_u)$.

    The norm is over all entries of an event and that of the chart's own score, the one with respect to
    `level.alpha * x`: in rectified flow that is the form $((1-t)/t)^\alpha\|v_c - v_u\|^\alpha$. It therefore depends
    on the chart, and w must be chosen anew for another size of event. Where no data is left in the state, neither the
    scores nor the noise differ: a positive power makes no guidance of that, and a negative one has no limit.

    Attributes:
        alpha: Power: 0 is linear guidance.
        space: Prediction space; in spaces other than the score the norm is that of the prediction.

    Source:
        [pavasovic2025classifier], power-law guidance.
    """

    alpha: float = 0.9
    space: Space = "score"
    name: ClassVar[str] = "power-law"

    def __post_init__(self) -> None:
        """Reject powers at which vanishing guidance would not vanish."""
        Rule.__post_init__(self)
        if self.alpha <= -1:
            raise ConfigError(f"rule power-law: alpha must be > -1, got {self.alpha:g}")

    def needed(self, w: Scalar) -> tuple[str, ...]:
        """Only the conditional prediction at w = 0."""
        return ("cond",) if is_zero(w) else self.needs

    def __call__(
        self, x: Events, level: NoiseLevel, predictions: Predictions, w: Scalar, memory: Memory
    ) -> tuple[Events, Memory]:
        """The guided prediction; no memory.

        Raises:
            ConfigError: if the power is negative at pure noise, where it makes guidance infinite.
        """
        cond = predictions["cond"]
        if is_zero(w):
            return cond, None
        if self.alpha and level.is_pure_noise and self.space in ("score", "noise"):
            if self.alpha < 0:
                raise ConfigError(
                    f"rule power-law:alpha={self.alpha:g} has no finite strength at pure noise, where this run starts; "
                    "use alpha >= 0, or space=denoised"
                )
            return cond, None
        gap = cond - predictions["uncond"]
        norm = row_norm(gap)
        if self.space == "score":
            norm = norm / per_row(level.alpha, norm)
        factor = norm.clamp_min(torch.finfo(norm.dtype).tiny) ** self.alpha
        return (cond + per_row(w, x) * factor * gap).to(cond.dtype), None
