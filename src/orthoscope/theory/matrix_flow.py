r"""The guided reverse process between two Gaussians whose covariances need not commute: matrix moment equations.

With $S = C + t$, $N = U + t$, $B = S^{-1} - N^{-1}$, $G = S^{-1/2}BS^{1/2}$ and $k = (1 + \lambda^2)/2$, measure a
state by its *response* $P$, the matrix in mean $= \mu_c + P(\mu_c - \mu_u)$, and by $W = S^{-1/2}\Sigma S^{-1/2}$ with
$\Sigma$ its covariance. In $t$,

$$ \dot P = k(S^{-1} + wB)P - kwN^{-1}, \qquad
   \dot W = \tfrac{\lambda^2}2\bigl[S^{-1}(W - 1) + (W - 1)S^{-1}\bigr] + kw(GW + WG^\top) . $$

Without guidance $P = 0$ and $W = 1$. Followed are $P$ in units of $S^k$ and $Y = \log W$, so that narrow directions
and small variances keep their digits. From infinite noise the start is forgotten, and $P$ and $E = \Sigma - S$ are
series in $1/t$ beyond all eigenvalues.

Source:
    derived in explanation/joint.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.laws import Start
from orthoscope.numerics import Array
from orthoscope.theory.flow import drift_factor, limit_strength

_FAR = 60.0  # where the series from infinity is taken up, in units of (1 + |w|) times the largest eigenvalue
_TERMS = 12
_ROUNDING = 1e-17
_TOLERANCE = 1e-13
_LEAST = (1e-15, 1e-13)  # absolute tolerances of P, which may be small, and of Y


def matrix_moments(
    cond_cov: Array,
    uncond_cov: Array,
    schedule: GuidanceSchedule,
    *,
    lam: float = 1.0,
    t_max: float = np.inf,
    start: Start = "prior",
) -> tuple[Array, Array]:
    """Response matrix P and a root of the covariance of the guided law, for any schedule and start.

    The covariance is root @ root.T, and its eigenvalues are the squares of `numerics.singular_values(root)`.

    Args:
        cond_cov: Conditional covariance C, symmetric and positive definite.
        uncond_cov: Unconditional covariance U, likewise.
        schedule: Guidance strength.
        lam: 1 for the reverse SDE, 0 for the probability-flow ODE.
        t_max: Variance time of the start.
        start: At finite t_max, from the noised unconditional ("prior") or conditional ("exact") law.

    Accuracy:
        About 1e-10: adaptive integration of order 8; relative for every eigenvalue, and for the response along every
        eigenvector of C, as far as C and U tell their own small eigenvalues from rounding.

    Raises:
        ConfigError: if t_max is infinite and the schedule has no strength there, or the integration fails.

    Source:
        derived in explanation/joint.
    """
    flow = _Flow(cond_cov, uncond_cov, schedule, lam)
    knots = schedule.switches()
    if np.isfinite(t_max):
        first = t_max
        state = flow.at_start(first, exact=start == "exact")
    else:
        w = limit_strength(schedule)
        first = max([_FAR * (1 + abs(w)) * flow.scale, *knots])
        state = flow.from_infinity(first, w)
    marks = sorted({0.0, first, *(t for t in knots if 0 < t < first)}, reverse=True)
    for high, low in pairwise(marks):
        state = flow.follow(state, high, low)
    return flow.result(state)


class _Flow:
    """Both equations in the eigenbasis of the conditional covariance, over the logarithm of base + t."""

    def __init__(self, cond_cov: Array, uncond_cov: Array, schedule: GuidanceSchedule, lam: float) -> None:
        self.schedule, self.relaxing, self.factor = schedule, lam**2, drift_factor(lam)
        self.cond, self.turn = np.linalg.eigh(cond_cov)
        self.uncond, self.vectors = np.linalg.eigh(self.turn.T @ uncond_cov @ self.turn)
        self.gap = (self.vectors * self.uncond) @ self.vectors.T - np.diag(self.cond)
        self.base = float(min(self.cond[0], self.uncond[0]))
        self.scale = float(max(self.cond[-1], self.uncond[-1]))

    def _size(self, time: float) -> Array:
        return ((self.cond + time) / (self.scale + time))[:, None] ** self.factor

    def at_start(self, time: float, *, exact: bool) -> Array:
        """The state of the noised conditional or unconditional law."""
        n = len(self.cond)
        if exact:
            return np.zeros((2, n, n))
        white = (self.vectors * np.sqrt(self.uncond + time)).T / np.sqrt(self.cond + time)
        _, singular, right = np.linalg.svd(white)
        return np.stack([-np.eye(n) / self._size(time), (right.T * (2 * np.log(singular))) @ right])

    def from_infinity(self, time: float, w: float) -> Array:
        """The state at a time beyond all eigenvalues, by series in 1 / time."""
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
        root = np.sqrt(self.cond + time)
        values, own = np.linalg.eigh(np.sum(excess, axis=0) / root / root[:, None])
        return np.stack([np.sum(response, axis=0) / self._size(time), (own * np.log1p(values)) @ own.T])

    def follow(self, state: Array, high: float, low: float) -> Array:
        """The state at `low` from that at `high`, with no jump in between."""
        from scipy.integrate import solve_ivp  # slow to import

        n, base = len(self.cond), self.base
        # A level on a jump has the strength of its data side: the upper end is taken as it is, the lower from above.
        lowest = max(np.nextafter(low, np.inf), _ROUNDING * base)

        def rates(log_variance: float, flat: Array) -> Array:
            time = min(max(float(np.exp(log_variance)) - base, lowest), high)
            return (base + time) * self._rates(flat.reshape(2, n, n), time).ravel()

        span = (np.log(base + high), np.log(base + low))
        with np.errstate(over="ignore", invalid="ignore"):
            run = solve_ivp(rates, span, state.ravel(), method="DOP853", rtol=_TOLERANCE, atol=np.repeat(_LEAST, n * n))
        if not run.success or not np.isfinite(run.y[:, -1]).all():
            raise ConfigError(f"the moment equations could not be followed ({run.message}); use a smaller strength")
        p, y = run.y[:, -1].reshape(2, n, n)
        return np.stack([p, (y + y.T) / 2])

    def _rates(self, state: Array, time: float) -> Array:
        p, log_w = state
        w, s, size = float(self.schedule.at_time(time)), self.cond + time, self._size(time)
        inverse = (self.vectors / (self.uncond + time)) @ self.vectors.T
        difference = self.gap @ inverse / s[:, None]  # B
        moved = difference @ (size * p) - inverse
        p_rate = self.factor * (p / (self.scale + time) + w * moved / size)
        if not np.isfinite(log_w).all():
            return np.full_like(state, np.nan)  # of a trial step, which is taken back
        values, own = np.linalg.eigh((log_w + log_w.T) / 2)
        lag = values[:, None] - values
        # (log a - log b) b / (a - b): what a derivative of W becomes in its logarithm.
        share = np.where(lag == 0, 1.0, lag / np.where(lag == 0, 1.0, np.expm1(lag)))
        root = np.sqrt(s)
        pushed = share * (own.T @ (difference / root[:, None] * root) @ own)
        y_rate = self.factor * w * (pushed + pushed.T)
        if self.relaxing:
            away = np.expm1(values)
            pulled = share * np.exp(-values) * (away[:, None] + away)
            y_rate += self.relaxing / 2 * pulled * (own.T / s @ own)
        return np.stack([p_rate, own @ y_rate @ own.T])

    def result(self, state: Array) -> tuple[Array, Array]:
        """Response and a root of the covariance, at t = 0."""
        p, log_w = state
        values, own = np.linalg.eigh(log_w)
        response = self.turn @ (self._size(0.0) * p) @ self.turn.T
        return response, self.turn @ (np.sqrt(self.cond)[:, None] * own * np.exp(values / 2))
