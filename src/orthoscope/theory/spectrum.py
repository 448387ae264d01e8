r"""Many classes whose centroids have a covariance of any spectrum, at constant strength from infinite noise.

Directions decouple: along an eigenvector of eigenvalue $\lambda_i$ guidance acts as among centroids of unit variance
with all variances divided by $\lambda_i$. Only the commitment couples them, as log-weights add up:

$$ \log M = \sum_i \beta_s(v/\lambda_i), $$

with $\beta_s$ the rate that commits at a variance, `constant.speciation_rate`. At $w = 0$ the right side is
$\tfrac12\sum_i\log(1 + \lambda_i/v)$, the information that a Gaussian source sends through the noise: *classes can be
told apart as long as their code fits the channel*. Of all sources with one covariance the Gaussian one sends most, so
that at $w = 0$ centroids on a curved manifold commit later than this.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from orthoscope.errors import ConfigError
from orthoscope.numerics import Array, bracketed_root
from orthoscope.theory.constant import free_moments, speciation_rate
from orthoscope.theory.flow import drift_factor

_FARTHEST = 1e9  # variance, in units of the largest eigenvalue, beyond which nothing is looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectralPrediction:
    """What guidance does to a class among centroids with a given covariance.

    Attributes:
        speciation_time: Variance time at which the class is committed, None if it never is.
        mean_shift: Projection of the mean shift on the centroid over its square, averaged over centroids.
        variance_shift: Mean variance per coordinate minus std^2, at t = 0.
    """

    speciation_time: float | None
    mean_shift: float
    variance_shift: float


def log_capacity(time: float, eigenvalues: ArrayLike, std: float, strength: float = 0.0, lam: float = 1.0) -> float:
    """Log of the number of classes that commit exactly at a variance time, in nats.

    Raises:
        ConfigError: if an eigenvalue is negative or not finite, or the strength is negative.

    Source:
        derived in explanation/multimodal.
    """
    values = _positive(eigenvalues)
    return float(speciation_rate(time / values, std / np.sqrt(values), strength, lam).sum())


def predict_spectrum(
    log_classes: float, eigenvalues: ArrayLike, std: float, strength: float = 0.0, lam: float = 1.0
) -> SpectralPrediction:
    """Speciation time and distortions among Gaussian centroids of a given covariance.

    Args:
        log_classes: log(M).
        eigenvalues: Of the covariance of the centroids, in squared data units; zeros are directions without classes.
        std: Within-class standard deviation.
        strength: Constant guidance strength, >= 0.
        lam: 1 for the reverse SDE, 0 for the probability-flow ODE.

    Raises:
        ConfigError: if a number is out of range.

    Accuracy:
        Exact as the number of directions grows, like mean-field theory; numerically 1e-9.

    Source:
        derived in explanation/multimodal.
    """
    if not log_classes > 0:
        raise ConfigError(f"expected the log of at least 2 classes, got {log_classes}")
    values, width = _positive(eigenvalues), std**2
    k = drift_factor(lam)

    def margin(log_v: Array) -> Array:
        return np.array([log_capacity(np.exp(y) - width, values, std, strength, lam) - log_classes for y in log_v])

    start, end = np.log([width, _FARTHEST * values.max()])
    speciates = log_capacity(0.0, values, std, strength, lam) > log_classes
    found = float(np.exp(bracketed_root(margin, np.array([start]), np.array([end]))[0])) if speciates else width
    time = max(found - width, 0.0)
    shift, excess = free_moments(time / values, std / np.sqrt(values), strength, lam)
    left = (width / found) ** k
    return SpectralPrediction(
        speciation_time=time if speciates else None,
        mean_shift=left * float(values @ shift / values.sum()),
        variance_shift=left**2 * float(values @ excess) / np.size(eigenvalues),
    )


def _positive(eigenvalues: ArrayLike) -> Array:
    values = np.asarray(eigenvalues, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all() or (values < 0).any() or not (values > 0).any():
        raise ConfigError("expected a list of finite eigenvalues >= 0, at least one of them > 0")
    return values[values > 1e-12 * values.max()]
