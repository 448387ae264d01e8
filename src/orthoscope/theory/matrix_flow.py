r"""The guided reverse process between two Gaussians whose covariances need not commute: matrix moment equations.

With $S = C + t$, $N = U + t$, $A = (1+w)S^{-1} - wN^{-1}$ and $k = (1+\lambda^2)/2$, measure a state by its *response*
$P$, the matrix in mean $= \mu_c + P(\mu_c - \mu_u)$, and its *excess* $E$, covariance minus $S$. As $t$ falls,

$$ -\dot P = -kAP + kwN^{-1}, \qquad -\dot E = -k(AE + EA) - kw\bigl[N^{-1}(U - C) + (U - C)N^{-1}\bigr] . $$

Both vanish without guidance, and no difference of nearly equal covariances is taken. From infinite noise the start is
forgotten, and $P = \sum_j P_jt^{-j}$, $E = \sum_j E_jt^{-j}$ beyond all eigenvalues.

Source:
    derived in explanation/joint.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.integrate import solve_ivp

from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.numerics import Array
from orthoscope.theory.flow import Start, drift_factor, limit_strength

_FAR = 60.0  # where the series from infinity is taken up, in units of (1 + |w|) times the largest eigenvalue
_TERMS = 12
_ROUNDING = 1e-17
_TOLERANCE = 1e-13


def matrix_moments(
    cond_cov: Array,
    uncond_cov: Array,
    schedule: GuidanceSchedule,
    *,
    lam: float = 1.0,
    t_max: float = np.inf,
    start: Start = "prior",
) -> tuple[Array, Array]:
    """Response matrix P and covariance of the guided law, for any schedule and start.

    Args:
        cond_cov: Conditional covariance C, symmetric and positive definite.
        uncond_cov: Unconditional covariance U, likewise.
        schedule: Guidance strength.
        lam: 1 for the reverse SDE, 0 for the probability-flow ODE.
        t_max: Variance time of the start.
        start: At finite t_max, from the noised unconditional ("prior") or conditional ("exact") law.

    Accuracy:
        About 1e-10, absolute in units of the largest eigenvalue: adaptive integration of order 8.

    Raises:
        ConfigError: if t_max is infinite and the schedule has no strength there, or the integration fails.

    Source:
        derived in explanation/joint.
    """
    scale = float(max(np.linalg.eigvalsh(cond_cov)[-1], np.linalg.eigvalsh(uncond_cov)[-1]))
    flow = _Flow(cond_cov, uncond_cov, schedule, drift_factor(lam))
    knots = schedule.switches()
    if np.isfinite(t_max):
        first, gap = t_max, uncond_cov - cond_cov
        response, excess = (np.zeros_like(gap),) * 2 if start == "exact" else (-np.eye(len(gap)), gap)
    else:
        w = limit_strength(schedule)
        first = max([_FAR * (1 + abs(w)) * scale, *knots])
        response, excess = flow.from_infinity(first, w)
    marks = sorted({0.0, first, *(t for t in knots if 0 < t < first)}, reverse=True)
    for high, low in pairwise(marks):
        response, excess = flow.follow(response, excess, high, low, scale)
    return response, cond_cov + excess


class _Flow:
    """Both equations in the eigenbasis of the conditional covariance, over the logarithm of base + t."""

    def __init__(self, cond_cov: Array, uncond_cov: Array, schedule: GuidanceSchedule, factor: float) -> None:
        self.schedule, self.factor = schedule, factor
        self.cond, self.turn = np.linalg.eigh(cond_cov)
        self.uncond, self.vectors = np.linalg.eigh(self.turn.T @ uncond_cov @ self.turn)
        self.gap = (self.vectors * self.uncond) @ self.vectors.T - np.diag(self.cond)
        self.base = float(min(self.cond[0], self.uncond[0]))

    def _inside(self, matrix: Array) -> Array:
        return self.turn.T @ matrix @ self.turn

    def _outside(self, matrix: Array) -> Array:
        return self.turn @ matrix @ self.turn.T

    def from_infinity(self, time: float, w: float) -> tuple[Array, Array]:
        """Response and excess at a time beyond all eigenvalues, by their series in 1 / time."""
        k, identity = self.factor, np.eye(len(self.cond))
        powers_c, powers_u = [identity], [identity]
        for _ in range(_TERMS):
            powers_c.append(-powers_c[-1] * self.cond / time)
            powers_u.append(-(powers_u[-1] @ (self.vectors * self.uncond)) @ self.vectors.T / time)
        drift = [(1 + w) * c - w * u for c, u in zip(powers_c, powers_u, strict=True)]
        response: list[Array] = []
        excess: list[Array] = []
        for j in range(_TERMS + 1):
            push = powers_u[j] @ self.gap
            p, e = -w * powers_u[j], w * (push + push.T)
            for i in range(1, j + 1):
                p = p + drift[i] @ response[j - i]
                e = e + drift[i] @ excess[j - i] + excess[j - i] @ drift[i]
            response.append(-k * p / (k + j))
            excess.append(-k * e / (2 * k + j))
        return self._outside(np.sum(response, axis=0)), self._outside(np.sum(excess, axis=0))

    def follow(self, response: Array, excess: Array, high: float, low: float, scale: float) -> tuple[Array, Array]:
        """Response and excess at `low` from those at `high`, with no jump in between."""
        n, base = len(self.cond), self.base
        # A level on a jump has the strength of its data side: the upper end is taken as it is, the lower from above.
        lowest = max(np.nextafter(low, np.inf), _ROUNDING * base)

        def rates(log_variance: float, flat: Array) -> Array:
            p, e = flat.reshape(2, n, n)
            time = min(max(float(np.exp(log_variance)) - base, lowest), high)
            w = float(self.schedule.at_time(time))
            inverse = (self.vectors / (self.uncond + time)) @ self.vectors.T
            drift = np.diag((1 + w) / (self.cond + time)) - w * inverse
            push, pulled = inverse @ (self.gap / scale), drift @ e
            stretch = self.factor * (base + time)
            return stretch * np.stack([drift @ p - w * inverse, pulled + pulled.T + w * (push + push.T)]).ravel()

        begin = np.stack([self._inside(response), self._inside(excess) / scale]).ravel()
        span = (np.log(base + high), np.log(base + low))
        with np.errstate(over="ignore", invalid="ignore"):
            run = solve_ivp(rates, span, begin, method="DOP853", rtol=_TOLERANCE, atol=_TOLERANCE)
        if not run.success or not np.isfinite(run.y[:, -1]).all():
            raise ConfigError(f"the moment equations could not be followed ({run.message}); use a smaller strength")
        p, e = run.y[:, -1].reshape(2, n, n)
        return self._outside(p), self._outside(scale * (e + e.T) / 2)
