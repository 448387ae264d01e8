r"""How far samples of a class are from where they should be: first and second moments.

For a class with centroid $m$ and standard deviation $s$, from $n$ samples with mean $\bar x$:

- `mean_shift` $\delta\mu = \bar x\cdot m/|m|^2 - 1$; over draws of $m$ the ratio of sums,
  $E[x\cdot m]/E|m|^2 - 1$, which exists in every dimension,
- `variance_shift` $\delta V$ = mean variance per coordinate minus $s^2$, along $m$ and across it,
- `variance_ratio` $V/s^2$.

All take a matrix with one sample per row and return an `Estimate`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from orthoscope.errors import ConfigError, ShapeError
from orthoscope.metrics.estimators import FloatArray, Samples, as_samples, jackknife, mean_of
from orthoscope.quantities import Estimate


def _direction(centroid: ArrayLike, samples: Samples) -> FloatArray:
    m = np.asarray(centroid, dtype=np.float64)
    if m.shape != samples.shape[1:]:
        raise ShapeError(f"expected a centroid with {samples.shape[1]} coordinates, got shape {m.shape}")
    if not float(m @ m) > 0:
        raise ConfigError("the centroid is zero, so nothing can be measured along it")
    return m


def overlap(samples: ArrayLike, centroid: ArrayLike) -> Estimate:
    """Overlap q with the class centroid, in units of the centroid itself: 1 on it.

    Several draws of the centroid pool to the ratio of sums, sum of x.m over sum of |m|^2.

    Source:
        [ventura2026emergence], order parameter q.
    """
    x = as_samples(samples)
    m = _direction(centroid, x)
    square = float(m @ m)
    return mean_of(x @ m / square, weight=square)


def mean_shift(samples: ArrayLike, centroid: ArrayLike) -> Estimate:
    """Shift of the mean along the class centroid, in units of the centroid; 0 for a perfect sampler.

    Over draws of the centroid it is E[x.m]/E[|m|^2] - 1: long centroids count for more, and the answer is that of
    the order parameter q = x.m/d.

    Source:
        [ventura2026emergence], mean distortion; derived in explanation/theory.
    """
    return overlap(samples, centroid).affine(shift=-1.0)


def variance(samples: ArrayLike, centroid: ArrayLike | None = None, *, part: str = "all") -> Estimate:
    """Unbiased variance per coordinate, in squared data units.

    Args:
        samples: One row per trajectory.
        centroid: Needed for the parts.
        part: `all` coordinates, `along` the centroid, or `across` it.

    Raises:
        ConfigError: if a part needs a centroid that is missing or zero.
    Source:
        [ventura2026emergence], variance distortion; derived in explanation/theory.
    """
    x = as_samples(samples, least=3)
    n, dim = x.shape
    centred = x - x.mean(0)
    squares = (centred**2).sum(1)
    if part == "all":
        per_row = squares / dim
    elif centroid is None or part not in ("along", "across"):
        raise ConfigError("part must be 'all', or 'along' or 'across' with a centroid")
    else:
        m = _direction(centroid, x)
        along = (centred @ m) ** 2 / (m @ m)
        if part == "across" and dim < 2:
            raise ConfigError("in one dimension there is nothing across the centroid")
        per_row = along if part == "along" else (squares - along) / (dim - 1)
    return mean_of(per_row).affine(n / (n - 1))


def variance_shift(samples: ArrayLike, std: float, centroid: ArrayLike | None = None, *, part: str = "all") -> Estimate:
    """Variance per coordinate minus the class's own, in squared data units; negative where diversity is lost.

    Source:
        [ventura2026emergence], variance distortion; derived in explanation/theory.
    """
    return variance(samples, centroid, part=part).affine(shift=-(std**2))


def variance_ratio(samples: ArrayLike, std: float) -> Estimate:
    """Variance per coordinate in units of the class's own; 1 for a perfect sampler.

    Raises:
        ConfigError: if std is not positive.
    Source:
        [ventura2026emergence], variance distortion; derived in explanation/theory.
    """
    if not std > 0:
        raise ConfigError(f"std must be > 0 to form a ratio, got {std}")
    return variance(samples).affine(1 / std**2)


def total_variance(samples: ArrayLike) -> Estimate:
    """Trace of the covariance, in squared data units."""
    x = as_samples(samples, least=3)
    return variance(x).affine(x.shape[1])


def participation_ratio(samples: ArrayLike) -> Estimate:
    r"""Effective number of directions, $(\mathrm{tr}\,C)^2/\mathrm{tr}\,C^2$; blind to uniform shrinkage.

    Numerator and denominator are each unbiased for Gaussian data, so that the cap of n - 1 directions that n samples
    put on the plain ratio is lifted.

    Accuracy:
        Bias of the ratio O(1/n^2) after the jackknife.
    Source:
        Moments of the Wishart law; derived in explanation/numerics.
    """

    def ratio(x: Samples) -> float:
        n = len(x)
        centred = x - x.mean(0)
        gram = centred @ centred.T if n < x.shape[1] else centred.T @ centred
        unbiased_trace2, unbiased_square = squared_traces(gram, n)
        return unbiased_trace2 / unbiased_square if unbiased_square > 0 else math.nan

    return jackknife(ratio, as_samples(samples, least=8))


def squared_traces(gram: FloatArray, n: int) -> tuple[float, float]:
    r"""Squared trace and trace of the square of the covariance, from the products of n centred rows or columns.

    Accuracy:
        Unbiased for Gaussian data.
    Source:
        Moments of the Wishart law; derived in explanation/numerics.
    """
    trace, square = float(np.trace(gram)) / (n - 1), float((gram**2).sum()) / (n - 1) ** 2
    unbiased_square = (n - 1) ** 2 / ((n - 2) * (n + 1)) * (square - trace**2 / (n - 1))
    return trace**2 - 2 * unbiased_square / (n - 1), unbiased_square


def frechet_distance(samples: ArrayLike, mean: ArrayLike, covariance: ArrayLike) -> Estimate:
    r"""Squared Fréchet distance to a law of known moments, per dimension, in squared data units.

    $$d_F^2 = |\bar x - \mu|^2 + \mathrm{tr}\,(C + \Sigma - 2(\Sigma^{1/2} C\,\Sigma^{1/2})^{1/2})$$

    Accuracy:
        The plain estimate of a perfect isotropic sampler is too large by std^2 (dim + 5)/(4 n); the jackknife removes
        the 1/n part, so that a perfect sampler can come out slightly negative. Needs n well above the dimension.
    Source:
        Fréchet distance of Gaussians (Dowson and Landau 1982); derived in explanation/numerics.
    """
    x = as_samples(samples, least=8)
    mu, sigma = np.asarray(mean, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    if mu.shape != x.shape[1:] or sigma.shape != (x.shape[1], x.shape[1]):
        raise ShapeError(f"expected moments in {x.shape[1]} dimensions, got shapes {mu.shape} and {sigma.shape}")
    values, vectors = np.linalg.eigh(sigma)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T

    def distance(part: Samples) -> float:
        c = np.atleast_2d(np.cov(part, rowvar=False))
        cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ c @ root), 0, None)).sum()
        gap = part.mean(0) - mu
        return float(gap @ gap + np.trace(c) + np.trace(sigma) - 2 * cross) / len(mu)

    return jackknife(distance, x)
