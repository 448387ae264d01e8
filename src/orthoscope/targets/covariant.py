r"""Gaussians with any covariance: full, or of low rank over an isotropic floor.

The covariance is held by its eigenvectors, $C = Q\,\mathrm{diag}(\lambda)\,Q^\top + \delta\,(I - QQ^\top)$ with
orthonormal columns $Q$. Everything is a function of the eigenvalues, so that one evaluation costs two thin matrix
products and a thousand dimensions of rank ten are cheap.
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
from orthoscope.typing import PerRow, Rows, Vector

Matrix = Float[Tensor, "dim columns"]
_ASYMMETRY = 1e-6  # relative; also the negative eigenvalues that count as rounding


@dataclass(frozen=True, eq=False, kw_only=True)
class Covariant(Target):
    """A Gaussian by the eigenvectors of its covariance; made by `covariant`.

    Attributes:
        mean: Mean.
        basis: Orthonormal eigenvectors, one per column; as many as there are own eigenvalues.
        variances: Eigenvalues that belong to them, >= 0.
        rest: Variance of every direction orthogonal to the basis, >= 0.
    """

    mean: Vector
    basis: Matrix
    variances: Float[Tensor, "columns"]
    rest: float

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return len(self.mean)

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of samples and scores."""
        return self.mean.dtype

    @property
    def width(self) -> float:
        """The smallest eigenvalue."""
        inside = float(self.variances.min()) if len(self.variances) else math.inf
        return min(inside, self.rest) if self._outside else inside

    @property
    def _outside(self) -> int:
        return self.dim - len(self.variances)

    def denoised(self, x: Rows, level: NoiseLevel) -> Rows:
        """E[x0 | x], eigendirection by eigendirection."""
        noise = per_row(level.variance, x)
        inside = (x - self.mean) @ self.basis
        outside = x - self.mean - inside @ self.basis.T
        kept = self.variances / (noise + self.variances) * inside
        return self.mean + kept @ self.basis.T + self._kept_outside(noise) * outside

    def _kept_outside(self, noise: float | Tensor) -> float | Tensor:
        return self.rest / (noise + self.rest) if self._outside else 0.0

    def posterior_variance(self, x: Rows, level: NoiseLevel) -> PerRow:
        """Tr Cov[x0 | x], the same for every row at a level."""
        noise = per_row(level.variance, x[:, :1].double())
        inside = (noise * self.variances.double() / (noise + self.variances.double())).expand(len(x), -1).sum(1)
        outside = torch.as_tensor(noise * self._kept_outside(noise), dtype=inside.dtype, device=inside.device)
        return inside + self._outside * outside.reshape(-1)

    def log_prob(self, x: Rows, level: NoiseLevel = CLEAN) -> PerRow:
        """Log-density of the noised law, in nats and float64."""
        centred, basis = x.double() - self.mean, self.basis.double()
        noise = per_row(level.variance, centred[:, :1])
        v = noise + self.variances.double()
        inside = centred @ basis
        terms = (inside.square() / v + torch.log(v)).sum(1)
        if self._outside:
            rest = torch.as_tensor(noise + self.rest, dtype=terms.dtype, device=terms.device).reshape(-1)
            square = (centred - inside @ basis.T).square().sum(1)
            terms = terms + square / rest + self._outside * rest.log()
        return -(terms + self.dim * math.log(2 * math.pi)) / 2

    def transport(self, uniform: PerRow, normal: Rows) -> Rows:
        """Scale the normal vectors by the symmetric root of the covariance, then shift them."""
        normal = normal.to(self.mean)
        inside = normal @ self.basis
        outside = normal - inside @ self.basis.T
        return self.mean + (self.variances.sqrt() * inside) @ self.basis.T + math.sqrt(self.rest) * outside

    def narrowed(self, offset: float) -> Covariant:
        """The same law with variance `offset` taken from every direction."""
        taken = self._checked(offset)
        return replace(self, variances=(self.variances - taken).clamp_min(0), rest=max(self.rest - taken, 0.0))


def covariant(
    mean: Vector,
    *,
    cov: Float[Tensor, "dim dim"] | None = None,
    factor: Float[Tensor, "dim rank"] | None = None,
    diag: float | None = None,
) -> Covariant:
    """A Gaussian from its full covariance, or from factor @ factor.T + diag * I.

    Args:
        mean: Mean.
        cov: Symmetric positive semi-definite covariance.
        factor: Tall matrix of the low-rank part; instead of `cov`.
        diag: Variance of the isotropic part, >= 0; with `factor`.

    Raises:
        ConfigError: unless one description is given, or if it is not finite, symmetric and positive semi-definite.
        ShapeError: if the shapes do not fit the mean.
    """
    if (cov is None) == (factor is None) or (factor is None) != (diag is None):
        raise ConfigError("give a covariance either as cov, or as factor with diag")
    given, dim = (cov if cov is not None else factor), len(mean)
    assert given is not None
    if given.shape[0] != dim or (cov is not None and given.shape[1] != dim):
        raise ShapeError(f"expected a covariance for {dim} coordinates, got shape {tuple(given.shape)}")
    if not bool(torch.isfinite(mean).all() and torch.isfinite(given).all()):
        raise ConfigError("mean and covariance must be finite")
    given = given.double()
    if cov is not None:
        if not bool((given - given.T).abs().max() <= _ASYMMETRY * given.abs().max()):
            raise ConfigError("a covariance must be symmetric: it differs from its transpose")
        variances, basis = torch.linalg.eigh((given + given.T) / 2)
        floor = 0.0
    else:
        assert diag is not None
        floor = float(diag)
        if not (math.isfinite(floor) and floor >= 0):
            raise ConfigError(f"diag is a variance and must be finite and >= 0, got {floor:g}")
        basis, singular, _ = torch.linalg.svd(given, full_matrices=False)
        variances = singular.square() + floor
    if not bool((variances >= -_ASYMMETRY * variances.abs().max()).all()):
        raise ConfigError(f"a covariance must have no negative eigenvalue, got {float(variances.min()):g}")
    return Covariant(mean=mean, basis=basis.to(mean), variances=variances.clamp_min(0).to(mean), rest=floor)
