r"""Constant strength from infinite noise: closed forms for Gaussian centroids.

With $v = s^2 + t$, $u = 1 + v$, $r = v/u$, $k = (1 + \lambda^2)/2$ and the response $\Phi$ of `flow`, a path
that no class has won yet has

$$ q - 1 = w\,\Phi_k(w, r), \qquad V - v = -w\,\Phi_{2k}(w, r), $$

and it commits once the rate falls below $\beta_s(r)$, `energy.GaussianModes.speciation_rate`, evaluated
there. For the reverse SDE ($\lambda = 1$) and the ODE ($\lambda = 0$) $\Phi_1 = r(1 - r^w)/(w(1 - r))$ makes
this elementary:

$$ \text{SDE: } q - 1 = v(1 - r^w),\quad V = uv\,\frac{1 - r^{1+2w}}{1 + 2w}, \qquad \text{ODE: } V = v\,r^w . $$

Strengths here are not negative: a negative one leads to capture by another mode, which needs `moments`.

Source:
    [ventura2026emergence] for the SDE; the ODE and general lambda derived in explanation/theory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from orthoscope.errors import ConfigError
from orthoscope.numerics import Array, bracketed_root, columns, golden_maximum
from orthoscope.theory.energy import GaussianModes
from orthoscope.theory.flow import drift_factor, response

_MODES = GaussianModes()
_SCAN = 257  # points at which the rate is looked at before roots and maxima are refined


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Distortion:
    """What guidance does to a class, one element per parameter set.

    Attributes:
        mean_shift: Overlap with the own centroid minus 1, at t = 0.
        variance_shift: Variance per coordinate minus s^2, at t = 0.
        speciation_time: Time at which the class is committed, nan if it never is.
    """

    mean_shift: Array
    variance_shift: Array
    speciation_time: Array


def free_moments(time: ArrayLike, std: ArrayLike, strength: ArrayLike, lam: float = 1.0) -> tuple[Array, Array]:
    """Shift q - 1 and excess V - v at a variance time before speciation.

    Accuracy:
        Relative error below 1e-10 (see `flow.response`).

    Source:
        [ventura2026emergence] for lam = 1; derived in explanation/theory.
    """
    shape, (t, s, w) = columns(time, std, strength)
    variance = s**2 + t
    ratio, k = variance / (1 + variance), drift_factor(lam)
    shift, excess = w * response(w, ratio, k), -w * response(w, ratio, 2 * k)
    return shift.reshape(shape), excess.reshape(shape)


def speciation_rate(time: ArrayLike, std: ArrayLike, strength: ArrayLike, lam: float = 1.0) -> Array:
    r"""Rate that commits exactly at a variance time: the speciation condition solved for the rate.

    For lam = 1, with $U = 1 + 1/v$: $2\beta = \log U + \frac{2w}{2w+1}\bigl(1 - U^{-(2w+1)}\bigr)$.

    Raises:
        ConfigError: if a strength is negative.

    Source:
        [ventura2026emergence] for lam = 1; derived in explanation/theory.
    """
    if np.any(np.asarray(strength) < 0):
        raise ConfigError("closed forms with speciation need strengths >= 0; for negative ones use theory.predict")
    shape, (t, s, w) = columns(time, std, strength)
    return _MODES.speciation_rate(*free_moments(t, s, w, lam), s**2 + t).reshape(shape)


def critical_rate(std: ArrayLike, strength: ArrayLike, lam: float = 1.0) -> Array:
    """Largest rate at which a class commits before t = 0, in nats per dimension; it grows with the strength.

    Accuracy:
        To rounding, also in the one case (lam < 1 and strengths of some tens) where the largest rate is met
        before t = 0.

    Raises:
        ConfigError: if a strength is negative.

    Source:
        [ventura2026emergence] at w = 0; derived in explanation/theory.
    """
    shape, (s, w) = columns(std, strength)
    grid = _log_variances(s, 1 + w)
    rates = _rate_at(grid, s[..., None], w[..., None], lam)
    peak = np.argmax(rates, axis=-1)
    low, high = (
        np.take_along_axis(grid, np.clip(peak + step, 0, _SCAN - 1)[..., None], -1)[..., 0] for step in (-1, 1)
    )
    inside = golden_maximum(lambda y: _rate_at(y, s, w, lam), low, high)
    at_data = speciation_rate(0.0, s, w, lam)
    return np.where(peak == _SCAN - 1, at_data, np.maximum(inside, at_data)).reshape(shape)


def speciation_time(rate: ArrayLike, std: ArrayLike, strength: ArrayLike, lam: float = 1.0) -> Array:
    """Variance time at which a class commits, nan above the critical rate.

    Accuracy:
        Bracketed to rounding in log v.

    Raises:
        ConfigError: if a strength is negative.

    Source:
        [ventura2026emergence]; derived in explanation/theory.
    """
    shape, (beta, s, w) = columns(rate, std, strength)
    # At high noise the rate is (1 + 2w) / 2v, and it is nowhere above that.
    grid = _log_variances(s, (1 + 2 * w) / (2 * beta))
    met = _rate_at(grid, s[..., None], w[..., None], lam) >= beta[..., None]
    first = np.argmax(met, axis=-1)
    high, low = (np.take_along_axis(grid, np.maximum(first - back, 0)[..., None], -1)[..., 0] for back in (1, 0))
    root = bracketed_root(lambda y: _rate_at(y, s, w, lam) - beta, high, low)
    return np.where(met.any(axis=-1), np.maximum(np.exp(root) - s**2, 0.0), np.nan).reshape(shape)


def _log_variances(std: Array, far: Array) -> Array:
    # Values of log v from beyond a time down to t = 0, fine enough to separate the extrema of the rate.
    base = np.log(std**2)[..., None]
    return base + (np.log(std**2 + far)[..., None] - base) * np.linspace(1, 0, _SCAN)


def _rate_at(log_variance: Array, std: Array, strength: Array, lam: float) -> Array:
    return speciation_rate(np.maximum(np.exp(log_variance) - std**2, 0.0), std, strength, lam)


def distortion(rate: ArrayLike, std: ArrayLike, strength: ArrayLike, lam: float = 1.0) -> Distortion:
    """Mean shift and variance shift of the guided class.

    Raises:
        ConfigError: if a strength is negative.

    Source:
        [ventura2026emergence] for lam = 1; derived in explanation/theory.
    """
    shape, (beta, s, w) = columns(rate, std, strength)
    time = speciation_time(beta, s, w, lam)
    last = np.nan_to_num(time, nan=0.0)
    shift, excess = free_moments(last, s, w, lam)
    decay = (s**2 / (s**2 + last)) ** drift_factor(lam)
    return _distortion(shift * decay, excess * decay**2, time, shape)


def dense_distortion(std: ArrayLike, strength: ArrayLike, lam: float = 1.0) -> tuple[Array, Array]:
    """Mean shift and variance shift for infinitely many classes: what is left when no class ever commits.

    Holds above the critical rate, and at any rate for a continuum of classes in any dimension, for any
    strength >= -1.

    Source:
        [ventura2026emergence]; derived in explanation/theory.
    """
    return free_moments(0.0, std, strength, lam)


def few_classes(rate: ArrayLike, std: ArrayLike, strength: ArrayLike, lam: float = 1.0) -> Distortion:
    r"""Leading order for few classes: $t_s = (1 + 2w)/2\beta$, and distortions that vanish with the rate.

    With $\rho = 2\beta s^2/(1 + 2w)$ they are $w\rho^k$ and $-w\rho^{2k}$. For M classes in d dimensions the
    rate is log(M)/d: guidance distorts high-dimensional classes only if they are exponentially many.

    Accuracy:
        Relative error of order rate.

    Source:
        [ventura2026emergence], sub-exponential limit; derived in explanation/theory.
    """
    shape, (beta, s, w) = columns(rate, std, strength)
    time = (1 + 2 * w) / (2 * beta)
    decay = (s**2 / time) ** drift_factor(lam)
    return _distortion(w * decay, -w * decay**2, time, shape)


def _distortion(mean_shift: Array, variance_shift: Array, time: Array, shape: tuple[int, ...]) -> Distortion:
    return Distortion(
        mean_shift=mean_shift.reshape(shape),
        variance_shift=variance_shift.reshape(shape),
        speciation_time=time.reshape(shape),
    )
