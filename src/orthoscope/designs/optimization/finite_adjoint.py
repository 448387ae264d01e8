r"""Moments at the end of a run and their exact gradients, in finite dimension.

The equations are those of `theory.finite`: guidance acts with $w(1 - p_1)$, where the posterior $p_1$ of the own mode
depends on the state and on a deviation $\xi$ frozen along the path. One explicit Runge-Kutta step of order 8 per
panel, for all $\xi$ at once, and the exact reverse of it: with $Y_i$ the stages and $K_i$ their slopes,

$$ z' = z - \Delta \sum_i b_i K_i, \qquad
   \mu_i = -\Delta\,\bigl(b_i\,\bar z' + \textstyle\sum_j a_{ji}\,\bar Y_j\bigr), \qquad \bar Y_i = (\partial
   K/\partial z)^T \mu_i . $$

Source:
    derived in explanation/design.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import expit

from orthoscope.designs.optimization.adjoint import NodeGradient
from orthoscope.designs.optimization.parametrization import Panels, Pieces, panels
from orthoscope.numerics import Array, normal_grid
from orthoscope.theory.finite import MODES, Contest, spread

NODES_XI = 129  # of the average over xi
_Gradient = tuple[Array, Array, Array]  # by shift, excess and log v


@cache
def _tableau() -> tuple[Array, Array, Array]:
    # Loaded on first use: scipy.integrate is slow to import.
    from scipy.integrate import DOP853

    stages = DOP853.n_stages
    return DOP853.A[:stages, :stages], DOP853.B, DOP853.C[:stages]


def finite_panels(pieces: Pieces, factor: float, dim: int, coarseness: float = 1.0) -> Panels:
    """Panels on which the steps of `finite_paths` are accurate to 1e-8, 1e-5 where others condense on the way.

    Args:
        pieces: The schedule.
        factor: The drift factor k.
        dim: The dimension.
        coarseness: Widths over those.

    Source:
        derived in explanation/design.
    """
    strongest = np.maximum(np.abs(pieces.high), np.abs(pieces.low))
    # Growth, and the passage of the posterior from 0 to 1, which takes a length 1/dim in y.
    widest = 1 / (2 + 0.6 * factor * (1 + strongest) + dim / 14)
    return panels(pieces, _tableau()[2], coarseness * widest)


def rate_slopes(shift: Array, excess: Array, v: Array) -> tuple[Array, Array, Array]:
    """Derivatives of the speciation rate by shift, excess and log v.

    Source:
        derived in explanation/design.
    """
    u, square = 1 + v, shift * shift + excess
    uv = u * v
    by_position = (-1 / u - 2 * shift * v / u**2 + square * (u + v) / (u * uv)) / 2
    return 1 / u - shift / uv, -1 / (2 * uv), by_position


def condensation_slopes(shift: Array, excess: Array, v: Array) -> tuple[Array, Array, Array]:
    """Derivatives of the condensation rate by shift, excess and log v.

    Source:
        derived in explanation/design.
    """
    u = 1 + v
    surplus = 2 * shift + shift**2 + excess  # |x|^2 per dimension minus u
    return (1 + shift) / u**2, 1 / (2 * u**2), -(1 / u + 2 * v * surplus / u**3) / 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Slopes:
    """Slopes of shift and excess and what they depend on, elementwise."""

    slope: tuple[Array, Array]
    jacobian: tuple[tuple[Array, Array], tuple[Array, Array]]
    by_strength: tuple[Array, Array]
    by_position: tuple[Array, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class FiniteFlow:
    """The moment equations in `dim` dimensions.

    Attributes:
        contest: The own mode against all others.
        factor: The drift factor k.
    """

    contest: Contest
    factor: float

    def log_odds(self, p: Array, e: Array, v: Array) -> tuple[Array, Array]:
        """Log-odds of the own mode, and the pull of the others."""
        return self.contest.log_odds(p, e, v, normal_grid(NODES_XI)[0])

    def log_odds_slopes(self, p: Array, e: Array, v: Array) -> tuple[Array, Array, _Gradient, _Gradient]:
        """Log-odds of the own mode, the pull of the others, and the derivatives of both by shift, excess and log v."""
        dim, xi, u, width = self.contest.dim, normal_grid(NODES_XI)[0], 1 + v, np.maximum(v + e, 0)
        log_odds, pull = self.log_odds(p, e, v)
        sigma = spread(p, e, v)
        uv, kept = u * v, (v + e > 0).astype(np.float64)
        overlap, cross = (1 + p) ** 2 / u - p * p / v, (1 + p) / u - p / v
        noise = width / uv
        rates, pulled = self._margin_slopes(p, e, v, pull)
        squares = (
            overlap * 2 * cross - 2 * width * cross / uv,
            kept * (cross**2 + noise / uv),
            v
            * (
                overlap * ((p / v) ** 2 - ((1 + p) / u) ** 2)
                + kept * (cross**2 + noise / uv)
                + 2 * width * cross * (p / v**2 - (1 + p) / u**2)
                - noise * width * (u + v) / uv**2
            ),
        )
        by = tuple(
            dim * rate + np.sqrt(dim) * xi * square / (2 * sigma) for rate, square in zip(rates, squares, strict=True)
        )
        return log_odds, pull, (by[0], by[1], by[2]), pulled

    def _margin_slopes(self, p: Array, e: Array, v: Array, pull: Array) -> tuple[_Gradient, _Gradient]:
        # Of the margin and of the pull. Frozen, both depend on v through |x|^2 alone, but for the temperature.
        free, square = 1 / (1 + v), (1 + p) ** 2 + v + e
        frozen = pull < free
        rates = rate_slopes(p, e, v)
        nearest = (0.5 + p - pull * square + MODES.mode_square(square, pull) / 2) / v
        margin = (1 - pull * (1 + p)) / v, -pull / (2 * v), -pull / 2 - nearest
        by_square = np.where(frozen, -pull / (1 / (1 - pull) + 2 * square), 0.0)
        by = tuple(np.where(frozen, one, other) for one, other in zip(margin, rates, strict=True))
        by_position = np.where(frozen, by_square * v, -v * free**2)
        return (by[0], by[1], by[2]), (2 * (1 + p) * by_square, by_square, by_position)

    def slope(self, p: Array, e: Array, v: Array, w: Array) -> tuple[Array, Array]:
        """Slopes of shift and excess in log v."""
        log_odds, pull = self.log_odds(p, e, v)
        acting, k = w * expit(-log_odds), self.factor
        growth = 1 + acting * pull
        return k * (growth * p - acting * MODES.rest(pull, v)), 2 * k * (growth * e + acting * pull * v)

    def slopes(self, p: Array, e: Array, v: Array, w: Array) -> _Slopes:
        """The slopes with all their derivatives."""
        log_odds, pull, by, by_pull = self.log_odds_slopes(p, e, v)
        rest, k = expit(-log_odds), self.factor
        acting, growth = w * rest, 1 + w * rest * pull
        bend = -acting * expit(log_odds)  # d acting / d log-odds
        d_p, d_e = k * (pull * p - MODES.rest(pull, v)), 2 * k * pull * (e + v)  # by acting
        h_p, h_e = k * acting * (1 + p), 2 * k * acting * (e + v)  # by pull
        return _Slopes(
            slope=(k * (growth * p - acting * MODES.rest(pull, v)), 2 * k * (growth * e + acting * pull * v)),
            jacobian=(
                (k * growth + d_p * bend * by[0] + h_p * by_pull[0], d_p * bend * by[1] + h_p * by_pull[1]),
                (d_e * bend * by[0] + h_e * by_pull[0], 2 * k * growth + d_e * bend * by[1] + h_e * by_pull[1]),
            ),
            by_strength=(d_p * rest, d_e * rest),
            by_position=(
                h_p * by_pull[2] + d_p * bend * by[2],
                h_e * by_pull[2] + 2 * k * acting * pull * v + d_e * bend * by[2],
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FinitePaths:
    """Paths for every xi: the stages of every step, shape (panels, stages, 2, xi), and the last state, (2, xi)."""

    stages: Array
    end: Array


def finite_paths(flow: FiniteFlow, grid: Panels, shift: float, excess: float) -> FinitePaths:
    """Follow the paths of every xi to the last edge.

    Accuracy:
        As the panels: the pull bends where others condense, which a step of high order does not know.

    Source:
        derived in explanation/design.
    """
    table, weights, _ = _tableau()
    count, stages = grid.strength.shape
    state = np.repeat([[shift], [excess]], NODES_XI, axis=1).astype(np.float64)
    variance, strength = grid.time_above, grid.strength
    visited = np.empty((count, stages, 2, NODES_XI))
    slopes = np.empty((stages, 2 * NODES_XI))
    for panel in range(count):
        flat, step = state.reshape(-1), grid.width[panel]
        for i in range(stages):
            inner = (flat - step * (table[i, :i] @ slopes[:i])).reshape(2, -1)
            visited[panel, i] = inner
            rates = flow.slope(inner[0], inner[1], variance[panel, i : i + 1], strength[panel, i : i + 1])
            slopes[i, :NODES_XI], slopes[i, NODES_XI:] = rates
        state = (flat - step * (weights @ slopes)).reshape(2, -1)
    return FinitePaths(stages=visited, end=state)


def finite_gradient(flow: FiniteFlow, grid: Panels, paths: FinitePaths, ends: Array) -> NodeGradient:
    """Gradient of numbers whose derivatives by the last state are `ends`, shape (numbers, 2, xi).

    Source:
        derived in explanation/design.
    """
    table, weights, _ = _tableau()
    visited = paths.stages
    found = flow.slopes(visited[:, :, 0], visited[:, :, 1], grid.time_above[..., None], grid.strength[..., None])
    slope = np.stack(found.slope, axis=2)
    jacobian = np.stack([np.stack(row, axis=2) for row in found.jacobian], axis=2)  # panels, stages, of, by, xi
    by = np.stack([np.stack(found.by_strength, axis=2), np.stack(found.by_position, axis=2)], axis=2)
    count, stages = grid.strength.shape
    strength, position = np.empty((2, len(ends), count, stages))
    width, bar = np.empty((len(ends), count)), ends
    inner = np.empty((stages, *ends.shape))  # derivatives by the stages
    for panel in range(count - 1, -1, -1):
        step, moved = grid.width[panel], weights @ slope[panel].reshape(stages, -1)
        width[:, panel] = -bar.reshape(len(ends), -1) @ moved
        for i in range(stages - 1, -1, -1):
            pulled = weights[i] * bar
            if i + 1 < stages:
                pulled = pulled + np.tensordot(table[i + 1 :, i], inner[i + 1 :], 1)
            pulled = -step * pulled
            j = jacobian[panel, i]
            inner[i] = pulled[:, :1] * j[0] + pulled[:, 1:] * j[1]
            both = pulled.reshape(len(ends), -1) @ by[panel, i].reshape(2, -1).T
            strength[:, panel, i], position[:, panel, i] = both[:, 0], both[:, 1]
        mixed = table @ slope[panel].reshape(stages, -1)
        width[:, panel] -= np.einsum("inx,ix->n", inner.reshape(stages, len(ends), -1), mixed)
        bar = bar + inner.sum(axis=0)
    return NodeGradient(strength=strength, position=position, width=width)
