r"""How much an error of the denoised mean at one noise level counts in guided samples.

A guided denoised mean that is off by $\delta D_w(t)$ at variance time $t$ moves the mean of samples, to first order,
by $\int K(t)\,E[\delta D_w(t)]\,d\log t$. Guidance against one Gaussian pulls back what an error moved:

$$ K = k\,\Bigl(\frac{s^2}{v}\Bigr)^{k}\exp\Bigl(-k\int_0^t \frac{w(t')\,dt'}{v'(1 + v')}\Bigr),
   \qquad v = s^2 + t,\quad k = \tfrac12(1 + \lambda^2), $$

for constant strength $k\,(s^2/v)^k\,(r_0/r)^{kw}$ with $r = v/(1+v)$. Without guidance, or where the class is decided
and the exact branches have no Jacobian, what is left is the *bare* kernel $k\,(s^2/v)^k$.

Source:
    derived in explanation/score-errors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant, GuidanceSchedule
from orthoscope.laws import check_std
from orthoscope.numerics import Array, unit_gauss
from orthoscope.theory.flow import drift_factor

_NODES = 16
_PANEL = 0.5  # longest panel in log v


def error_kernel(time: ArrayLike, std: float, strength: GuidanceSchedule | float = 0.0, lam: float = 1.0) -> Array:
    """Weight of an error of the guided denoised mean, per unit of log t, where guidance acts against one Gaussian.

    Args:
        time: Variance times.
        std: Within-class standard deviation, in units of the centroids' own.
        strength: A number, or a schedule; 0 gives the bare kernel.
        lam: 1 for the reverse SDE, 0 for the probability-flow ODE, anything between for a mixture.

    Accuracy:
        Relative 1e-10 for strengths that are smooth between their switches.

    Raises:
        ConfigError: if a time is negative or infinite, or the width is none.

    Source:
        derived in explanation/score-errors.
    """
    check_std(std)
    t = np.asarray(time, dtype=np.float64)
    if not (np.isfinite(t).all() and (t >= 0).all()):
        raise ConfigError(f"`time` must hold finite variance times >= 0, got {time!r:.60}", field="time")
    schedule, k = strength if isinstance(strength, GuidanceSchedule) else Constant(value=strength), drift_factor(lam)
    return np.asarray(k * (std**2 / (std**2 + t)) ** k * np.exp(-k * _pulled(t, std**2, schedule)))


def _pulled(time: Array, base: float, schedule: GuidanceSchedule) -> Array:
    """Integral of w / (1 + v) over log v, from clean data up to each time."""
    last = max(float(time.max(initial=0.0)), 0.0)
    edges = np.log(base + np.array([0.0, *(t for t in schedule.switches() if 0 < t < last), *time.ravel()]))
    edges = np.unique(np.concatenate([edges, np.arange(edges.min(), edges.max(), _PANEL)]))
    nodes, weights = unit_gauss(_NODES)
    width = np.diff(edges)
    v = np.exp(edges[:-1, None] + width[:, None] * nodes)
    panels = (schedule.at_time(v - base) / (1 + v)) @ weights * width
    whole = np.concatenate([[0.0], np.cumsum(panels)])
    return np.asarray(whole[np.searchsorted(edges, np.log(base + time))])
