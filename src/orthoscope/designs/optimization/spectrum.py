r"""Two Gaussians with a shared eigenbasis, as a law to design for.

Every shared eigendirection follows the equations of `theory.flow` on its own; a schedule acts on all of them. Where the
conditional law is wider than the unconditional one (c > u) guidance widens it instead of narrowing it, and where both
variances agree it moves the mean alone.

Source:
    derived in explanation/design.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from orthoscope.checks import settle
from orthoscope.designs.optimization.adjoint import NodeGradient, linear_moments, linear_panels
from orthoscope.designs.optimization.goals import Outcome, Quantity
from orthoscope.designs.optimization.laws import Law, Response, check_start, effort, stacked
from orthoscope.designs.optimization.parametrization import PieceGradient, Pieces
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.laws import Start
from orthoscope.numerics import Array
from orthoscope.theory.flow import drift_factor
from orthoscope.theory.gaussian import guided_gaussian, scheduled_gaussian

_SYMMETRIC = 1e-9  # relative asymmetry, and relative commutator, that count as rounding
_SINGULAR = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class SpectrumLaw(Law):
    """Conditional N(cond_mean, cond_var), unconditional N(uncond_mean, uncond_var), direction by direction.

    Attributes:
        cond_mean: Mean of the conditional law, one number per direction, as are the following.
        cond_var: Its variance.
        uncond_mean: Mean of the unconditional law.
        uncond_var: Its variance.
        t_max: Variance time of the start, finite.
        start: "prior", the noised unconditional law, or "exact", the noised conditional law.
        lam: 1 for the reverse SDE, 0 for the probability-flow ODE.
    """

    cond_mean: ArrayLike
    cond_var: ArrayLike
    uncond_mean: ArrayLike
    uncond_var: ArrayLike
    t_max: float
    start: Start = "prior"
    lam: float = 1.0

    def __post_init__(self) -> None:
        """Reject what is no pair of Gaussian laws."""
        settle(self)
        check_start(self.t_max, self.start, self.lam)
        names = ("cond_mean", "cond_var", "uncond_mean", "uncond_var")
        try:
            arrays = np.broadcast_arrays(
                *(np.atleast_1d(np.asarray(getattr(self, name), dtype=np.float64)) for name in names)
            )
        except ValueError as error:
            shapes = ", ".join(f"{name} {np.shape(getattr(self, name))}" for name in names)
            raise ConfigError(f"expected one number per direction in each of {shapes}") from error
        if arrays[0].ndim != 1:
            raise ConfigError(f"expected one number per direction, got arrays of {arrays[0].ndim} axes")
        if not arrays[0].size:
            raise ConfigError("expected at least one direction, got none")
        guided_gaussian(arrays[0], arrays[1], arrays[2], arrays[3], 0.0)  # says which number is no mean or no variance
        for name, array in zip(names, arrays, strict=True):
            object.__setattr__(self, name, array)

    @classmethod
    def from_covariances(
        cls,
        cond_mean: ArrayLike,
        cond_cov: ArrayLike,
        uncond_mean: ArrayLike,
        uncond_cov: ArrayLike,
        *,
        t_max: float,
        start: Start = "prior",
        lam: float = 1.0,
    ) -> SpectrumLaw:
        """The law of two covariance matrices that commute, in their shared eigenbasis.

        Raises:
            ConfigError: if a matrix is not symmetric and positive definite, the two do not commute, or a mean does not
                fit.
        """
        cond, uncond = _covariance("conditional", cond_cov), _covariance("unconditional", uncond_cov)
        if cond.shape != uncond.shape:
            raise ConfigError(f"covariances must be of one size, got {cond.shape} and {uncond.shape}")
        commutator = np.linalg.norm(cond @ uncond - uncond @ cond)
        if commutator > _SYMMETRIC * np.linalg.norm(cond) * np.linalg.norm(uncond):
            raise ConfigError(
                "the covariances must commute (share their eigendirections) for a design; "
                "give both in a common eigenbasis, or the conditional one projected on the other's"
            )
        means = [np.asarray(mean, dtype=np.float64) for mean in (cond_mean, uncond_mean)]
        for name, mean in zip(("conditional", "unconditional"), means, strict=True):
            if mean.shape != cond.shape[:1]:
                raise ConfigError(f"the {name} mean must have {len(cond)} numbers, got shape {mean.shape}")
        # A generic combination has the eigenbasis of both, also where one of them is degenerate.
        basis = np.linalg.eigh(cond / np.trace(cond) + np.sqrt(2) * uncond / np.trace(uncond))[1]
        return cls(
            cond_mean=basis.T @ means[0],
            cond_var=np.einsum("ij,ik,kj->j", basis, cond, basis),
            uncond_mean=basis.T @ means[1],
            uncond_var=np.einsum("ij,ik,kj->j", basis, uncond, basis),
            t_max=t_max,
            start=start,
            lam=lam,
        )

    @property
    def base(self) -> float:
        """Smallest variance of both laws."""
        return float(min(np.min(self.cond_var), np.min(self.uncond_var)))

    @property
    def gap(self) -> Array:
        """Variance of the unconditional law minus that of the conditional one."""
        return np.asarray(self.uncond_var) - np.asarray(self.cond_var)

    @property
    def factor(self) -> float:
        """Drift factor k."""
        return drift_factor(self.lam)

    @property
    def missing(self) -> Mapping[Quantity, str]:
        """The class posterior; the mean shift of equal means; effort where no variance can be changed."""
        reasons: dict[Quantity, str] = {"class_posterior": "two Gaussians have no classes to lose; leave it out"}
        if not self._distance.any():
            reasons["mean_shift"] = reasons["separability"] = "the two means coincide, and guidance does not move them"
        if not self.gap.any():
            reasons["effort"] = "the two variances agree, and an effort weighted by what guidance does to them is 0"
        return reasons

    @property
    def _distance(self) -> Array:
        return (np.asarray(self.cond_mean) - np.asarray(self.uncond_mean)) ** 2

    def evaluate(self, schedule: GuidanceSchedule) -> Outcome:
        """What a schedule does, by `gaussian.scheduled_gaussian`."""
        if schedule.clock == "step":
            raise ConfigError("theory needs a schedule in time, got clock=step; resolve it on the grid of a run first")
        with np.errstate(over="ignore", invalid="ignore"):
            shift, variance = scheduled_gaussian(
                self.cond_var, self.uncond_var, schedule, lam=self.lam, t_max=self.t_max, start=self.start
            )
        values, *_ = self._measures(shift, variance)
        return Outcome(
            mean_shift=values[0],
            variance_ratio=values[1],
            class_posterior=None,
            separability=values[2],
            frechet=values[3],
            effort=self._effort(self.pieces(schedule))[0],
        )

    def respond(self, pieces: Pieces) -> Response:
        """The same for a piecewise schedule, with exact gradients."""
        grid = linear_panels(pieces, 2 * self.factor)
        start = (np.zeros(self.gap.shape),) * 2 if self.start == "exact" else (-np.ones(self.gap.shape), self.gap)
        cond = np.asarray(self.cond_var)
        with np.errstate(over="ignore", invalid="ignore"):
            shift, excess, by_shift, by_excess = linear_moments(grid, cond, self.gap, self.factor, *start)
            values, d_shift, d_excess = self._measures(shift, cond + excess)
            total = NodeGradient(
                **{
                    name: np.tensordot(d_shift, getattr(by_shift, name), 1)
                    + np.tensordot(d_excess, getattr(by_excess, name), 1)
                    for name in ("strength", "position", "width")
                }
            )
            moved = grid.pullback(total.strength, total.position, total.width)
        cost, cost_gradient = self._effort(pieces)
        rows = [moved.row(i) for i in range(4)]
        nothing = PieceGradient(edges=0 * pieces.edges, high=0 * pieces.high, low=0 * pieces.low)
        answer = np.array([values[0], values[1], np.nan, values[2], values[3], cost])
        return Response(
            values=answer,
            differentiate=lambda: stacked(rows[0], rows[1], nothing, rows[2], rows[3], cost_gradient),
            lost=not np.isfinite(np.delete(answer, 2)).all(),
        )

    def _effort(self, pieces: Pieces) -> tuple[float, PieceGradient]:
        return effort(pieces, np.asarray(self.cond_var), self.gap, self.factor)

    def _measures(self, shift: Array, variance: Array) -> tuple[tuple[float, float, float, float], Array, Array]:
        # Mean shift, variance ratio, separability and frechet; their derivatives by the shift and by the
        # variance of each direction.
        square, cond = self._distance, np.asarray(self.cond_var)
        weight = square / square.sum() if square.any() else np.zeros_like(square)
        variance = np.maximum(variance, 1e-300)
        ratio, std = (1 + shift) / variance, np.sqrt(variance)
        values = (
            float(weight @ shift),
            float(variance.sum() / cond.sum()),
            float(square @ (ratio * (1 + shift))),
            float((square * shift**2 + (std - np.sqrt(cond)) ** 2).sum()),
        )
        zero, one = np.zeros_like(square), np.ones_like(square)
        by_shift = np.stack([weight, zero, 2 * square * ratio, 2 * square * shift])
        by_variance = np.stack([zero, one / cond.sum(), -square * ratio**2, 1 - np.sqrt(cond) / std])
        return values, by_shift, by_variance


def _covariance(name: str, matrix: ArrayLike) -> Array:
    found = np.asarray(matrix, dtype=np.float64)
    if found.ndim != 2 or found.shape[0] != found.shape[1] or not np.isfinite(found).all():
        raise ConfigError(f"the {name} covariance must be a finite square matrix, got shape {found.shape}")
    size = np.linalg.norm(found)
    if np.linalg.norm(found - found.T) > _SYMMETRIC * size:
        raise ConfigError(f"the {name} covariance must be symmetric")
    if (smallest := float(np.linalg.eigvalsh(found)[0])) <= _SINGULAR * size:
        raise ConfigError(
            f"the {name} covariance must be positive definite, its smallest eigenvalue is {smallest:.3g}; "
            "add a bandwidth to its diagonal, or project on fewer directions"
        )
    return (found + found.T) / 2
