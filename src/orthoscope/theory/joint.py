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
from orthoscope.numerics import Array
from orthoscope.theory.flow import Start, check_run
from orthoscope.theory.gaussian import guided_gaussian, tilted_gaussian
from orthoscope.theory.matrix_flow import matrix_moments

CLOSED_FORM, MATRIX_EQUATIONS = "closed form in the shared eigenbasis", "matrix moment equations"
_SMALLEST, _LARGEST = 1e-12, 1e12  # eigenvalues whose ratios stay far from the ends of float64
_ASYMMETRY = 1e-9  # relative
_COMMUTE = 1e-13  # relative size of what two covariances that count as commuting leave off the diagonal


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GaussianLaw:
    """A Gaussian by its covariance in a subspace; made by `gaussian_law`.

    Attributes:
        mean: Mean.
        basis: Orthonormal columns that span the subspace.
        core: Covariance inside, in this basis.
        rest: Variance of every direction orthogonal to the subspace.
    """

    mean: Array
    basis: Array
    core: Array
    rest: float

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return len(self.mean)

    @property
    def outside(self) -> int:
        """Number of directions orthogonal to the subspace."""
        return self.dim - len(self.core)

    @property
    def covariance(self) -> Array:
        """The full covariance matrix."""
        inside = self.basis @ self.core @ self.basis.T
        return inside + self.rest * (np.eye(self.dim) - self.basis @ self.basis.T)

    @property
    def eigenvalues(self) -> Array:
        """Variances along the principal directions, descending."""
        inside = np.linalg.eigvalsh(self.core)
        return np.sort(np.concatenate([inside, np.full(self.outside, self.rest)]))[::-1]

    @property
    def total_variance(self) -> float:
        """Trace of the covariance."""
        return float(np.trace(self.core)) + self.outside * self.rest

    @property
    def participation_ratio(self) -> float:
        """Effective number of directions, (tr C)^2 / tr C^2."""
        return self.total_variance**2 / (float((self.core**2).sum()) + self.outside * self.rest**2)

    @property
    def log_det(self) -> float:
        """Log-determinant of the covariance; minus infinity where a variance is lost to rounding."""
        with np.errstate(divide="ignore"):
            return float(np.log(np.maximum(self.eigenvalues, 0.0)).sum())

    def _in(self, basis: Array) -> Array:
        inside = basis.T @ self.basis
        return inside @ (self.core - self.rest * np.eye(len(self.core))) @ inside.T + self.rest * np.eye(basis.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JointPrediction:
    """What guidance makes of a conditional Gaussian.

    Attributes:
        cond: The conditional law.
        guided: The guided law.
        tilted: The tilted law p_c^(1+w) p_u^(-w); None where there is none, or where the strength is not constant.
        fisher: Fisher separability, tr(guided covariance^-1 times the covariance of guided class means), when class
            means are spread as the two covariances imply; nan where uncond - cond is no covariance.
        method: How it was computed: `CLOSED_FORM` or `MATRIX_EQUATIONS`.
    """

    cond: GaussianLaw
    guided: GaussianLaw
    tilted: GaussianLaw | None
    fisher: float
    method: str

    @property
    def mean_shift(self) -> Array:
        """Guided minus conditional mean."""
        return self.guided.mean - self.cond.mean

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

    Source:
        Definition; derived in explanation/joint.
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
        law = GaussianLaw(mean=m, basis=np.eye(m.size), core=(matrix + matrix.T) / 2, rest=0.0)
    else:
        tall, floor = _numbers(factor, f"{name} factor"), _numbers(diag, f"{name} diag")
        if floor.ndim:
            raise ShapeError(f"the {name} diag must be one number, got shape {floor.shape}")
        if tall.ndim != 2 or len(tall) != m.size:
            raise ShapeError(f"the {name} factor must have one row per coordinate ({m.size}), got shape {tall.shape}")
        basis, singular, _ = np.linalg.svd(tall, full_matrices=False)
        law = GaussianLaw(mean=m, basis=basis, core=np.diag(singular**2 + floor), rest=float(floor))
    lowest, highest = law.eigenvalues[-1], law.eigenvalues[0]
    if not lowest > 0:
        raise ConfigError(f"the {name} covariance must be positive definite, got the eigenvalue {lowest:g}")
    if not (lowest >= _SMALLEST and highest <= _LARGEST):
        raise ConfigError(
            f"eigenvalues of the {name} covariance must lie between {_SMALLEST:g} and {_LARGEST:g}, got {lowest:g} "
            f"to {highest:g}; rescale the data"
        )
    return law


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
        About 1e-10, absolute in units of the largest eigenvalue; where the covariances commute as `guided_gaussian`.

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
    response, core, method = _solve(*inside, schedule, lam=lam, t_max=t_max, start=start)
    scalar = guided_gaussian(
        1.0, cond.rest or 1.0, 0.0, uncond.rest or 1.0, schedule, lam=lam, t_max=t_max, start=start
    )
    outside = cond.dim - len(core)
    rest = float(scalar.variance) if outside else 0.0
    gap = cond.mean - uncond.mean
    cond = replace(cond, basis=basis, core=inside[0])
    law = replace(cond, mean=cond.mean + _act(basis, response, float(scalar.mean) - 1, gap), core=core, rest=rest)
    fisher = _fisher(response, core, inside[1] - inside[0])
    if outside and uncond.rest != cond.rest:
        fisher += outside * float(scalar.fisher)
    tilted = _tilted(cond, inside[1], uncond.rest, gap, schedule.value) if isinstance(schedule, Constant) else None
    return JointPrediction(cond=cond, guided=law, tilted=tilted, fisher=fisher, method=method)


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
) -> tuple[Array, Array, str]:
    """Response matrix, guided covariance and method inside the span."""
    # A generic combination of commuting matrices has the eigenvectors that both share.
    vectors = np.linalg.eigh(c / np.trace(c) + (1 + np.sqrt(5)) / 2 * u / np.trace(u))[1]
    turned = [vectors.T @ matrix @ vectors for matrix in (c, u)]
    variances = [np.diag(matrix).copy() for matrix in turned]
    off = max(np.abs(matrix - np.diag(own)).max() / own.max() for matrix, own in zip(turned, variances, strict=True))
    if off > _COMMUTE * len(c):
        return *matrix_moments(c, u, schedule, lam=lam, t_max=t_max, start=start), MATRIX_EQUATIONS
    found = guided_gaussian(1.0, variances[0], 0.0, variances[1], schedule, lam=lam, t_max=t_max, start=start)
    response, core = ((vectors * diagonal) @ vectors.T for diagonal in (found.mean - 1, found.variance))
    return response, core, CLOSED_FORM


def _fisher(response: Array, core: Array, spread: Array) -> float:
    """Separability of guided classes inside the span."""
    if np.linalg.eigvalsh(spread)[0] < -1e-12 * np.abs(spread).max(initial=0.0):
        return np.nan
    moved = np.eye(len(core)) + response
    try:
        return float(np.trace(np.linalg.solve(core, moved @ spread @ moved.T)))
    except np.linalg.LinAlgError:
        return np.inf


def _tilted(cond: GaussianLaw, u: Array, u_rest: float, gap: Array, w: float) -> GaussianLaw | None:
    """The law p_c^(1+w) p_u^(-w) if it can be normalized."""
    c_inverse, u_inverse = np.linalg.inv(cond.core), np.linalg.inv(u)
    precision = (1 + w) * c_inverse - w * u_inverse
    rest_shift, rest = (float(part) for part in tilted_gaussian(cond.rest or 1.0, u_rest or 1.0, w))
    if np.linalg.eigvalsh(precision)[0] <= 0 or (cond.outside and not rest > 0):
        return None
    core = np.linalg.inv(precision)
    mean = cond.mean + _act(cond.basis, w * core @ u_inverse, rest_shift, gap)
    return replace(cond, mean=mean, core=(core + core.T) / 2, rest=rest if cond.outside else 0.0)
