r"""Guidance between two Gaussians in many dimensions, whose covariances need not commute.

A law is held by its covariance in a subspace and one variance for every direction orthogonal to it, so that a full
matrix and a matrix of low rank over an isotropic floor are the same thing. Two laws meet in the span of both; outside
it everything is the one-dimensional closed form. Inside, commuting covariances act direction by direction
(`gaussian.guided_gaussian`), others follow the matrix moment equations (`matrix_flow.matrix_moments`).

Source:
    [ventura2026emergence] for commuting covariances; derived in explanation/joint.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from orthoscope.errors import ConfigError, ShapeError
from orthoscope.guidance.schedules import Constant, GuidanceSchedule
from orthoscope.laws import Start
from orthoscope.numerics import Array, singular_values
from orthoscope.settings import check_run
from orthoscope.theory.gaussian import guided_gaussian, tilted_gaussian
from orthoscope.theory.matrix_flow import matrix_moments

CLOSED_FORM, MATRIX_EQUATIONS = "closed form in the shared eigenbasis", "matrix moment equations"
_SMALLEST, _LARGEST = 1e-12, 1e12  # eigenvalues whose ratios stay far from the ends of float64
_ASYMMETRY = 1e-9  # relative
_EQUAL = 1e-12  # relative size of a negative eigenvalue that counts as zero
_COMMUTE = 1e-13  # relative size of what two covariances that count as commuting leave off the diagonal


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GaussianLaw:
    """A Gaussian by its covariance in a subspace; made by `gaussian_law`.

    Attributes:
        mean: Mean.
        basis: Orthonormal columns that span the subspace.
        root: A square root of the covariance inside, in this basis: the covariance is root @ root.T.
        rest: Variance of every direction orthogonal to the subspace.
    """

    mean: Array
    basis: Array
    root: Array
    rest: float

    @property
    def core(self) -> Array:
        """Covariance inside, in the basis."""
        return self.root @ self.root.T

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return len(self.mean)

    @property
    def outside(self) -> int:
        """Number of directions orthogonal to the subspace."""
        return self.dim - len(self.root)

    @property
    def covariance(self) -> Array:
        """The full covariance matrix."""
        inside = self.basis @ self.core @ self.basis.T
        return inside + self.rest * (np.eye(self.dim) - self.basis @ self.basis.T)

    @property
    def eigenvalues(self) -> Array:
        """Variances along the principal directions, descending, each to full relative accuracy."""
        inside = singular_values(self.root) ** 2
        return np.sort(np.concatenate([inside, np.full(self.outside, self.rest)]))[::-1]

    @property
    def total_variance(self) -> float:
        """Trace of the covariance."""
        return float((self.root**2).sum()) + self.outside * self.rest

    @property
    def participation_ratio(self) -> float:
        """Effective number of directions, (tr C)^2 / tr C^2."""
        return self.total_variance**2 / (float((self.core**2).sum()) + self.outside * self.rest**2)

    @property
    def log_det(self) -> float:
        """Log-determinant of the covariance; minus infinity where a variance is below the range of float64."""
        with np.errstate(divide="ignore"):
            inside = 2 * float(np.log(singular_values(self.root)).sum())
        return inside + (self.outside * float(np.log(self.rest)) if self.outside else 0.0)

    def _in(self, basis: Array) -> Array:
        inside = basis.T @ self.basis
        return inside @ (self.core - self.rest * np.eye(len(self.core))) @ inside.T + self.rest * np.eye(basis.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JointPrediction:
    """What guidance makes of a conditional Gaussian.

    Attributes:
        cond: The conditional law.
        guided: The guided law.
        mean_shift: Guided minus conditional mean, which no subtraction has robbed of digits.
        tilted: The tilted law p_c^(1+w) p_u^(-w); None where there is none, or where the strength is not constant.
        fisher: Fisher separability, tr(guided covariance^-1 times the covariance of guided class means), when class
            means are spread as the two covariances imply; nan where uncond - cond is no covariance.
        method: How it was computed: `CLOSED_FORM` or `MATRIX_EQUATIONS`.
    """

    cond: GaussianLaw
    guided: GaussianLaw
    mean_shift: Array
    tilted: GaussianLaw | None
    fisher: float
    method: str

    @property
    def entropy_change(self) -> float:
        """Differential entropy of the guided minus that of the conditional law, in nats."""
        return (self.guided.log_det - self.cond.log_det) / 2


def gaussian_law(
    mean: ArrayLike,
    *,
    cov: ArrayLike | None = None,
    factor: ArrayLike | None = None,
    diag: float | None = None,
    name: str = "Gaussian",
) -> GaussianLaw:
    """A Gaussian from its full covariance, or from factor @ factor.T + diag * I.

    Args:
        mean: Mean, one number per coordinate.
        cov: Full covariance.
        factor: Tall matrix of the low-rank part, with `diag`; instead of `cov`.
        diag: Variance of the isotropic part, > 0.
        name: What to call it in an error.

    Raises:
        ConfigError: unless one description is given, finite, symmetric and positive definite.
        ShapeError: if the shapes do not fit each other.
    """
    if (cov is None) == (factor is None) or (factor is None) != (diag is None):
        raise ConfigError(f"the {name} law needs either cov, or factor with diag")
    m = _numbers(mean, f"{name} mean")
    if m.ndim != 1 or not m.size:
        raise ShapeError(f"the {name} mean must be a list of numbers, got shape {m.shape}")
    if cov is not None:
        matrix = _numbers(cov, f"{name} covariance")
        if matrix.shape != (m.size, m.size):
            raise ShapeError(f"the {name} covariance must be {m.size} x {m.size} like its mean, got {matrix.shape}")
        if np.abs(matrix - matrix.T).max() > _ASYMMETRY * np.abs(matrix).max():
            raise ConfigError(f"the {name} covariance must be symmetric: it differs from its transpose")
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        _check_range(values, name)
        law = GaussianLaw(mean=m, basis=np.eye(m.size), root=vectors * np.sqrt(values), rest=0.0)
    else:
        tall, floor = _numbers(factor, f"{name} factor"), _numbers(diag, f"{name} diag")
        if floor.ndim:
            raise ShapeError(f"the {name} diag must be one number, got shape {floor.shape}")
        if tall.ndim != 2 or len(tall) != m.size:
            raise ShapeError(f"the {name} factor must have one row per coordinate ({m.size}), got shape {tall.shape}")
        basis, singular, _ = np.linalg.svd(tall, full_matrices=False)
        _check_range(np.append(singular**2, 0.0) + floor, name)
        law = GaussianLaw(mean=m, basis=basis, root=np.diag(np.sqrt(singular**2 + floor)), rest=float(floor))
    return law


def _check_range(eigenvalues: Array, name: str) -> None:
    lowest, highest = eigenvalues.min(), eigenvalues.max()
    if not lowest > 0:
        raise ConfigError(f"the {name} covariance must be positive definite, got the eigenvalue {lowest:g}")
    if not (lowest >= _SMALLEST and highest <= _LARGEST):
        raise ConfigError(
            f"eigenvalues of the {name} covariance must lie between {_SMALLEST:g} and {_LARGEST:g}, got {lowest:g} "
            f"to {highest:g}; rescale the data"
        )


def _numbers(value: ArrayLike | None, what: str) -> Array:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the {what} must hold numbers in rows of equal length") from error
    if not np.isfinite(array).all():
        raise ConfigError(f"the {what} must be finite")
    return array


def guided_joint(
    cond: GaussianLaw,
    uncond: GaussianLaw,
    strength: GuidanceSchedule | float,
    *,
    lam: float = 1.0,
    t_max: float = np.inf,
    start: Start = "prior",
) -> JointPrediction:
    """The law that guided sampling draws from, and the tilted law beside it.

    Args:
        cond: The conditional law.
        uncond: The unconditional law.
        strength: A number, or a schedule.
        lam: 1 for the reverse SDE, 0 for the probability-flow ODE, anything between for a mixture.
        t_max: Variance time of the start.
        start: At finite t_max, whether paths start from the noised unconditional ("prior") or conditional
            ("exact") law.

    Accuracy:
        About 1e-10, for every eigenvalue of the guided covariance relative to it (see `matrix_flow.matrix_moments`);
        where the covariances commute as `guided_gaussian`.

    Raises:
        ShapeError: if the two laws live in different dimensions.
        ConfigError: if a number is out of range, or t_max is infinite and the schedule has no strength there.

    Source:
        [ventura2026emergence] for commuting covariances; derived in explanation/joint.
    """
    if cond.dim != uncond.dim:
        raise ShapeError(f"both laws must have one dimension, got {cond.dim} and {uncond.dim}")
    check_run(t_max, start, lam)
    schedule = strength if isinstance(strength, GuidanceSchedule) else Constant(value=strength)
    basis = _span(cond, uncond)
    inside = cond._in(basis), uncond._in(basis)
    response, root, fisher, method = _solve(*inside, schedule, lam=lam, t_max=t_max, start=start)
    scalar = guided_gaussian(
        1.0, cond.rest or 1.0, 0.0, uncond.rest or 1.0, schedule, lam=lam, t_max=t_max, start=start
    )
    outside = cond.dim - len(root)
    if not (np.isfinite(response).all() and np.isfinite(root).all() and np.isfinite(scalar.mean_shift)):
        raise ConfigError(
            "the guided law exceeds the range of floating point: the conditional law is much wider than the "
            "unconditional one; use a smaller strength"
        )
    gap = cond.mean - uncond.mean
    shift = _act(basis, response, float(scalar.mean_shift), gap)
    cond = _spanned(cond, basis)
    rest = float(scalar.variance) if outside else 0.0
    law = replace(cond, mean=cond.mean + shift, root=root, rest=rest)
    if outside and uncond.rest != cond.rest:
        fisher += outside * float(scalar.fisher)
    tilted = _tilted(cond, inside[1], uncond.rest, gap, schedule.value) if isinstance(schedule, Constant) else None
    return JointPrediction(cond=cond, guided=law, mean_shift=shift, tilted=tilted, fisher=fisher, method=method)


def _spanned(law: GaussianLaw, basis: Array) -> GaussianLaw:
    """The same law by its covariance in a larger subspace."""
    if law.outside == 0 and basis.shape[1] == law.dim:
        return replace(law, basis=basis, root=basis.T @ law.basis @ law.root)
    values, vectors = np.linalg.eigh(law._in(basis))
    return replace(law, basis=basis, root=vectors * np.sqrt(values))


def _span(cond: GaussianLaw, uncond: GaussianLaw) -> Array:
    """Orthonormal columns that span the subspaces of both laws."""
    both = np.hstack([cond.basis, uncond.basis])
    if both.shape[1] >= cond.dim:
        return np.eye(cond.dim)
    vectors, singular, _ = np.linalg.svd(both, full_matrices=False)
    return vectors[:, singular > 1e-13 * singular[0]]


def _act(basis: Array, inside: Array, outside: float, vector: Array) -> Array:
    """A matrix that is `inside` in the span and a multiple of the identity outside, times a vector."""
    part = basis.T @ vector
    return basis @ (inside @ part) + outside * (vector - basis @ part)


def _solve(
    c: Array, u: Array, schedule: GuidanceSchedule, *, lam: float, t_max: float, start: Start
) -> tuple[Array, Array, float, str]:
    """Response matrix, root of the guided covariance, separability and method inside the span."""
    # A generic combination of commuting matrices has the eigenvectors that both share.
    vectors = np.linalg.eigh(c / np.trace(c) + (1 + np.sqrt(5)) / 2 * u / np.trace(u))[1]
    turned = [vectors.T @ matrix @ vectors for matrix in (c, u)]
    variances = [np.diag(matrix).copy() for matrix in turned]
    off = max(np.abs(matrix - np.diag(own)).max() / own.max() for matrix, own in zip(turned, variances, strict=True))
    if off > _COMMUTE * len(c):
        response, root = matrix_moments(c, u, schedule, lam=lam, t_max=t_max, start=start)
        return response, root, _fisher(response, root, u - c), MATRIX_EQUATIONS
    found = guided_gaussian(1.0, variances[0], 0.0, variances[1], schedule, lam=lam, t_max=t_max, start=start)
    with np.errstate(over="ignore", invalid="ignore"):  # for the caller to refuse
        response, root = (vectors * found.mean_shift) @ vectors.T, vectors * np.exp(found.log_variance / 2)
    spread = variances[1] - variances[0]
    narrower = (spread < -_EQUAL * np.abs(spread).max(initial=0.0)).any()
    fisher = np.nan if narrower else float(np.sum(np.where(spread > 0, found.fisher, 0.0)))
    return response, root, fisher, CLOSED_FORM


def _fisher(response: Array, root: Array, spread: Array) -> float:
    """Separability of guided classes inside the span."""
    values, vectors = np.linalg.eigh(spread)
    if values[0] < -_EQUAL * np.abs(values).max(initial=0.0):
        return np.nan
    moved = (np.eye(len(root)) + response) @ (vectors * np.sqrt(np.maximum(values, 0.0)))
    size = np.linalg.norm(root, axis=1, keepdims=True)
    try:
        return float((np.linalg.solve(root / size, moved / size) ** 2).sum())
    except np.linalg.LinAlgError:
        return np.inf


def _tilted(cond: GaussianLaw, u: Array, u_rest: float, gap: Array, w: float) -> GaussianLaw | None:
    """The law p_c^(1+w) p_u^(-w) if it can be normalized."""
    # With C = root root', its precision is root'^-1 (1 + w - w root' U^-1 root) root^-1.
    values, vectors = np.linalg.eigh(u)
    white = (vectors / np.sqrt(values)).T @ cond.root
    _, singular, right = np.linalg.svd(white)
    precision = 1 + w - w * singular**2
    rest_shift, rest = (float(part) for part in tilted_gaussian(cond.rest or 1.0, u_rest or 1.0, w))
    if precision.min() <= 0 or (cond.outside and not rest > 0):
        return None
    root = cond.root @ (right.T / np.sqrt(precision))
    push = w * root @ (root.T @ (vectors / values) @ vectors.T)
    mean = cond.mean + _act(cond.basis, push, rest_shift, gap)
    return replace(cond, mean=mean, root=root, rest=rest if cond.outside else 0.0)
