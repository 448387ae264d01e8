r"""Quadrature and bracketed roots in float64, vectorized over many problems at once.

Everything here is a plain function of numpy arrays. Integrals of smooth functions use Gauss rules, whose
error falls faster than any power of the number of nodes; roots are bracketed, so that they cannot leave their
interval.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def columns(*values: ArrayLike) -> tuple[tuple[int, ...], list[Array]]:
    """Values broadcast against each other, with at least one axis, and the shape in which to return results.

    Arithmetic on arrays without axes gives numpy scalars; formulas that reshape at the end always return
    arrays.
    """
    arrays = np.broadcast_arrays(*(np.asarray(value, dtype=np.float64) for value in values))
    return arrays[0].shape, [np.atleast_1d(array) for array in arrays]


@cache
def unit_gauss(nodes: int) -> tuple[Array, Array]:
    """Gauss-Legendre nodes, ascending, and weights on [0, 1].

    Accuracy:
        Exact for polynomials up to degree 2 * nodes - 1.
    """
    x, weights = np.polynomial.legendre.leggauss(nodes)
    return _frozen((1 + x) / 2), _frozen(weights / 2)


@cache
def unit_integrals(nodes: int) -> Array:
    """Matrix that takes values at the `unit_gauss` nodes to integrals from 0 to each node, and to 1 in its last row.

    Accuracy:
        Exact for polynomials up to degree nodes - 1; the last row up to degree 2 * nodes - 1.
    """
    x, weights = unit_gauss(nodes)
    legendre = np.polynomial.legendre
    degree = np.arange(nodes)
    # Discrete orthogonality turns node values into Legendre coefficients, which integrate term by term.
    to_coefficients = (2 * degree[:, None] + 1) * legendre.legvander(2 * x - 1, nodes - 1).T * weights
    antiderivatives = np.column_stack(
        [legendre.legval(2 * x - 1, legendre.legint(unit, lbnd=-1)) / 2 for unit in np.eye(nodes)]
    )
    return _frozen(np.vstack([antiderivatives @ to_coefficients, weights]))


@cache
def normal_grid(nodes: int) -> tuple[Array, Array]:
    """Evenly spaced nodes and weights for averages over a standard normal number.

    Unlike a Gauss rule it stays dense in its middle, where averaged functions may be steep.

    Accuracy:
        For functions smooth on the scale of the spacing, 2 * 6.4 / nodes, about 1e-10: what lies beyond the ends.
    """
    x = np.linspace(-6.4, 6.4, nodes)
    weights = np.exp(-(x**2) / 2)
    return _frozen(x), _frozen(weights / weights.sum())


def _frozen(array: Array) -> Array:
    array.setflags(write=False)  # cached, hence shared
    return array


def bracketed_root(
    function: Callable[[Array], Array],
    low: Array,
    high: Array,
    *,
    values: tuple[Array, Array] | None = None,
    steps: int = 80,
) -> Array:
    """Roots between `low` and `high`, one per element, where the function changes sign.

    Where it does not change sign, the end with the smaller absolute value is returned.

    Args:
        function: Elementwise; takes and returns arrays of the shape of `low`.
        low: One end of each bracket.
        high: The other end, on either side.
        values: The function at both ends, where it is known.
        steps: Upper bound on the number of evaluations.

    Accuracy:
        The bracket shrinks to rounding (4 ulp of the larger end), superlinearly for smooth functions.
    """
    last, other = np.array(low, dtype=np.float64), np.array(high, dtype=np.float64)
    f_last, f_other = values or (function(last), function(other))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.clip(np.nan_to_num(f_last / (f_last - f_other), nan=0.5), 0.1, 0.9)
    for _ in range(steps):
        width = 4 * np.finfo(np.float64).eps * np.maximum(np.abs(last), np.abs(other))
        done = (f_last == 0) | (f_other == 0) | (np.abs(other - last) <= width) | (np.sign(f_last) == np.sign(f_other))
        if done.all():
            break
        x = np.where(done, last, last + share * (other - last))
        fx = np.where(done, f_last, function(x))
        keeps = np.sign(fx) == np.sign(f_last)
        # The point that drops out of the bracket still serves the interpolation.
        out, f_out = np.where(keeps, last, other), np.where(keeps, f_last, f_other)
        other, f_other = np.where(keeps, other, last), np.where(keeps, f_other, f_last)
        last, f_last = x, fx
        share = _chandrupatla(last, other, out, f_last, f_other, f_out)
    return np.where(np.abs(f_other) < np.abs(f_last), other, last)


def _chandrupatla(a: Array, b: Array, c: Array, fa: Array, fb: Array, fc: Array) -> Array:
    # Inverse quadratic interpolation where it is safe, bisection elsewhere (Chandrupatla 1997).
    with np.errstate(divide="ignore", invalid="ignore"):
        xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
        safe = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi)
        share = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
        ulp = 2 * np.finfo(np.float64).eps * np.maximum(np.abs(a), np.abs(b)) / np.abs(b - a)
    least = np.minimum(np.nan_to_num(ulp, nan=0.5, posinf=0.5), 0.5)
    return np.clip(np.where(safe & np.isfinite(share), share, 0.5), least, 1 - least)


def golden_maximum(function: Callable[[Array], Array], low: Array, high: Array, *, steps: int = 50) -> Array:
    """The largest values that functions with one maximum each take on their intervals.

    Args:
        function: Elementwise; takes and returns arrays of the shape of `low`.
        low: One end of each interval.
        high: The other end.
        steps: Number of golden sections.

    Accuracy:
        The place of a maximum to about 1e-8 of its interval, which leaves its value good to rounding.
    """
    ratio = (np.sqrt(5) - 1) / 2
    a, b = np.array(low, dtype=np.float64), np.array(high, dtype=np.float64)
    best = np.maximum(function(a), function(b))
    for _ in range(steps):
        x, y = b - ratio * (b - a), a + ratio * (b - a)
        fx, fy = function(x), function(y)
        best = np.maximum(best, np.maximum(fx, fy))
        a, b = np.where(fx > fy, a, x), np.where(fx > fy, y, b)
    return best


def singular_values(matrix: Array) -> Array:
    """Singular values of a square matrix, descending, the small ones as accurate as the large ones.

    Accuracy:
        Relative, to rounding times the condition that is left once rows and columns are scaled: one-sided Jacobi
        rotations, where the usual method is accurate in units of the largest.
    """
    from scipy.linalg.lapack import dgejsv  # slow to import

    scaled, *_, work, _, info = dgejsv(matrix, joba=2, jobu=3, jobv=3)
    if info:
        raise np.linalg.LinAlgError(f"the singular values did not converge (info = {info})")
    return np.asarray(scaled * (work[0] / work[1]))


def dtype_name(given: Any) -> str:
    """The name of a floating-point type: of one of torch or numpy what it is called, a text as it is."""
    if isinstance(given, np.dtype) or (isinstance(given, type) and issubclass(given, np.generic)):
        return np.dtype(given).name
    return str(given).removeprefix("torch.")
