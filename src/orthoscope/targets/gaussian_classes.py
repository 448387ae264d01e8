r"""Gaussian classes of one covariance: what second moments alone say of labelled data.

In the eigenbasis of the covariance $W$ within classes every coordinate has its own width $\lambda_j$, so at a level of
variance $t$ class $k$ weighs $\exp(-\tfrac12\sum_j (y_j - m_{kj})^2/(\lambda_j + t))$, and denoising shrinks
coordinate by coordinate towards the mean of the class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from orthoscope.errors import ConfigError, ShapeError
from orthoscope.prediction import per_row
from orthoscope.process import NoiseLevel
from orthoscope.targets.base import CLEAN, Target
from orthoscope.targets.covariant import Covariant, covariant
from orthoscope.typing import Centroids, Labels, PerRow, Rows, Vector

Posteriors = Float[Tensor, "n classes"]


@dataclass(frozen=True, eq=False, kw_only=True)
class GaussianClasses(Target):
    """Equally frequent Gaussians of one covariance; class k is label k. Made by `gaussian_classes`.

    Attributes:
        means: Mean of each class in the eigenbasis.
        basis: Orthonormal eigenvectors of the covariance, one per column, as many as coordinates.
        variances: Its eigenvalues, >= 0.
    """

    means: Centroids
    basis: Tensor
    variances: Vector

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return self.means.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of samples and scores."""
        return self.means.dtype

    @property
    def width(self) -> float:
        """The smallest eigenvalue."""
        return float(self.variances.min())

    @property
    def size(self) -> int:
        """Number of classes."""
        return len(self.means)

    def denoised(self, x: Rows, level: NoiseLevel) -> Rows:
        """E[x0 | x]: the mean of every class, weighed by its posterior."""
        y, noise = x @ self.basis, per_row(level.variance, x)
        return self._shrunk(y, self._logits(y, noise).softmax(1) @ self.means, noise)

    def denoised_in(self, x: Rows, level: NoiseLevel, labels: Labels) -> Rows:
        """E[x0 | x, class], every row in a class of its own."""
        return self._shrunk(x @ self.basis, self.means[labels], per_row(level.variance, x))

    def _shrunk(self, y: Rows, center: Rows, noise: float | Tensor) -> Rows:
        """Coordinates in the eigenbasis moved towards a center as the noise asks, in coordinates of the data."""
        return (center + self.variances / (noise + self.variances) * (y - center)) @ self.basis.T

    def _logits(self, y: Rows, noise: float | Tensor) -> Posteriors:
        """Log-posterior of every class, up to a constant of each row."""
        v = (noise + self.variances).expand_as(y)
        return (y / v) @ self.means.T - (1 / v) @ self.means.T.square() / 2

    def class_posteriors(self, x: Rows, level: NoiseLevel) -> Posteriors:
        """Posterior probability of every class given each row (n, classes)."""
        return self._logits(x @ self.basis, per_row(level.variance, x)).softmax(1)

    def posterior_variance(self, x: Rows, level: NoiseLevel) -> PerRow:
        """Tr Cov[x0 | x]: within a class, and between classes as far as they compete."""
        y, noise = x.double() @ self.basis.double(), per_row(level.variance, x[:, :1].double())
        own, means = self.variances.double(), self.means.double()
        within = (noise * own / (noise + own)).expand_as(y).sum(1)
        shares = self.class_posteriors(x, level).double()
        spread = shares @ means.square() - (shares @ means).square()
        return within + ((noise / (noise + own)).square() * spread).sum(1)

    def log_prob(self, x: Rows, level: NoiseLevel = CLEAN) -> PerRow:
        """Log-density of the noised law, in nats and float64."""
        y, noise = x.double() @ self.basis.double(), per_row(level.variance, x[:, :1].double())
        v = (noise + self.variances.double()).expand_as(y)
        means = self.means.double()
        squares = (y.square() / v).sum(1, keepdim=True) - 2 * (y / v) @ means.T + (1 / v) @ means.T.square()
        normal = torch.log(2 * math.pi * v).sum(1) / 2
        return (-squares / 2).logsumexp(1) - normal - math.log(self.size)

    def transport(self, uniform: PerRow, normal: Rows) -> Rows:
        """Choose a class by the uniform number, and scale the normal vector by the root of the covariance."""
        chosen = (uniform * self.size).long().clamp(max=self.size - 1)
        y = self.means[chosen] + self.variances.sqrt() * normal.to(self.means)
        return y @ self.basis.T

    def conditional(self, label: int) -> Covariant:
        """One class.

        Raises:
            ConfigError: if there is no such class.
        """
        if not 0 <= label < self.size:
            raise ConfigError(f"label {label} is not present; labels are 0 to {self.size - 1}")
        return Covariant(mean=self.basis @ self.means[label], basis=self.basis, variances=self.variances, rest=0.0)

    def gaussian(self) -> Covariant:
        """One Gaussian of the same mean and covariance."""
        mean = self.means.double().mean(0)
        apart = (self.means.double() - mean) / math.sqrt(self.size)
        cov = torch.diag(self.variances.double()) + apart.T @ apart
        basis = self.basis.double()
        return covariant((basis @ mean).to(self.dtype), cov=(basis @ cov @ basis.T).to(self.dtype))

    def narrowed(self, offset: float) -> GaussianClasses:
        """The same classes with variance `offset` taken from every direction."""
        return replace(self, variances=(self.variances - self._checked(offset)).clamp_min(0))


def gaussian_classes(points: Rows, labels: Labels) -> GaussianClasses:
    """Gaussian classes with the means and the pooled covariance within classes of labelled points.

    Args:
        points: One per row.
        labels: Class of each, 0, 1, ... without a gap.

    Accuracy:
        Means are those of the points, with their errors: the fewer points a class has, the farther apart classes seem.

    Raises:
        ConfigError: if there are fewer than two classes, or a class has fewer than two points.
        ShapeError: if there is not one label per point.
    """
    if len(labels) != len(points):
        raise ShapeError(f"expected one label per row, got {len(labels)} labels for {len(points)} rows")
    counts = torch.bincount(labels)
    if len(counts) < 2 or int(counts.min()) < 2:
        raise ConfigError("expected at least 2 classes, 0, 1, ... without a gap, and 2 points of each", field="labels")
    rows = points.double()
    means = torch.zeros(len(counts), rows.shape[1], dtype=rows.dtype).index_add_(0, labels, rows) / counts[:, None]
    inner = rows - means[labels]
    variances, basis = torch.linalg.eigh(inner.T @ inner / (len(rows) - len(counts)))
    found = (means @ basis, basis, variances.clamp_min(0))
    means, basis, variances = (part.to(points.dtype) for part in found)
    return GaussianClasses(means=means, basis=basis, variances=variances)
