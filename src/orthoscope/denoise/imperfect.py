r"""Exact denoisers made wrong by a known amount: what score error does under guidance.

Sizes are those of the score $\nabla_y \log p_t(y)$ of the variance-preserving state $y = x/\sqrt{1+\sigma^2}$, whose
coordinates stay of order one: a score $s$ of the unscaled state $x$ counts as $\sqrt{1+\sigma^2}\,s$.

- `Biased`: the score is off by a constant vector, at every level and everywhere.
- `MissingPullback`: beyond `reach` noise standard deviations outside the noised support the score is 0. Nothing pulls a
  state back that strong guidance carried there, and hardly any training data would have shown that it should.
  `Pullback` chooses the reach at which such an error has a given root mean square over the noised law, up to the noise
  at which that law is the Gaussian that runs start from.

Both errors can be of one size; only the second drives samples off the support (docs: explanation/compact).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator

from orthoscope.denoise.base import Denoiser, Evaluation, Label, Memory
from orthoscope.errors import ConfigError, ShapeError
from orthoscope.numerics import Array, unit_gauss
from orthoscope.prediction import per_row
from orthoscope.process import NoiseLevel
from orthoscope.targets import Target
from orthoscope.typing import Rows, Vector

_FARTHEST = 12.0  # noise standard deviations outside the support that any sizable error reaches
_PANELS, _NODES = 48, 4


@dataclass(frozen=True, eq=False, kw_only=True)
class Biased(Denoiser):
    """A denoiser whose score is off by a constant: a bounded error.

    Attributes:
        denoiser: The one that is made wrong.
        error: Error of the variance-preserving score, the same at every state and level.
    """

    denoiser: Denoiser
    error: Vector

    def evaluate(self, x: Rows, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        """The denoised mean, off by sigma^2 / sqrt(1 + time) times the error."""
        if x.shape[1:] != self.error.shape:
            raise ShapeError(f"expected one error per coordinate of {x.shape[1]}, got {len(self.error)}")
        found = self.denoiser.evaluate(x, level, label, memory)
        factor = per_row(level.variance / np.sqrt(1 + level.time), x)
        return replace(found, denoised=found.denoised + factor * self.error.to(x))


@dataclass(frozen=True, eq=False, kw_only=True)
class MissingPullback(Denoiser):
    """A denoiser whose score is 0 far outside the support: an error that no sample of the noised law notices.

    Attributes:
        denoiser: The one that is made wrong.
        lower: Lower end of the support, per coordinate.
        upper: Upper end.
        reach: Distance from the support, in noise standard deviations, beyond which the score is 0; a function of
            the level, such as `Pullback`.
    """

    denoiser: Denoiser
    lower: Vector
    upper: Vector
    reach: Callable[[NoiseLevel], float]

    def evaluate(self, x: Rows, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        """The denoised mean; the state itself in coordinates out of reach."""
        found = self.denoiser.evaluate(x, level, label, memory)
        margin = per_row(level.sigma, x) * self.reach(level)
        lost = (x < self.lower.to(x) - margin) | (x > self.upper.to(x) + margin)
        return replace(found, denoised=torch.where(lost, x, found.denoised))


@dataclass(frozen=True, eq=False, kw_only=True)
class Pullback:
    """The reach at which a missing pull-back has a given size over the noised law, at every level anew.

    Attributes:
        law: A law in one dimension.
        lower: Lower end of its support.
        upper: Upper end.
        size: Root mean square of the error of the variance-preserving score, > 0.
        horizon: Noise standard deviation above which nothing is missing: there the noised law is the Gaussian that
            runs start from, whose score everybody knows.
    """

    law: Target
    lower: float
    upper: float
    size: float
    horizon: float = 20.0
    _known: dict[float, float] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Reject sizes that are none, and laws with more than one coordinate."""
        if not (math.isfinite(self.size) and self.size > 0):
            raise ConfigError(f"the size of a score error must be finite and > 0, got {self.size:g}")
        if self.law.dim != 1:
            raise ShapeError(f"the reach of a pull-back is computed in one dimension, got {self.law.dim}")

    def __call__(self, level: NoiseLevel) -> float:
        """Reach in noise standard deviations; 0 if the error cannot be as large as asked for, inf beyond the horizon.

        Accuracy:
            The size is met to a relative 1e-3.
        """
        if level.sigma > self.horizon:
            return math.inf
        key = round(math.log(level.variance), 9)  # both sides of a level are one
        if key not in self._known:
            reaches, sizes = self._sizes(float(level.variance))
            if self.size >= sizes[0]:
                self._known[key] = 0.0
            else:
                # Sizes fall with the reach, so the interpolation runs backwards.
                logs = np.log(sizes[sizes > 0])[::-1]
                self._known[key] = float(PchipInterpolator(logs, reaches[sizes > 0][::-1])(math.log(self.size)))
        return self._known[key]

    def error(self, reach: float, level: NoiseLevel) -> float:
        """Root mean square of the error when the pull-back is missing beyond the given reach.

        Accuracy:
            Relative 1e-3.
        """
        reaches, sizes = self._sizes(float(level.variance))
        with np.errstate(divide="ignore"):
            return math.exp(PchipInterpolator(reaches[sizes > 0], np.log(sizes[sizes > 0]))(reach))

    def _sizes(self, variance: float) -> tuple[Array, Array]:
        """Reaches, ascending, and the size of the error beyond each."""
        sigma, level = math.sqrt(variance), NoiseLevel(time=variance)
        nodes, weights = unit_gauss(_NODES)
        reaches, step = np.linspace(0, _FARTHEST, _PANELS + 1, retstep=True)
        z = torch.from_numpy((reaches[:-1, None] + step * nodes).ravel())
        x = torch.cat([self.upper + sigma * z, self.lower - sigma * z])[:, None]
        squares = self.law.log_prob(x, level).exp() * self.law.score(x, level).double().square()[:, 0]
        panels = squares.reshape(2, _PANELS, _NODES).sum(0).numpy(force=True) @ weights * step * sigma
        beyond = np.concatenate([np.cumsum(panels[::-1])[::-1], [0.0]])
        return reaches, np.sqrt((1 + variance) * beyond)
