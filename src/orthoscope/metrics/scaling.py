r"""How a measured quantity approaches its limit as the dimension grows: power laws and extrapolation.

Both are weighted least-squares fits to independent estimates, whose standard errors are taken at face value where the
fit is good and widened by $\sqrt{\chi^2/\mathrm{dof}}$ where it is not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import curve_fit
from scipy.special import gammaincc

from orthoscope.errors import ConfigError
from orthoscope.numerics import Array
from orthoscope.quantities import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLaw:
    r"""A fitted $C d^{-a}(1 + b/d)$.

    Attributes:
        exponent: a.
        amplitude: C.
        correction: b; exactly 0 if it was not fitted.
        chi2: Sum of squared residuals in standard errors.
        dof: Points minus parameters.
        goodness: Probability that chance leaves a larger `chi2`; 1 without degrees of freedom.
    """

    exponent: Estimate
    amplitude: float
    correction: float
    chi2: float
    dof: int
    goodness: float

    def at(self, dim: float) -> float:
        """The fitted value in one dimension."""
        return float(self.amplitude * dim**-self.exponent.value * (1 + self.correction / dim))

    def interval(self, false_alarm: float = 0.05) -> tuple[float, float]:
        """Confidence interval of the exponent, missed with probability `false_alarm`."""
        half = self.exponent.limit(false_alarm) * self.exponent.stderr
        return self.exponent.value - half, self.exponent.value + half


def power_law(dims: Sequence[float], values: Sequence[Estimate], *, correction: bool = True) -> PowerLaw:
    """Fit a power law, with or without a correction of relative order 1/dim, to independent estimates.

    Values are fitted, not their logarithms: points that noise has carried through zero are kept, and bias nothing.

    Raises:
        ConfigError: if there are fewer points than parameters, a standard error is not positive, or no fit is found.
    """
    d, y, error = _points(dims, values, 3 if correction else 2)
    scale = float(np.exp(np.mean(np.log(d))))  # near-orthogonal amplitude and exponent
    sign = 1.0 if float(np.sum(y / error)) >= 0 else -1.0

    def curve(x: Array, log_amplitude: float, exponent: float, bend: float = 0.0) -> Array:
        return sign * np.exp(log_amplitude - exponent * np.log(x / scale)) * (1 + bend / x)

    clear = sign * y > 2 * error
    if clear.sum() < 2:
        raise ConfigError("fewer than 2 points differ from zero: there is no power law to fit; use more trajectories")
    slope, level = np.polyfit(np.log(d[clear] / scale), np.log(sign * y[clear]), 1)
    first = [level, -slope, 0.0][: 3 if correction else 2]
    try:
        found, covariance = curve_fit(curve, d, y, first, error, absolute_sigma=True, maxfev=10_000)
    except RuntimeError as problem:
        raise ConfigError(f"no power law fits these points: {problem}") from problem
    chi2, dof, goodness, widening = _quality((y - curve(d, *found)) / error, len(first))
    stderr = widening * math.sqrt(float(covariance[1, 1]))
    return PowerLaw(
        exponent=Estimate(value=float(found[1]), stderr=stderr, n=d.size, dof=_few(dof, widening)),
        amplitude=sign * math.exp(float(found[0]) + float(found[1]) * math.log(scale)),
        correction=float(found[2]) if correction else 0.0,
        chi2=chi2,
        dof=dof,
        goodness=goodness,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Extrapolation:
    """A limit of infinite dimension.

    Attributes:
        limit: The limit, with the error of the estimates behind it.
        slope: Coefficient of 1/dim.
        goodness: Probability that chance leaves larger residuals.
    """

    limit: Estimate
    slope: float
    goodness: float


def extrapolate(dims: Sequence[float], values: Sequence[Estimate], *, order: int = 1) -> Extrapolation:
    """The limit of infinite dimension by a weighted polynomial fit in 1/dim to independent estimates.

    Accuracy:
        Leaves out what the polynomial cannot follow: compare two orders.

    Raises:
        ConfigError: if there are not more points than parameters, or a standard error is not positive.
    """
    d, y, error = _points(dims, values, order + 1)
    design = (1 / d)[:, None] ** np.arange(order + 1) / error[:, None]
    scale = np.linalg.norm(design, axis=0)
    covariance = np.linalg.inv((design / scale).T @ (design / scale)) / np.outer(scale, scale)
    found = covariance @ design.T @ (y / error)
    _, dof, goodness, widening = _quality(y / error - design @ found, order + 1)
    stderr = widening * math.sqrt(float(covariance[0, 0]))
    return Extrapolation(
        limit=Estimate(value=float(found[0]), stderr=stderr, n=sum(v.n for v in values), dof=_few(dof, widening)),
        slope=float(found[1]) if order else 0.0,
        goodness=goodness,
    )


def _points(dims: Sequence[float], values: Sequence[Estimate], least: int) -> tuple[Array, Array, Array]:
    d = np.asarray(dims, dtype=np.float64)
    y, error = (np.array([getattr(value, name) for value in values]) for name in ("value", "stderr"))
    if d.shape != y.shape or d.size < least:
        raise ConfigError(f"expected one dimension per estimate and at least {least}, got {d.size} and {y.size}")
    if not (np.isfinite(y).all() and (error > 0).all() and (d > 0).all()):
        raise ConfigError("expected finite estimates with positive standard errors in positive dimensions")
    return d, y, error


def _quality(residuals: Array, parameters: int) -> tuple[float, int, float, float]:
    chi2, dof = float(residuals @ residuals), residuals.size - parameters
    goodness = float(gammaincc(dof / 2, chi2 / 2)) if dof > 0 else 1.0
    return chi2, dof, goodness, max(1.0, math.sqrt(chi2 / dof)) if dof > 0 else 1.0


def _few(dof: int, widening: float) -> int | None:
    # A widened error rests on the residuals, hence on few degrees of freedom; the estimates' own errors do not.
    return dof if widening > 1 else None
