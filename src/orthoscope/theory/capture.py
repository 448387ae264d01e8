r"""Captured paths: what happens after the weight of the other modes has condensed on one of them.

Negative strength pulls a state towards the unconditional mean. Once that mean is a single mode $m_k$ (docs:
explanation/theory), the state stops being independent of the modes and the guided centroid is
$m_1 + w(m_1 - m_k)$. With $a = (v/v_k)^k$ since the capture at $v_k$ and the *lag*

$$ J(v) = k v^k \int_v^{v_k} w \, \frac{dv'}{v'^{1+k}}, \qquad x = (1 - a + J)\,m_1 + a\,x_k - J\,m_k + z, $$

where $z$ is white noise of variance $v\,\bigl(1 - (v/v_k)^{\lambda^2}\bigr)$ per coordinate, so that every
overlap follows from $J$ alone. All squares and overlaps are per dimension.

Accuracy:
    Exact as d grows at w = -1 and deep in the condensed phase; otherwise to leading order: one mode is taken
    to hold the whole weight from the moment of condensation on.

Source:
    derived in explanation/theory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orthoscope.numerics import Array
from orthoscope.theory.energy import Modes


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """The moment of capture, one element per path.

    Attributes:
        variance: v at the capture.
        square: |x|^2/d.
        overlap: q, overlap of x with the own centroid.
        mode_overlap: b, overlap of x with the capturing mode.
        mode_square: |m_k|^2/d.
        centroid_overlap: Overlap of the capturing mode with the own centroid.
    """

    variance: Array
    square: Array
    overlap: Array
    mode_overlap: Array
    mode_square: Array
    centroid_overlap: Array

    def rows(self, index: NDArray[np.intp]) -> Capture:
        """The captures of some paths, as columns that broadcast against quadrature nodes."""
        return Capture(**{name: getattr(self, name)[index][:, None] for name in Capture.__slots__})


def capture(modes: Modes, shift: Array, excess: Array, variance: Array, rate: Array) -> Capture:
    """The capture of a path in a given state by the mode that is typical of the weight there.

    Source:
        derived in explanation/theory.
    """
    overlap = 1 + shift
    square = overlap**2 + variance + excess
    pull = modes.pull(square, variance, rate)
    return Capture(
        variance=variance,
        square=square,
        overlap=overlap,
        mode_overlap=pull * square,
        mode_square=modes.mode_square(square, pull),
        centroid_overlap=pull * overlap,
    )


def captured_state(at: Capture, lag: Array, variance: Array, lam: float) -> tuple[Array, Array, Array]:
    """Shift, excess and margin of a captured path, from its lag J and v.

    The margin is half the difference of the squared distances to the capturing and to the own mode, per
    dimension: where it is positive the path has returned to its own class. Across paths the capturing modes
    differ, so that the excess counts their spread as variance.

    Source:
        derived in explanation/theory.
    """
    decay = (variance / at.variance) ** ((1 + lam**2) / 2)
    noise = variance * -np.expm1(lam**2 * np.log(variance / at.variance))
    own = 1 - decay + lag
    overlap = own + decay * at.overlap - lag * at.centroid_overlap
    mode_overlap = own * at.centroid_overlap + decay * at.mode_overlap - lag * at.mode_square
    square = (
        own**2
        + decay**2 * at.square
        + lag**2 * at.mode_square
        + 2 * own * (decay * at.overlap - lag * at.centroid_overlap)
        - 2 * lag * decay * at.mode_overlap
        + noise
    )
    margin = overlap - 0.5 - (mode_overlap - at.mode_square / 2)
    return overlap - 1, square - overlap**2 - variance, margin
