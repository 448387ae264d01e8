"""Gaussians with independent coordinates, and pairs of a conditional and an unconditional law.

Commuting covariances act direction by direction, so a diagonal Gaussian in the shared eigenbasis covers them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from orthoscope.errors import ConfigError, ShapeError
from orthoscope.prediction import per_row
from orthoscope.process import NoiseLevel
from orthoscope.targets.base import CLEAN, Target
from orthoscope.typing import PerRow, Rows, Vector


@dataclass(frozen=True, eq=False, kw_only=True)
class Gaussian(Target):
    """Independent Gaussian coordinates.

    Attributes:
        mean: Mean of each coordinate.
        variance: Variance of each coordinate, >= 0.
    """

    mean: Vector
    variance: Vector

    def __post_init__(self) -> None:
        """Reject ragged, negative or non-finite parameters."""
        if self.mean.shape != self.variance.shape:
            raise ShapeError(f"mean and variance must be equally long, got {len(self.mean)} and {len(self.variance)}")
        if not bool(torch.isfinite(self.mean).all() and torch.isfinite(self.variance).all()):
            raise ConfigError("mean and variance must be finite")
        if not bool((self.variance >= 0).all()):
            raise ConfigError(f"variances must be >= 0, got {float(self.variance.min())}")

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return self.mean.shape[0]

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of samples and scores."""
        return self.mean.dtype

    @property
    def width(self) -> float:
        """The smallest variance."""
        return float(self.variance.min())

    def denoised(self, x: Rows, level: NoiseLevel) -> Rows:
        """E[x0 | x], coordinate by coordinate."""
        noise = per_row(level.variance, x)
        return (self.variance * x + noise * self.mean) / (noise + self.variance)

    def posterior_variance(self, x: Rows, level: NoiseLevel) -> PerRow:
        """Tr Cov[x0 | x], the same for every row at a level."""
        noise, variance = per_row(level.variance, x.double()), self.variance.double()
        return (variance * noise / (noise + variance)).expand(x.shape).sum(1)

    def log_prob(self, x: Rows, level: NoiseLevel = CLEAN) -> PerRow:
        """Log-density of the noised law, in nats and float64."""
        v = per_row(level.variance, x.double()) + self.variance.double()
        terms = (x.double() - self.mean).square() / v + torch.log(v) + math.log(2 * math.pi)
        return -terms.sum(1) / 2

    def transport(self, uniform: PerRow, normal: Rows) -> Rows:
        """Shift and scale the normal vectors."""
        return self.mean + self.variance.sqrt() * normal.to(self.mean)

    def narrowed(self, offset: float) -> Gaussian:
        """The same law with variance `offset` taken from every coordinate."""
        return Gaussian(mean=self.mean, variance=(self.variance - self._checked(offset)).clamp_min(0))


@dataclass(frozen=True, eq=False, kw_only=True)
class Pair(Target):
    """Any conditional law beside any unconditional one; the class is label 0.

    Guidance sees no more of a problem than these two laws; they need not be consistent.
    """

    cond: Target
    uncond: Target

    def __post_init__(self) -> None:
        """Reject laws in different spaces."""
        if self.cond.dim != self.uncond.dim:
            raise ShapeError(f"both laws must have one dimension, got {self.cond.dim} and {self.uncond.dim}")

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return self.cond.dim

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of samples and scores."""
        return self.cond.dtype

    @property
    def taken(self) -> float:  # type: ignore[override]
        """What was taken from both laws, as far as they tell."""
        return min(getattr(law, "taken", math.inf) for law in (self.cond, self.uncond))

    @property
    def width(self) -> float:
        """What both laws can give."""
        return min(self.cond.width, self.uncond.width)

    def denoised(self, x: Rows, level: NoiseLevel) -> Rows:
        """E[x0 | x] under the unconditional law."""
        return self.uncond.denoised(x, level)

    def posterior_variance(self, x: Rows, level: NoiseLevel) -> PerRow:
        """Tr Cov[x0 | x] under the unconditional law."""
        return self.uncond.posterior_variance(x, level)

    def log_prob(self, x: Rows, level: NoiseLevel = CLEAN) -> PerRow:
        """Log-density of the noised unconditional law."""
        return self.uncond.log_prob(x, level)

    def transport(self, uniform: PerRow, normal: Rows) -> Rows:
        """Samples of the unconditional law."""
        return self.uncond.transport(uniform, normal)

    def conditional(self, label: int) -> Target:
        """The conditional law, label 0."""
        self._check_only_class(label)
        return self.cond

    def narrowed(self, offset: float) -> Pair:
        """Both laws narrowed by the same variance."""
        return Pair(cond=self.cond.narrowed(offset), uncond=self.uncond.narrowed(offset))
