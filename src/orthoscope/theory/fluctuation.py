r"""What fluctuates between paths of one class: the variance along the centroid, beyond that across it.

In high dimension a path commits at a moment that differs from path to path by $O(d^{-1/2})$ in $\log v$. Write the
state at the mean moment $v_s$ as $a = \sqrt d\,q + y$ along the centroid and $|x_\perp|^2 = dV + \sqrt d\,R$
across it, where $y \sim N(0, V)$ and $R \sim N(0, 2V^2)$ are independent. The log-odds per dimension move by
$(g_q y + g_R R)/\sqrt d$ with

$$ g_q = \frac qu - \frac{q-1}{v}, \qquad g_R = \frac12\Bigl(\frac1u - \frac1v\Bigr), $$

and the moment by $\delta\log v = -(g_q y + g_R R)/(\sqrt d\,g')$, where $g' = dg/d\log v$ along the free path.
Guidance that acts for a while longer moves the overlap by $j\,\delta\log v$, with the jump
$j = k w\,[h(q-1) - (1-h)]$ of the overlap's slope at commitment. Both add up to a fluctuation of order one in
$\sqrt d\,q$, along the centroid and in no other direction:

$$ \Delta_\parallel = \Bigl(\frac{s^2}{v_s}\Bigr)^{2k}
   \bigl[(1 + \kappa g_q)^2 V - V + 2\kappa^2 g_R^2 V^2\bigr], \qquad \kappa = -\frac{j}{g'} . $$

Source:
    derived in explanation/finite-dimension.
"""

from __future__ import annotations

import numpy as np

from orthoscope.settings import Setting
from orthoscope.theory.flow import drift_factor
from orthoscope.theory.predict import predict


def along_excess(setting: Setting) -> float:
    """Variance along the class centroid minus variance across it, at t = 0, as the dimension grows.

    It is what makes coordinates of guided samples correlate: 0 without guidance, and 0 where nothing commits, since
    all directions then obey the same linear equation.

    Accuracy:
        Leading order in 1/dim, for paths that commit and are not captured; nan for captured paths.

    Source:
        derived in explanation/finite-dimension.
    """
    found = predict(setting)
    if found.capture_time is not None:
        return float("nan")
    if found.speciation_time is None:
        return 0.0
    time = found.speciation_time
    overlap, width = (float(part) for part in found.path(time))
    strength = float(setting.schedule.at_time(time))
    k, v = drift_factor(setting.lam), setting.law.std**2 + time
    shift, excess = overlap - 1, width - v
    pull = 1 / (1 + v)
    jump = k * strength * (pull * shift - (1 - pull))
    shift_slope = k * shift + jump
    excess_slope = 2 * k * (1 + strength * pull) * excess + 2 * k * strength * pull * v
    slope = _margin_slope(shift, excess, v, shift_slope, excess_slope)
    kappa = -jump / slope
    along = overlap * pull - shift / v
    across = (pull - 1 / v) / 2
    decay = (setting.law.std**2 / v) ** (2 * k)
    return float(decay * ((1 + kappa * along) ** 2 * width - width + 2 * kappa**2 * across**2 * width**2))


def _margin_slope(shift: float, excess: float, v: float, shift_slope: float, excess_slope: float) -> float:
    # d/dlog v of the speciation rate (theory page, equation 4) along a path with these slopes.
    u = 1 + v
    explicit = -1 / u - 2 * shift * v / u**2 + (shift**2 + excess) * (1 + 2 * v) / (u**2 * v)
    through = 2 * shift_slope / u - (2 * shift * shift_slope + excess_slope) / (u * v)
    return 0.5 * (explicit + through)


def correlation(setting: Setting, dim: int) -> float:
    r"""Root mean square correlation between two different coordinates of guided samples, to leading order.

    An excess $\Delta_\parallel$ along a centroid with independent normal coordinates gives coordinates $i \ne j$ the
    covariance $\Delta_\parallel m_i m_j/|m|^2$, whose mean square over pairs is $\Delta_\parallel^2/(d(d+2))$.

    Accuracy:
        As `along_excess`; relative order 1/dim.

    Source:
        derived in explanation/finite-dimension.
    """
    found = predict(setting)
    width = setting.law.std**2 + found.variance_shift
    return float(abs(along_excess(setting)) / (width * np.sqrt(dim * (dim + 2))))
