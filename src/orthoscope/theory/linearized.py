r"""Moments of guided samples from the best affine answers of two branches round one class.

In units of the centroid $m$ of a class, with the width $s^2$ counted as noise, $v = s^2 + t$, a conditional branch
answers $c(x) = (v D_c - s^2 x)/t \approx (1 + a_c)\,m + k_c\,(x - m)$, and the difference of the branches
$(v/t)(D_c - D_u) \approx a\,m + k\,(x - m)$. The numbers $a_c, k_c, a, k$ at every level are regressions on noised
points of the class: labelled data and the network are enough, no exact score is asked. Shift $e$ and variance $V$ of a
guided class then obey, with $\kappa = (1 + \lambda^2)/2$ and $v$ falling,

$$ -\frac{de}{d\log v} = \kappa\,\big[a_c + (k_c - 1) e + w\,(a + k e)\big], \qquad
   -\frac{dV}{d\log v} = 2\kappa\,(k_c - 1 + w k)\,V + \lambda^2 v . $$

That is exact where both branches are affine, as those of one Gaussian are: $a = v/(1 + v)$, $k = -1/(1 + v)$. Where the
unconditional branch knows its classes, guidance stops on states that are moved and the affine answer does not, so
that it foretells too much.

Source:
    derived in explanation/score-errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import GuidanceSchedule

FloatArray = NDArray[np.float64]
_LEAST = 1e-6  # of the width: the variance time at which paths end
_ASIDE = 1e-9  # of a time: how far from a jump of the strength a stretch begins and ends
_FEWEST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class AffineBranches:
    """Affine answers of two branches round their class, by variance time.

    Attributes:
        times: Variance times, ascending and > 0.
        cond_pull: $a_c$ at each.
        cond_slope: $k_c$ at each.
        pull: $a$ at each.
        slope: $k$ at each.
    """

    times: Sequence[float]
    cond_pull: Sequence[float]
    cond_slope: Sequence[float]
    pull: Sequence[float]
    slope: Sequence[float]

    def __post_init__(self) -> None:
        """Reject tables that are none."""
        columns = [np.asarray(getattr(self, one.name), dtype=np.float64) for one in fields(self)]
        if {one.shape for one in columns} != {(len(columns[0]),)} or len(columns[0]) < _FEWEST:
            raise ConfigError(f"expected columns of one length >= {_FEWEST}, got {[one.shape for one in columns]}")
        if not np.isfinite(columns).all() or columns[0][0] <= 0 or (np.diff(columns[0]) <= 0).any():
            raise ConfigError("`times` must be > 0 and ascending, and all columns finite; drop levels that are not")

    def at(self, time: float) -> list[float]:
        """The four numbers at a time: linear in its logarithm, constant beyond the table."""
        columns = (self.cond_pull, self.cond_slope, self.pull, self.slope)
        return [float(np.interp(np.log(time), np.log(self.times), one)) for one in columns]


def gaussian_branches(times: Sequence[float], std: float) -> AffineBranches:
    """The exact conditional branch beside one Gaussian with the moments of unit centroids of width `std`."""
    none = [0.0] * len(times)
    shares = [1 / (1 + std**2 + time) for time in times]
    return AffineBranches(
        times=times, cond_pull=none, cond_slope=none, pull=[1 - one for one in shares], slope=[-one for one in shares]
    )


def predict_linearized(
    branches: AffineBranches, schedule: GuidanceSchedule, *, std: float, t_max: float, lam: float = 1.0
) -> tuple[float, float]:
    """Mean shift and variance ratio of a class whose noised law is exact at the start.

    Args:
        branches: What the branches answer.
        schedule: Guidance strength.
        std: Within-class standard deviation.
        t_max: Variance time of the start.
        lam: 1 for the reverse SDE, 0 for the probability-flow ODE.

    Raises:
        ConfigError: if `t_max` is not finite and > 0.

    Source:
        derived in explanation/score-errors.
    """
    if not 0 < t_max < np.inf:
        raise ConfigError(f"`t_max` must be finite and > 0 where branches were measured, got {t_max}", field="t_max")
    width, kappa = std**2, (1 + lam**2) / 2

    def rates(position: float, state: FloatArray) -> list[float]:
        time = np.exp(-position)
        v, w = width + time, float(schedule.at_time(time))
        cond_pull, cond_slope, pull, slope = branches.at(time)
        e, variance = state
        along = cond_pull + (cond_slope - 1) * e + w * (pull + slope * e)
        across = 2 * kappa * (cond_slope - 1 + w * slope) * variance / v + lam**2
        return [time * kappa * along / v, time * across]

    least = _LEAST * width
    marks = [t_max, *sorted((t for t in schedule.switches() if least < t < t_max), reverse=True), least]
    state = np.array([0.0, width + t_max])
    for begin, end in pairwise(marks):
        stretch = -np.log(begin * (1 - _ASIDE)), -np.log(end * (1 + _ASIDE))
        state = solve_ivp(rates, stretch, state, method="LSODA", rtol=1e-8, atol=1e-11).y[:, -1]
    return float(state[0]), float(state[1] / width)
