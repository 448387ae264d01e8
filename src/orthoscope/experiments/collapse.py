"""Data collapse: of several candidate variables, which one puts all measurements on one curve?

For each candidate a parabola in its logarithm is fitted through all points by least squares. The spread is the
root mean square of what is left, in the units of the measured values (relative, if those are logarithms). Its error
comes from a jackknife over draws: one draw at a time is left out of every point.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orthoscope.errors import ConfigError
from orthoscope.quantities import Estimate

FloatArray = NDArray[np.float64]
_DEGREE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Collapse:
    """How well one variable collapses the measurements.

    Attributes:
        spread: Root mean square distance from the common curve.
        chi2: Squared distances in units of their standard errors, per degree of freedom; 1 if all is noise.
        points: Number of points.
    """

    spread: Estimate
    chi2: float
    points: int


def collapses(values: FloatArray, candidates: Mapping[str, FloatArray]) -> dict[str, Collapse]:
    """The collapse of measurements under each candidate variable.

    Args:
        values: One row per point, one column per draw; rows that are not finite everywhere are left out.
        candidates: Positive variable by name, one number per point.

    Raises:
        ConfigError: if fewer points are left than a parabola can be tested with, or a candidate is not positive.
    """
    kept = np.isfinite(values).all(1)
    if kept.sum() <= _DEGREE + 1 or values.shape[1] < 2:
        raise ConfigError(f"a collapse needs more than {_DEGREE + 1} points of 2 draws each, got {int(kept.sum())}")
    return {name: _collapse(values[kept], np.asarray(x)[kept]) for name, x in candidates.items()}


def theory_errors(values: FloatArray, theories: Mapping[str, FloatArray]) -> dict[str, Collapse]:
    """Root mean square distance of measurements from parameter-free predictions, where these exist.

    Args:
        values: One row per point, one column per draw.
        theories: Prediction by name, one number per point, or one per point and draw.
    """
    found = {}
    for name, theory in theories.items():
        gaps = values - (theory if np.ndim(theory) == 2 else np.asarray(theory)[:, None])
        gaps = gaps[np.isfinite(gaps).all(1)]
        if len(gaps):
            found[name] = _spread(gaps, None, parameters=0)
    return found


def _collapse(values: FloatArray, x: FloatArray) -> Collapse:
    if not (np.isfinite(x).all() and (x > 0).all()):
        raise ConfigError("a candidate variable must be finite and > 0")
    return _spread(values, np.log(x), parameters=_DEGREE + 1)


def _spread(values: FloatArray, log_x: FloatArray | None, *, parameters: int) -> Collapse:
    points, draws = values.shape
    errors = np.maximum(values.std(1, ddof=1) / math.sqrt(draws), np.finfo(np.float64).tiny)

    def residuals(columns: FloatArray) -> FloatArray:
        means = columns.mean(1)
        if log_x is None:
            return np.asarray(means)
        return np.asarray(means - np.polyval(np.polyfit(log_x, means, _DEGREE), log_x))

    def rms(columns: FloatArray) -> float:
        return float(np.sqrt(np.mean(residuals(columns) ** 2)))

    rest = np.array([rms(np.delete(values, j, axis=1)) for j in range(draws)])
    stderr = math.sqrt((draws - 1) / draws * float(((rest - rest.mean()) ** 2).sum()))
    chi2 = float(((residuals(values) / errors) ** 2).sum() / max(points - parameters, 1))
    return Collapse(
        spread=Estimate(value=rms(values), stderr=stderr, n=points * draws, dof=draws - 1), chi2=chi2, points=points
    )
