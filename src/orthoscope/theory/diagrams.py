"""Phase diagrams: mean-field theory over whole planes of parameters at once.

Each function returns plain arrays under the names of `orthoscope.quantities`, axes first; missing times are
nan. Regions of a window diagram:

- `distorted`: the mean is not pushed back, and variance is lost: ordinary guidance;
- `restored`: the mean is not pushed back, and variance is kept or gained: what a negative window is for;
- `reversed`: the mean is pushed back;
- `lost`: the path ends in another mode.

Shifts smaller than 1e-12 of the variance within a class count as none: a window that moves nothing is `restored`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthoscope.errors import ConfigError
from orthoscope.numerics import Array
from orthoscope.settings import Setting
from orthoscope.theory.moments import Moments, solve
from orthoscope.theory.predict import problem_of
from orthoscope.theory.problem import LinearStrengths
from orthoscope.theory.stages import Stage

Region = Literal["distorted", "restored", "reversed", "lost"]
REGIONS: tuple[Region, ...] = ("distorted", "restored", "reversed", "lost")
_NONE = 1e-12  # size of a shift that counts as none, in units of s^2: the size of shifts of narrow classes
Diagram = dict[str, NDArray[np.generic]]


def rate_strength_diagram(setting: Setting, rates: ArrayLike, strengths: ArrayLike) -> Diagram:
    """Constant strength: every rate against every strength.

    Args:
        setting: The run; its own rate and schedule play no part.
        rates: Class rates, nats per dimension.
        strengths: Guidance strengths.

    Returns:
        `rate` and `strength`, the axes; `mean_shift`, `variance_shift`, `variance_ratio`, `speciation_time`,
        `condensation_time`, `capture_time`, `regime` and `region`, each of shape (rates, strengths).

    Accuracy:
        As `moments.solve`.

    Raises:
        ConfigError: if an axis is empty or out of range.

    Source:
        [ventura2026emergence]; derived in explanation/theory.
    """
    rate, strength = _axis("rates", rates), _axis("strengths", strengths)
    # Strengths vary slowest: paths of similar strength need similar panels and are integrated together.
    columns, rows = (plane.ravel() for plane in np.meshgrid(strength, rate, indexing="ij"))
    solved = _solve(setting, rows, LinearStrengths(columns, np.zeros_like(columns)))
    planes = _planes(solved, setting.law.std, (strength.size, rate.size))
    return {"rate": rate, "strength": strength, **{name: plane.T for name, plane in planes.items()}}


def window_diagram(setting: Setting, w0: ArrayLike, slope: ArrayLike) -> Diagram:
    """Linear windows w0 + slope * t: every offset against every slope, at one rate.

    The start matters: guidance early in the run grows like the logarithm of `t_max`.

    Args:
        setting: The class rate and the run; its own schedule plays no part.
        w0: Strengths at clean data.
        slope: Growths of the strength per unit of variance time.

    Returns:
        `w0` and `slope`, the axes; the planes of `rate_strength_diagram`, each of shape (offsets, slopes).

    Accuracy:
        As `moments.solve`.

    Raises:
        ConfigError: if an axis is empty, a number out of range, or t_max infinite.

    Source:
        [ventura2026emergence]; derived in explanation/theory.
    """
    offset, slopes = _axis("w0", w0), _axis("slope", slope)
    rows, columns = (plane.ravel() for plane in np.meshgrid(offset, slopes, indexing="ij"))
    solved = _solve(setting, np.full(rows.size, setting.rate), LinearStrengths(rows, columns))
    return {"w0": offset, "slope": slopes, **_planes(solved, setting.law.std, (offset.size, slopes.size))}


def region(solved: Moments, std: float) -> NDArray[Any]:
    """Name of the region in which each path ends, see the module's head.

    Source:
        [ventura2026emergence], regions of the (w0, omega) plane; derived in explanation/theory.
    """
    none = _NONE * std**2
    back, shrunk = solved.mean_shift < -none, solved.variance_shift < -none
    return np.select([solved.lost, back, shrunk], ["lost", "reversed", "distorted"], "restored")


def _axis(name: str, values: ArrayLike) -> Array:
    axis = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if axis.ndim != 1 or not axis.size or not np.isfinite(axis).all():
        raise ConfigError(f"{name} must be a list of finite numbers, got {values!r:.80}")
    return axis


def _solve(setting: Setting, rate: Array, strengths: LinearStrengths) -> Moments:
    return solve(replace(problem_of(setting.limit()), rate=rate, strengths=strengths))


def _planes(solved: Moments, std: float, shape: tuple[int, int]) -> Diagram:
    regime = np.select([solved.lost, solved.stage == Stage.COMMITTED], ["captured", "committed"], "dense")
    planes: Diagram = {
        "mean_shift": solved.mean_shift,
        "variance_shift": solved.variance_shift,
        "variance_ratio": solved.variance_ratio,
        "speciation_time": solved.speciation_time,
        "condensation_time": solved.condensation_time,
        "capture_time": solved.capture_time,
        "regime": regime,
        "region": region(solved, std),
    }
    return {name: plane.reshape(shape) for name, plane in planes.items()}
