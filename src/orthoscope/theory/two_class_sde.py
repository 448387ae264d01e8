r"""Two Gaussian classes under the guided reverse SDE: moments and odds without sampling.

The classes are $N(\pm m, I)$ with $|m|^2 = d$, and only the component of the state along $m$ is guided. With
$v = 1 + t$, the component $x$, $u = \sqrt d\,x/v$ and the clock $\theta = d/v$ the guided reverse SDE is

$$ du = b(u)\,d\theta + dB_\theta, \qquad b(u) = 1 + w\,(1 - \tanh u), $$

from $u = 0$ at infinite noise to $\theta = d$ at clean data, where $x = u/\sqrt d$: strength and dimension are all that
is left. Expectations at the end obey Kolmogorov's backward equation $\partial_\theta g = \tfrac12 g'' + b g'$ in the
clock that is left to go. What guidance adds to them is smooth and local, and is followed alone:

- $E[u] = u_0 + \theta + \phi$ with the source $w(1 - \tanh u)$, so that the overshoot $E[x] - \sqrt d = \phi/\sqrt d$
  falls like $d^{-1/2}$ once $\phi$ has saturated;
- $E[u^2] = (u_0 + \theta)^2 + \theta + \chi$ with the source $2w(1 - \tanh u)(u + \theta)$;
- the odds $(1 - p)/p = e^{-2u}$ of the posterior of the class have $E[e^{-2u}] = e^{-2u_0}\rho$ with
  $\partial_\theta\rho = \tfrac12\rho'' + (b - 2)\rho' - 2w(1 - \tanh u)\rho$: a martingale at w = 0, and a
  supermartingale, falling in mean, at w > 0.

Source:
    derived in explanation/compact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.linalg.lapack import dgtsv

from orthoscope.errors import ConfigError
from orthoscope.laws import Start
from orthoscope.numerics import Array, normal_grid
from orthoscope.theory.two_class import Moments, check_strength

_LARGEST = 700.0  # exponent of a number that is finite
_POINTS = 400  # and steps, of the coarser of two grids, whose errors fall with the square of their number
_SCALE = 4.0  # of u, below which points are even
_FIRST_STEP = 1e-14  # of the clock: guidance of any strength acts later
_NODES = 129  # of the average over starts
_DECIDED = 22.0  # 1 - tanh is below 1e-18 beyond
_CLEAR = 9.0  # standard deviations of a Brownian motion that it never exceeds


def sde_moments(strength: float, *, dim: int = 1, t_max: float = math.inf, start: Start = "prior") -> Moments:
    """Mean and standard deviation of guided samples along the classes' axis, in data units.

    Args:
        strength: Guidance strength.
        dim: Dimension; the class means lie at distance sqrt(dim) from 0.
        t_max: Variance time of the start.
        start: `prior` or `exact`.

    Accuracy:
        About 1e-6 relative to sqrt(dim).

    Raises:
        ConfigError: if the strength is not finite or below -1, or no run can start there.

    Source:
        [pavasovic2025classifier], its two classes; derived in explanation/compact.
    """
    drift, (start_mean, start_var), left = _problem(strength, dim, t_max, start)

    def shift(u: Array, theta: float) -> Array:
        return drift(u) - 1

    def square(u: Array, theta: float) -> Array:
        return 2 * (drift(u) - 1) * (u + theta)

    added, added_square = (
        _averaged(_followed(_Equation(drift, source=source), left, start_var), start_mean, start_var)
        for source in (shift, square)
    )
    plain = start_mean + left
    mean = plain + added
    variance = start_var + left + added_square - added * (2 * plain + added)
    return Moments(mean / math.sqrt(dim), math.sqrt(variance / dim))


def sde_inverse_posterior(strength: float, *, dim: int = 1, t_max: float = math.inf, start: Start = "prior") -> float:
    """Mean of 1 / p(class | x) over guided samples: at strength 0, from an exact start, 2, the number of classes.

    More guidance makes it less. A prior start at finite time leaves samples in the other class, and makes it more.

    Accuracy:
        About 1e-6.

    Raises:
        ConfigError: if the strength is not finite or below -1, no run can start there, or it exceeds every number.

    Source:
        derived in explanation/compact.
    """
    drift, (start_mean, start_var), left = _problem(strength, dim, t_max, start)

    odds = _Equation(lambda u: drift(u) - 2, decay=lambda u: 2 * (drift(u) - 1), first=1.0)
    found = _followed(odds, left, start_var)
    # Weighted by exp(-2u) a Gaussian start is the same Gaussian about another mean.
    exponent = 2 * (start_var - start_mean)
    if exponent > _LARGEST:
        raise ConfigError(
            f"the mean of 1 / p(class | x) is about exp({exponent:g}): expected more noise at the start, a t_max of "
            f"{2 * dim / _LARGEST:.3g} or more, or an exact start, got t_max = {t_max:g}"
        )
    return 1 + math.exp(exponent) * _averaged(found, start_mean - 2 * start_var, start_var)


def _problem(
    strength: float, dim: int, t_max: float, start: Start
) -> tuple[Callable[[Array], Array], tuple[float, float], float]:
    """Drift of u, mean and variance of u at the start, and the clock left to go."""
    check_strength(strength)
    if dim < 1 or not t_max > 0:
        raise ConfigError(f"expected a dimension of 1 or more and t_max > 0, got {dim} and {t_max:g}")
    passed = dim / (1 + t_max)  # the clock at the start: also the variance of u there
    mean = passed if start == "exact" else 0.0
    return lambda u: 1 + strength * (1 - np.tanh(u)), (mean, passed), dim - passed


@dataclass(frozen=True, slots=True)
class _Equation:
    """g' = g''/2 + drift g' - decay g + source, from a constant; the source may depend on the clock."""

    drift: Callable[[Array], Array]
    decay: Callable[[Array], Array] = np.zeros_like
    source: Callable[[Array, float], Array] = lambda u, theta: np.zeros_like(u)
    first: float = 0.0


def _followed(equation: _Equation, left: float, start_var: float) -> Callable[[Array], Array]:
    """The solution after a clock as a function of u, good wherever paths from the start come."""
    towards = float(equation.drift(np.array([-_DECIDED]))[0])  # of paths far on the wrong side
    spread = _CLEAR * math.sqrt(left)
    back = min(spread, _DECIDED / towards) if towards > 0 else spread - towards * left
    starts = _CLEAR * math.sqrt(start_var)
    low, high = -(2 * start_var + starts + back + 2), starts + _DECIDED
    coarse, fine = (_on_grid(equation, left, (low, high), size) for size in (_POINTS, 2 * _POINTS))
    # Both errors, of the grid and of the clock, are of second order.
    spline = CubicSpline(coarse[0], (4 * fine[1][::2] - coarse[1]) / 3)
    return lambda u: spline(np.clip(u, low, high))


def _on_grid(equation: _Equation, left: float, ends: tuple[float, float], size: int) -> tuple[Array, Array]:
    """States and solution there, on a grid that is fine where the class is undecided, in geometric steps of the clock.

    Steps are those of TR-BDF2: of second order, and stable however strong the guidance.
    """
    u, bands = _generator(equation, ends, size)
    clock = np.concatenate([[0.0], np.geomspace(_FIRST_STEP * left, left, size)])
    g = np.full_like(u, equation.first)
    gamma = 2 - math.sqrt(2)
    for now, after in pairwise(clock):
        step, middle = after - now, now + gamma * (after - now)
        implicit = -(gamma / 2) * step * bands
        implicit[1] += 1
        first, second, third = (equation.source(u, theta) for theta in (now, middle, after))
        half = _solved(implicit, g + gamma / 2 * step * (_applied(bands, g) + first + second))
        mixed = (half - (1 - gamma) ** 2 * g) / (gamma * (2 - gamma))
        g = _solved(implicit, mixed + gamma / 2 * step * third)
    return u, g


def _generator(equation: _Equation, ends: tuple[float, float], size: int) -> tuple[Array, Array]:
    """States, and the three diagonals of the equation's operator on them by central differences."""
    xi = np.linspace(math.asinh(ends[0] / _SCALE), math.asinh(ends[1] / _SCALE), size + 1)
    h = xi[1] - xi[0]
    u, slope = _SCALE * np.sinh(xi), _SCALE * np.cosh(xi)
    spread, along = 1 / (2 * slope**2 * h**2), (equation.drift(u) - u / (2 * slope**2)) / (2 * h * slope)
    up, down, decay = spread + along, spread - along, equation.decay(u)
    bands = np.zeros((3, size + 1))
    bands[0, 2:], bands[1], bands[2, :-2] = up[1:-1], -2 * spread - decay, down[1:-1]
    # At both ends, which no path reaches, the solution is straight.
    bands[0, 1], bands[1, 0] = 2 * along[0], -2 * along[0] - decay[0]
    bands[2, -2], bands[1, -1] = -2 * along[-1], 2 * along[-1] - decay[-1]
    return u, bands


def _solved(bands: Array, right: Array) -> Array:
    *_, found, singular = dgtsv(bands[2, :-1], bands[1], bands[0, 1:], right)  # what `solve_banded` takes long to find
    if singular:
        raise np.linalg.LinAlgError("singular matrix")
    return found


def _applied(bands: Array, g: Array) -> Array:
    found = bands[1] * g
    found[:-1] += bands[0, 1:] * g[1:]
    found[1:] += bands[2, :-1] * g[:-1]
    return found


def _averaged(function: Callable[[Array], Array], mean: float, variance: float) -> float:
    """Mean of a function over a Gaussian number."""
    nodes, weights = normal_grid(_NODES)
    return float(weights @ function(mean + math.sqrt(variance) * nodes))
