r"""Between the modes of one class: where guidance sends paths when the unconditional law is one Gaussian.

Let the class be a mixture of modes on one line, of width $s$ in every direction, and the unconditional law a centered
Gaussian of variance $u_0$ per coordinate. Its score pulls every coordinate on its own, so that the line and the
directions across it decouple. On the line the guided probability-flow ODE is

$$ \frac{dy}{dv} = -\frac12\Bigl[(1 + w)\,\frac{\mu(y) - y}{v} + \frac{w\,y}{u}\Bigr],\qquad
   v = s^2 + t,\quad u = u_0 + t, $$

with $\mu$ the posterior mean of the modes' positions. A flow on a line keeps order: which mode a path ends in is
decided by where it starts. Averages over the start are quadratures, refined where paths part; no samples are drawn.
Across the line the class is one Gaussian, `gaussian.scheduled_gaussian`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp, softmax

from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.numerics import Array
from orthoscope.theory.gaussian import scheduled_gaussian

_NODES = 1025  # starts, evenly spaced
_FINER = 66  # starts from one to the next where paths part, in each refinement
_REFINEMENTS = 2
_FARTHEST = 6.5  # standard deviations of a noised mode
_TOLERANCE = 1e-7
_EDGE = 1e-13  # of a piece in log v: keeps levels on the right side of a jump


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Separation:
    """The guided class at t = 0.

    Attributes:
        shares: Share of the paths in each mode, by the exact posterior.
        mean: Mean on the line.
        spread_along: Variance within the modes along the line, about their own means, over s^2.
        shift_across: Mean across the line, as a relative shift away from the unconditional mean.
        spread_across: Variance across the line over s^2.
    """

    shares: Array
    mean: float
    spread_along: float
    shift_across: float
    spread_across: float


def separate(
    positions: ArrayLike, weights: ArrayLike, std: float, schedule: GuidanceSchedule, *, total: float, t_max: float
) -> Separation:
    """Shares of the modes and widths within them under the guided probability-flow ODE, from the exact noised class.

    Args:
        positions: Of the modes on their line, measured from the unconditional mean.
        weights: Positive, of the modes; normalized here.
        std: Within-mode standard deviation.
        schedule: Guidance strength.
        total: Variance per coordinate of the unconditional law.
        t_max: Variance time of the start.

    Raises:
        ConfigError: if the numbers are out of range or the schedule needs a grid.

    Accuracy:
        About 1e-5.

    Source:
        [jin2025stage] for the setting; derived in explanation/multimodal.
    """
    a, pi = np.asarray(positions, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if a.ndim != 1 or a.shape != pi.shape or not (pi > 0).all():
        raise ConfigError("expected one position and one positive weight per mode")
    if not (std > 0 and total > 0 and np.isfinite(t_max) and t_max > 0):
        raise ConfigError(f"expected positive std, total and finite t_max, got {std}, {total} and {t_max}")
    log_pi, spread = np.log(pi / pi.sum()), np.sqrt(std**2 + t_max)
    pieces = list(pairwise([t_max, *(t for t in schedule.switches() if 0 < t < t_max), 0.0]))

    def ends(starts: Array) -> Array:
        y = starts
        for high, low in pieces:
            y = _flow(y, a, log_pi, std**2, total, schedule, high, low)
        return y

    def winners(y: Array) -> NDArray[np.intp]:
        return np.asarray(_log_posterior(y, a, log_pi, std**2).argmax(1))

    reach = _FARTHEST * spread
    starts, y = _refined(ends, winners, np.linspace(a.min() - reach, a.max() + reach, _NODES))
    density = np.exp(logsumexp(log_pi - (starts[:, None] - a) ** 2 / (2 * spread**2), axis=1))
    masses = density * np.gradient(starts)  # the trapezoidal rule
    masses /= masses.sum()
    posterior = np.exp(_log_posterior(y, a, log_pi, std**2))
    shift, variance = scheduled_gaussian(std**2, total, schedule, lam=0.0, t_max=t_max, start="exact")
    shares = masses @ posterior
    centers = (masses * y) @ posterior / shares
    gaps = (posterior * (y[:, None] - centers) ** 2).sum(1)
    return Separation(
        shares=shares,
        mean=float(masses @ y),
        spread_along=float(masses @ gaps) / std**2,
        shift_across=float(shift),
        spread_across=float(variance) / std**2,
    )


def _refined(
    ends: Callable[[Array], Array], winners: Callable[[Array], NDArray[np.intp]], starts: Array
) -> tuple[Array, Array]:
    """Starts and their ends, with further starts where neighbors end in different modes."""
    y = ends(starts)
    for _ in range(_REFINEMENTS):
        parted = np.flatnonzero(np.diff(winners(y)))
        near = np.unique(parted[:, None] + [-1, 0, 1])  # a boundary may lie on a start
        pieces = [np.linspace(starts[k], starts[k + 1], _FINER)[1:-1] for k in near if 0 <= k < len(starts) - 1]
        if pieces:
            more = np.concatenate(pieces)
            starts, y = np.concatenate([starts, more]), np.concatenate([y, ends(more)])
            order = np.argsort(starts)
            starts, y = starts[order], y[order]
    return starts, y


def _log_posterior(y: Array, positions: Array, log_pi: Array, v: float) -> Array:
    logits = log_pi - (y[:, None] - positions) ** 2 / (2 * v)
    return np.asarray(logits - logsumexp(logits, axis=1, keepdims=True))


def _strength(schedule: GuidanceSchedule, log_v: float, width: float, high: float, low: float) -> float:
    inside = _EDGE + 1e-9 * (high - low)
    return float(schedule.at_time(np.clip(np.exp(log_v) - width, low + inside, high - inside)))


def _flow(
    y: Array, positions: Array, log_pi: Array, width: float, total: float, schedule: GuidanceSchedule,
    high: float, low: float,
) -> Array:  # fmt: skip
    from scipy.integrate import solve_ivp  # slow to import

    def slope(log_v: float, y: Array) -> Array:
        v, w = np.exp(log_v), _strength(schedule, log_v, width, high, low)
        mean = softmax(log_pi - (y[:, None] - positions) ** 2 / (2 * v), axis=1) @ positions
        return np.asarray(-((1 + w) * (mean - y) + w * y * v / (total - width + v)) / 2)

    span = (np.log(width + high), np.log(width + low))
    solution = solve_ivp(slope, span, y, method="DOP853", rtol=_TOLERANCE, atol=_TOLERANCE)
    return np.asarray(solution.y[:, -1])
