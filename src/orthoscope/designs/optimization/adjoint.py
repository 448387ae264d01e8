r"""Moments at the end of a run and their exact gradients, for linear scores.

Both moment equations of `theory.flow` have the form $dz/dy = a z - b$ with y falling. Their solution at the last edge
is one sum over quadrature nodes,

$$ z_0 = z_T\,e^{-G} + \sum_{\text{nodes}} \omega\,b\,e^{-R}, $$

with the growth $G$ of the whole run and the growth $R$ that remains below each node. The sum is differentiated
backwards: by sources, by growths (each acts on every source above it), by widths. Nothing is approximated beyond the
quadrature: this is the gradient of the number that is computed.

Source:
    derived in explanation/design.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orthoscope.designs.optimization.parametrization import Panels, Pieces, panels
from orthoscope.numerics import Array, unit_gauss, unit_integrals
from orthoscope.theory.flow import NODES

_GROWTH = 4.0  # largest growth exponent within one panel
_WIDEST = 0.5  # widest panel in log-variance


def linear_panels(pieces: Pieces, order: float) -> Panels:
    """Panels on which the quadrature of `linear_moments` is accurate for growth rates up to order * (1 + |w|).

    Source:
        derived in explanation/design.
    """
    strongest = np.maximum(np.abs(pieces.high), np.abs(pieces.low))
    return panels(pieces, unit_gauss(NODES)[0], np.minimum(_WIDEST, _GROWTH / (order * (1 + strongest))))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NodeGradient:
    """Derivatives of one number per direction by strengths and positions, (directions, panels, nodes), and widths."""

    strength: Array
    position: Array
    width: Array


def linear_moments(
    grid: Panels, cond_var: Array, gap: Array, factor: float, shift: Array, excess: Array
) -> tuple[Array, Array, NodeGradient, NodeGradient]:
    """Shift and excess of every direction at the last edge, and their gradients.

    Args:
        grid: The panels.
        cond_var: Variance of the conditional law, one per direction.
        gap: Variance of the unconditional law minus that.
        factor: The drift factor k.
        shift: Shift at the first edge.
        excess: Excess at the first edge.

    Accuracy:
        About 1e-11, absolute in units of the larger variance; gradients exact for the number computed.

    Source:
        derived in explanation/design.
    """
    c, gap = cond_var[:, None, None], gap[:, None, None]
    above, w = grid.time_above[None], grid.strength[None]
    time = above - grid.pieces.base
    v, u = c + time, c + gap + time
    stretch, pull = above / v, gap / u
    stretch_slope, pull_slope = stretch * (1 - stretch), -pull * above / u
    numbers, gradients = [], []
    for order, first, source, by_w, by_y in (
        (
            factor,
            shift,
            stretch * w * (1 - pull),
            stretch * (1 - pull),
            w * (stretch_slope * (1 - pull) - stretch * pull_slope),
        ),
        (
            2 * factor,
            excess,
            -stretch * w * pull * v,  # stretch * v is base + t
            -above * pull,
            -w * above * (pull + pull_slope),
        ),
    ):
        growth = order * stretch * (1 + w * pull)
        value, d_first = _decayed(grid.width, growth, order * source, first)
        numbers.append(value)
        gradients.append(
            NodeGradient(
                strength=d_first.growth * order * stretch * pull + d_first.source * order * by_w,
                position=d_first.growth * order * (stretch_slope * (1 + w * pull) + stretch * w * pull_slope)
                + d_first.source * order * by_y,
                width=d_first.width,
            )
        )
    return numbers[0], numbers[1], gradients[0], gradients[1]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Backward:
    growth: Array
    source: Array
    width: Array


def _decayed(width: Array, growth: Array, source: Array, first: Array) -> tuple[Array, _Backward]:
    # z_T exp(-G) + sum of width * weight * source * exp(-R) per direction; growth and source (directions, panels,
    # nodes).
    weights, remaining = unit_gauss(NODES)[1], unit_integrals(NODES)[-1] - unit_integrals(NODES)[:-1]
    inside, whole = growth @ remaining.T, growth @ weights
    totals = width * whole
    below = np.cumsum(totals[:, ::-1], axis=1)[:, ::-1] - totals
    decay = np.exp(-(below[..., None] + width[:, None] * inside))
    start = first * np.exp(-totals.sum(axis=1))
    terms = width[:, None] * weights * source * decay
    # How much of the result comes from above each panel: what growth within the panel diminishes.
    sums = terms.sum(axis=-1)
    above = start[:, None] + np.cumsum(sums, axis=1) - sums
    by_growth = -width[:, None] * (terms @ remaining + weights * above[..., None])
    by_width = (weights * source * decay).sum(-1) - (terms * inside).sum(-1) - whole * above
    backward = _Backward(growth=by_growth, source=width[:, None] * weights * decay, width=by_width)
    return start + sums.sum(axis=1), backward


def weighted_square(grid: Panels, weight: Array, weight_slope: Array) -> tuple[float, NodeGradient]:
    """Integral of weight(y) w^2 dy over all panels, and its gradient.

    Source:
        derived in explanation/design.
    """
    quadrature = grid.width[:, None] * unit_gauss(NODES)[1]
    square = grid.strength**2
    return float((quadrature * weight * square).sum()), NodeGradient(
        strength=quadrature * weight * 2 * grid.strength,
        position=quadrature * weight_slope * square,
        width=(unit_gauss(NODES)[1] * weight * square).sum(-1),
    )
