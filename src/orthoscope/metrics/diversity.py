r"""How much the images of a prompt differ from each other, and from how they differed without guidance.

Each prompt is measured by itself from the products or distances of its images, $n \times n$ numbers however long the
features are, so that prompts can be streamed: measure one, `joined` all (of participation, its
inverse). One label for all images measures the run as a whole; sort images by prompt then, so that the blocks left out
are prompts.

- `variance_within`: trace of the covariance; sees shrinkage, uniform or not.
- `log_volume_ratio`: log-determinant of the covariance against a reference run, per direction; sees lost directions.
- `participation_within`, the inverse of `concentration_within`: number of directions; blind to uniform shrinkage.
- `vendi`, `distance_within`, `near_duplicates`: kernels and distances; see shapes that moments do not.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from orthoscope.errors import ConfigError, ShapeError, unknown
from orthoscope.metrics.contributions import Contributions, Index, as_features, by_group, leaving_out, rows_of
from orthoscope.metrics.estimators import FloatArray, as_samples
from orthoscope.metrics.moments import squared_traces

Kernel = Literal["cosine", "rbf"]
KERNELS = ("cosine", "rbf")
_MOST = 4096  # images of one prompt: tables of pairs are quadratic in them
_DIRECTIONS = 50
_ROWS_PER_DIRECTION = 10
_POWER_STEPS = 4


def variance_within(features: ArrayLike, groups: ArrayLike) -> Contributions:
    """Trace of the covariance of a prompt's images, mean over prompts, in squared feature units; unbiased.

    Raises:
        ShapeError: if features are not a matrix with one group for each row.
        ConfigError: if a row is not finite, or a prompt has fewer than two images.
    """

    def measured(x: FloatArray) -> tuple[FloatArray, bool]:
        n = len(x)
        return n / (n - 1) * ((x - x.mean(0)) ** 2).sum(1), n > 2

    return by_group(features, groups, measured, least=2)


def concentration_within(features: ArrayLike, groups: ArrayLike) -> Contributions:
    r"""Share of the variance that two random directions have in common, $\mathrm{tr}\,C^2/(\mathrm{tr}\,C)^2$.

    The inverse of the participation ratio, mean over prompts; 1 for a prompt whose images are all equal.

    Accuracy:
        Both traces are unbiased for Gaussian features; the bias of their ratio is O(1/(n x directions)) of it. Over
        images, its error is too large by up to sqrt(2).

    Raises:
        ShapeError: if features are not a matrix with one group for each row.
        ConfigError: if a row is not finite, or a prompt has fewer than four images.
    Source:
        Moments of the Wishart law; derived in explanation/numerics and explanation/metrics.
    """

    def measured(x: FloatArray) -> tuple[FloatArray, bool]:
        products = _products(x)

        def inverse(rows: Index) -> float:
            part = products[np.ix_(rows, rows)]
            trace2, square = squared_traces(part - part.mean(0) - part.mean(1)[:, None] + part.mean(), len(rows))
            return square / trace2 if trace2 > 0 else 1.0

        return leaving_out(inverse, len(x), least=3)

    return replace(by_group(features, groups, measured, least=4), bounds=(0.0, 1.0))


def participation_within(features: ArrayLike, groups: ArrayLike) -> Contributions:
    """Effective number of directions, harmonic mean over prompts; blind to uniform shrinkage.

    Accuracy:
        n images do not cap it at n - 1. That of `concentration_within`, and the bias of an inverse, O(1/prompts).

    Raises:
        ShapeError: if features are not a matrix with one group for each row.
        ConfigError: if a row is not finite, a prompt has fewer than four images, or there are too few to tell.
    Source:
        derived in explanation/metrics.
    """
    return concentration_within(features, groups).inverse()


def vendi(
    features: ArrayLike, groups: ArrayLike, *, kernel: Kernel = "cosine", width: float | None = None
) -> Contributions:
    r"""Vendi score of a prompt's images: the exponential of the entropy of the kernel's eigenvalues, 1 to n.

    Args:
        features: One image per row.
        groups: The prompt of every row.
        kernel: `cosine` of the features as they are, or `rbf`, $e^{-|x-y|^2/2\ell^2}$.
        width: The $\ell$ of `rbf`, the same for all runs compared: say `median_distance` of the reference run.

    Accuracy:
        Exact for the images given; it grows with their number, so compare at equal numbers only.

    Raises:
        ShapeError: if features are not a matrix with one group for each row.
        ConfigError: if a row is not finite or zero, a prompt has one image or too many, or the width does not fit.
    Source:
        [friedman2023vendi]; derived in explanation/metrics.
    """
    if kernel not in KERNELS:
        raise unknown("kernel", kernel, KERNELS)
    if (kernel == "rbf") != (width is not None) or (width is not None and not width > 0):
        raise ConfigError(f"kernel 'rbf' needs a width > 0 and 'cosine' none, got {kernel!r} with width {width}")

    def measured(x: FloatArray) -> tuple[FloatArray, bool]:
        table = _cosines(x) if width is None else _bells(x, width)
        return leaving_out(lambda rows: _effective_number(table[np.ix_(rows, rows)]), len(x), least=1)

    return by_group(features, groups, measured, least=2)


def effective_number(features: ArrayLike, *, width: float) -> float:
    """Vendi score of one set of rows by the kernel `rbf`: the number alone, without what every row contributes.

    Raises:
        ShapeError: if features are not a matrix.
        ConfigError: if a row is not finite.
    Source:
        [friedman2023vendi]; derived in explanation/metrics.
    """
    return _effective_number(_bells(as_samples(features), width))


def distance_within(features: ArrayLike, groups: ArrayLike) -> Contributions:
    """Mean distance of two images of a prompt, mean over prompts, in feature units; unbiased.

    Raises:
        ShapeError: if features are not a matrix with one group for each row.
        ConfigError: if a row is not finite, or a prompt has one image or too many.
    Source:
        Projection of a U-statistic of degree 2; derived in explanation/metrics.
    """

    def measured(x: FloatArray) -> tuple[FloatArray, bool]:
        to_others = np.sqrt(_squared_distances(x)).sum(1) / (len(x) - 1)
        return 2 * to_others - to_others.mean(), len(x) > 2

    return by_group(features, groups, measured, least=2)


def near_duplicates(features: ArrayLike, groups: ArrayLike, *, within: float) -> Contributions:
    """Share of a prompt's images that have another of them near, mean over prompts.

    Args:
        features: One image per row.
        groups: The prompt of every row.
        within: The distance up to which images are near, in feature units.

    Accuracy:
        Exact for the images given; it grows with their number, so compare at equal numbers only.

    Raises:
        ShapeError: if features are not a matrix with one group for each row.
        ConfigError: if a row is not finite, a prompt has one image or too many.
    """

    def measured(x: FloatArray) -> tuple[FloatArray, bool]:
        near = _squared_distances(x) <= within**2
        np.fill_diagonal(near, val=False)
        return leaving_out(lambda rows: float(near[np.ix_(rows, rows)].any(1).mean()), len(x), least=2)

    found = by_group(features, groups, measured, least=2)
    return replace(found, bounds=(0.0, 1.0), grain=1 / len(np.asarray(groups)))


def median_distance(features: ArrayLike, groups: ArrayLike) -> float:
    """Median over prompts of the median distance of two images, in feature units; the width of a kernel.

    Raises:
        ShapeError: if features are not a matrix with one group for each row.
        ConfigError: if a row is not finite, or a prompt has one image or too many.
    """

    def measured(x: FloatArray) -> tuple[FloatArray, bool]:
        above = np.triu_indices(len(x), 1)
        return np.array([np.median(np.sqrt(_squared_distances(x)[above]))]), False

    return float(np.median(by_group(features, groups, measured, least=2).values))


def log_volume_ratio(
    features: ArrayLike, reference: ArrayLike, groups: ArrayLike, *, directions: int | None = None
) -> Contributions:
    r"""Log-determinant of the covariance within prompts against a reference run's, per direction, in nats.

    $$ \frac1k\log\frac{\det U^TC\,U}{\det U^TC_0U} $$

    with $C$ the mean covariance within prompts and $U$ the $k$ leading directions of the reference. Directions come
    from one half of the images of every prompt, both determinants from the other half, and the halves change roles:
    measured on the images that chose them, the reference would look too wide.

    Args:
        features: One image per row.
        reference: The same prompts and seeds without guidance.
        groups: The prompt of every row.
        directions: k; at most the dimension and a tenth of a half's degrees of freedom. None: 50, or what is allowed.

    Accuracy:
        For Gaussian features each log-determinant is biased by about -(k + 1)/(2 x degrees of freedom) per direction,
        at most -0.05, which cancels in the ratio. The directions count as given in the error.

    Raises:
        ShapeError: if the two runs do not match.
        ConfigError: if a prompt has fewer than four images, there are too few for the directions, or one does not vary.
    Source:
        derived in explanation/metrics.
    """
    x, labels = as_features(features, groups, least=4)
    y, _ = as_features(reference, groups, least=4)
    if x.shape != y.shape:
        raise ShapeError(f"expected two runs of the same prompts, seeds and features, got shapes {x.shape}, {y.shape}")
    strata = rows_of(labels)
    halves = [[rows[half::2] for rows in strata] for half in (0, 1)]
    fewest = sum(len(rows) - 1 for rows in halves[1])
    k = _checked(directions, min(x.shape[1], fewest // _ROWS_PER_DIRECTION))
    values = np.empty(len(x))
    for half, other in ((0, 1), (1, 0)):
        turn = _leading(np.concatenate([_about_mean(y[rows]) for rows in halves[other]]), k)
        ratio, parts = _log_determinant(x @ turn, halves[half])
        ratio0, parts0 = _log_determinant(y @ turn, halves[half])
        values[np.concatenate(halves[half])] = (ratio - ratio0 + parts - parts0) / k
    return Contributions(values=values, groups=labels)


def _checked(directions: int | None, most: int) -> int:
    """The number of directions, or what is wrong with it."""
    if directions is None:
        directions = max(1, min(_DIRECTIONS, most))
    if most < 1:
        raise ConfigError(
            f"too few images for a volume: one direction needs {_ROWS_PER_DIRECTION} images in each half; make more "
            "per prompt"
        )
    if not 1 <= directions <= most:
        raise ConfigError(
            f"expected 1 to {most} directions for so many images and features, got {directions}; "
            f"each needs {_ROWS_PER_DIRECTION} images in each half"
        )
    return directions


def _leading(residuals: FloatArray, k: int) -> FloatArray:
    """Leading principal directions, one per column."""
    from sklearn.utils.extmath import randomized_svd  # a second to import

    return np.asarray(randomized_svd(residuals, k, n_iter=_POWER_STEPS, random_state=0)[2].T)


def _log_determinant(x: FloatArray, halves: list[Index]) -> tuple[float, FloatArray]:
    """Log-determinant of the covariance within groups, and what every row, in order of groups, adds to first order."""
    centred = [_about_mean(x[rows]) for rows in halves]
    covariance = sum(c.T @ c for c in centred) / sum(len(c) - 1 for c in centred)
    try:
        root = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        raise ConfigError("the images do not vary in a direction of the reference, so the volume is zero") from None
    rows = [(np.linalg.solve(root, c.T) ** 2).sum(0) * len(c) / (len(c) - 1) for c in centred]
    parts = np.concatenate(rows)
    mean = float(np.mean([r.mean() for r in rows]))
    return 2 * float(np.log(np.diag(root)).sum()), parts - mean


def _about_mean(x: NDArray[Any]) -> FloatArray:
    x = x.astype(np.float64)
    return np.asarray(x - x.mean(0))


def _products(x: FloatArray) -> FloatArray:
    _pairs(len(x))
    centred = x - x.mean(0)
    return np.asarray(centred @ centred.T)


def _bells(x: FloatArray, width: float) -> FloatArray:
    """The kernel `rbf` of every pair."""
    return np.exp(-_squared_distances(x) / (2 * width**2))


def _squared_distances(x: FloatArray) -> FloatArray:
    _pairs(len(x))
    return np.asarray(cdist(x, x, "sqeuclidean"))


def _cosines(x: FloatArray) -> FloatArray:
    _pairs(len(x))
    lengths = np.linalg.norm(x, axis=1)
    if not (lengths > 0).all():
        raise ConfigError("an image has only zeros as features and no direction; use kernel='rbf'")
    unit = x / lengths[:, None]
    return np.asarray(unit @ unit.T)


def _pairs(n: int) -> None:
    if n > _MOST:
        raise ConfigError(
            f"pairs of {n} images are too many for one table; measure {_MOST} of them, the same in all runs"
        )


def _effective_number(kernel: FloatArray) -> float:
    """Exponential of the entropy of the eigenvalues of a kernel with ones on its diagonal."""
    shares = np.linalg.eigvalsh(kernel / len(kernel))
    shares = shares[shares > 0]
    return math.exp(-float(shares @ np.log(shares)))
