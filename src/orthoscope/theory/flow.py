r"""The guided reverse process with linear scores: what happens to a mean and a variance.

Write $v = c + t$ for the variance of the noised conditional law, $w$ for the strength and $h$ for the *pull*:
seen from a state $x$ the unconditional model expects the clean state at $\mu_u + h\,(x - \mu_u)$, up to what
the conditional knows. For two Gaussians with variances $c$ and $u = c + \Delta$ the pull is $h =
\Delta/(\Delta + v)$. Measure a state by

- its *shift* $p$: (mean - $\mu_c$) in units of $\mu_c - \mu_u$, and
- its *excess* $e$: variance minus $v$.

With $k = (1 + \lambda^2)/2$, $\lambda = 1$ for the reverse SDE and 0 for the probability-flow ODE, and $t$
falling,

$$ \frac{dp}{d\log v} = k(1 + wh)\,p - kw(1 - h), \qquad \frac{de}{d\log v} = 2k(1 + wh)\,e + 2kwh\,v . $$

Both vanish identically without guidance, and no difference of nearly equal variances is ever taken.

Source:
    derived in explanation/theory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from scipy.special import expit, hyp2f1, logsumexp

from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.numerics import Array, columns, unit_gauss, unit_integrals

_STRONGEST = 1000.0
_TINY = 1e-200
_UNLIKE = 1e-3  # ratio below which 1 - r has lost digits of r, and the hypergeometric function with it
_TAIL, _SPACING = 37.0, 0.2  # of the trapezoidal rule: both leave out 1e-16
_ROUNDING = 1e-17
NODES = 10  # quadrature nodes per panel
_GROWTH = 4.0  # largest growth exponent within one panel
_WIDEST = 0.5  # widest panel in log-variance
_MOST_PANELS = 50_000
_GRADING = 4.0 ** -np.arange(19.0)  # refines towards t = 0, where sqrt(t) and log(t) are not smooth


def drift_factor(lam: float) -> float:
    """Drift factor k = (1 + lam^2) / 2, the factor of the score in the reverse drift.

    Source:
        [song2021score], reverse SDE and probability-flow ODE; lam interpolates.
    """
    return (1 + lam**2) / 2


def transport(
    shift: Array,
    excess: Array,
    *,
    width: Array,
    strength: Array,
    pull: Array,
    rest: Array,
    variance: Array,
    factor: float,
) -> tuple[Array, Array]:
    """Shift and excess at the quadrature nodes of one panel and, last, at its end.

    Args:
        shift: Values at the start of the panel, shape (..., 1).
        excess: Likewise.
        width: Length of the panel in log v, times the local stretch of the integration variable; broadcasts
            to (..., n).
        strength: Strength w at the nodes, (..., n).
        pull: Pull h at the nodes.
        rest: 1 - h, which may be much smaller than 1.
        variance: Variance v at the nodes.
        factor: The drift factor k.

    Accuracy:
        Gauss quadrature with exact integrating factors: about 1e-12 on panels made by `panel_edges`.

    Source:
        derived in explanation/theory.
    """
    growth = factor * width * (1 + strength * pull) @ unit_integrals(strength.shape[-1]).T
    return (
        decayed(shift, factor * width * strength * rest, growth),
        decayed(excess, -2 * factor * width * strength * pull * variance, 2 * growth),
    )


def decayed(first: Array, source: Array, growth: Array) -> Array:
    """Solution of dz/dx = source - (d growth/dx) z at the quadrature nodes of a panel and at its end.

    Args:
        first: Values at the start of the panel, shape (..., 1).
        source: At the nodes, (..., n).
        growth: At the nodes and the end, (..., n + 1).

    Source:
        Variation of constants; derived in explanation/theory.
    """
    integrals = unit_integrals(source.shape[-1]).T
    return np.asarray(np.exp(-growth) * (first + (source * np.exp(growth[..., :-1])) @ integrals))


def log_variance(first: Array, *, width: Array, growth: Array, variance: Array, lam: float) -> Array:
    """Log of the variance at the end of one panel, from that at its start, shapes (..., 1).

    The variance obeys dV/dlog v = 2k(1 + wh) V - lam^2 v, a sum of positive terms: however small it becomes, it keeps
    its digits, which v + excess does not.

    Args:
        first: Log of the variance at the start of the panel.
        width: As in `transport`.
        growth: Integral of k (1 + wh) from the start of the panel, at the nodes and the end.
        variance: Variance v at the nodes.
        lam: 1 for the reverse SDE, 0 for the probability-flow ODE.

    Accuracy:
        As `transport`, relative in the variance.

    Source:
        derived in explanation/theory.
    """
    end = 2 * growth[..., -1:]
    if lam == 0:
        return np.asarray(first - end)
    weights = unit_integrals(growth.shape[-1] - 1)[-1:].T
    gained = (lam**2 * width * variance * np.exp(2 * growth[..., :-1])) @ weights
    with np.errstate(divide="ignore"):  # of panels without width
        return np.asarray(np.logaddexp(first, np.log(np.maximum(gained, 0.0))) - end)


def response(strength: Array | float, ratio: Array | float, order: float) -> Array:
    r"""How strongly constant guidance from infinite noise on has acted, per unit of strength.

    $$ \Phi_\kappa(w, r) = r\;{}_2F_1(1,\, 1 - \kappa w;\, 1 + \kappa;\, 1 - r)
       = \int_0^1 \Bigl(\frac{r}{1 - (1 - r)\,s^{1/\kappa}}\Bigr)^{\kappa(1+w)} ds, \qquad
       \Phi_1 = \frac{r\,(1 - r^w)}{w\,(1 - r)} $$

    The shift is $w\,\Phi_k$ and the excess $-w\,\Delta\,\Phi_{2k}$, with $r = (c+t)/(u+t)$.

    Accuracy:
        Relative error below 1e-11 (against 40-digit arithmetic), for strengths up to 50 and any r; infinite where the
        exact value exceeds the range of float64, which needs a conditional law wider than the unconditional one.

    Raises:
        ConfigError: if a strength is larger than 1000: scipy's hypergeometric function then loses its digits.

    Source:
        derived in explanation/theory.
    """
    shape, (w, r) = columns(strength, ratio)
    # From the other law a strength of 1000 looks like one of -1001.
    if (largest := float(np.abs(w).max(initial=0.0))) > _STRONGEST + 1:
        raise ConfigError(f"expected strengths below {_STRONGEST:.0f}, got {largest:g}; use a smaller one")
    if order == 1:
        return _sde_response(w, r).reshape(shape)
    alike = (r > _UNLIKE) & (r <= 1)
    near = np.where(alike, r, 1.0)
    value = near * hyp2f1(1.0, 1 - order * w, 1 + order, 1 - near)
    if not alike.all():
        with np.errstate(over="ignore"):
            value[~alike] = np.exp(log_power_mean(r[~alike], order, order * (1 + w[~alike])))
    return value.reshape(shape)


def log_power_mean(ratio: Array, order: float, exponent: Array) -> Array:
    r"""Log of $\int_0^1 \bigl(r / (1 - (1 - r)\,s^{1/\kappa})\bigr)^b ds$ for kappa = `order` and b = `exponent`.

    Accuracy:
        1e-14 times the exponent: the trapezoidal rule for an analytic integrand, after $s^{1/\kappa} = 1/(1 + e^{-z})$.

    Source:
        derived in explanation/theory.
    """
    log_ratio = np.log(ratio)
    far = _TAIL + np.log1p(np.abs(exponent)).max(initial=0.0)
    low = -far / order - log_ratio.max(initial=0.0)
    z = np.arange(low, far - log_ratio.min(initial=0.0), _SPACING)
    share, complement = expit(z), expit(-z)
    inner = complement + ratio[..., None] * share
    weights = np.log(order * _SPACING) + order * np.log(share) + np.log(complement)
    return np.asarray(logsumexp(exponent[..., None] * (log_ratio[..., None] - np.log(inner)) + weights, axis=-1))


def _sde_response(strength: Array, ratio: Array) -> Array:
    # Removable at w = 0 and at r = 1, and accurate about both through expm1.
    exponent = strength * np.log(ratio)
    weak, one = np.abs(exponent) < _TINY, ratio == 1
    with np.errstate(over="ignore"):
        power = np.where(weak, np.log(ratio), np.expm1(exponent) / np.where(weak, 1.0, strength))
        return np.where(one, 1.0, ratio * power / np.where(one, 1.0, ratio - 1))


def panel_edges(
    t_max: float,
    base: float,
    growth: Callable[[Array], Array],
    *,
    knots: Sequence[float] = (),
    graded: bool = False,
) -> Array:
    """Times, descending from t_max to 0, between which `transport` meets its accuracy.

    Args:
        t_max: First time.
        base: Smallest variance of the problem at t = 0; panels are even in log(base + t).
        growth: Largest growth rate per unit of log-variance at given times.
        knots: Times at which the strength jumps or bends.
        graded: Whether to refine towards t = 0.

    Raises:
        ConfigError: if the strength is so large that the panels would be too many.

    Source:
        derived in explanation/theory.
    """
    marks = [t for t in knots if 0 < t < t_max]
    if graded:
        marks += [t for t in base * _GRADING if t < t_max]
    marks = sorted({0.0, *marks, t_max}, reverse=True)
    edges = [t_max]
    for high, low in pairwise(marks):
        span = float(np.log1p((high - low) / (base + low)))
        # Rounding must not carry a time to 0, where some clocks end.
        nodes = np.maximum((base + low) * np.exp(span * unit_gauss(4 * NODES)[0]) - base, _ROUNDING * base)
        needed = np.ceil(max(span * float(np.max(growth(nodes))) / _GROWTH, span / _WIDEST, 1))
        if not needed <= _MOST_PANELS:
            raise ConfigError(
                f"strength is too large for the theory: {needed:.3g} panels; use a smaller one",
                field=("schedule", "strength"),
            )
        panels = int(needed)
        fractions = np.arange(1, panels + 1) / panels
        edges += [*((base + low) * np.exp(span * (1 - fractions[:-1])) - base), low]
    return np.array(edges)


def limit_strength(schedule: GuidanceSchedule) -> float:
    """Strength at infinite noise.

    Raises:
        ConfigError: if there is none, so that a run must start at a finite time.

    Source:
        derived in explanation/theory: what is forgotten of the start, and what is not.
    """
    limit = schedule.limit()
    if limit is None:
        raise ConfigError(
            f"{type(schedule).__name__} has no strength at infinite noise: give the finite time at which the run "
            "starts (`t_max`)"
        )
    return limit
