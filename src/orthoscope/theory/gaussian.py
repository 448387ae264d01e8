r"""Guidance between two Gaussians: closed forms, any schedule, any start.

The conditional law is $N(\mu_c, c)$ and the unconditional one $N(\mu_u, u)$, in one direction; arrays hold
many directions, such as the shared eigendirections of commuting covariances. With $r = c/u$,
$k = (1 + \lambda^2)/2$ and the response $\Phi$ of `flow`, constant strength from infinite noise gives

$$ \text{mean} = \mu_c + (\mu_c - \mu_u)\, w\, \Phi_k(w, r), \qquad
   \text{variance} = c\;{}_2F_1(1, -2kw; 2k; 1 - r), $$

that is $c\,(1 - r^{1+2w})/((1+2w)(1-r))$ for the SDE and $c\,r^w$ for the ODE. Neither samples the tilted law
$p_c^{1+w} p_u^{-w}$ that guidance is often taken for.

Source:
    [ventura2026emergence] and [bradley2024classifier]; mean of the ODE and general lambda derived in
    explanation/theory.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant, GuidanceSchedule
from orthoscope.laws import Start
from orthoscope.numerics import Array, columns, unit_gauss, unit_integrals
from orthoscope.settings import check_run
from orthoscope.theory.flow import (
    NODES,
    decayed,
    drift_factor,
    limit_strength,
    log_power_mean,
    log_variance,
    panel_edges,
    response,
)

_SMALLEST, _LARGEST = 1e-12, 1e12  # variances whose ratios stay far from the ends of float64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GaussianPrediction:
    """The guided law between two Gaussians: plain numbers for scalar input, else arrays, one element per direction.

    Attributes:
        mean: Its mean.
        mean_shift: Its mean minus the conditional one, to full relative accuracy.
        variance: Its variance; 0 or infinite where that is beyond the range of float64.
        log_variance: Natural logarithm of its variance, always finite.
        tilted_mean: Mean of the tilted law; nan where there is none, or where the strength is not constant.
        tilted_variance: Variance of the tilted law; nan likewise.
        fisher: Fisher separability: variance of the guided class means over the guided variance within a
            class, when class means are spread as the two variances imply. (u - c)/c without guidance; nan
            unless c < u.
    """

    mean: Array | float
    mean_shift: Array | float
    variance: Array | float
    log_variance: Array | float
    tilted_mean: Array | float
    tilted_variance: Array | float
    fisher: Array | float


def guided_gaussian(
    cond_mean: ArrayLike,
    cond_var: ArrayLike,
    uncond_mean: ArrayLike,
    uncond_var: ArrayLike,
    strength: GuidanceSchedule | float,
    *,
    lam: float = 1.0,
    t_max: float = np.inf,
    start: Start = "prior",
) -> GaussianPrediction:
    """The law that guided sampling draws from, and the tilted law beside it.

    Args:
        cond_mean: Mean of the conditional law, per direction.
        cond_var: Its variance.
        uncond_mean: Mean of the unconditional law.
        uncond_var: Its variance.
        strength: A number, or a schedule.
        lam: 1 for the reverse SDE, 0 for the probability-flow ODE, anything between for a mixture.
        t_max: Variance time of the start.
        start: At finite t_max, whether paths start from the noised unconditional ("prior") or conditional
            ("exact") law.

    Accuracy:
        Relative error of variances and of mean shifts below 1e-10, for strengths up to 50, however small or large they
        are; of a mean shift whose parts cancel (a start from the prior, a window of both signs) in units of the parts.

    Raises:
        ConfigError: if a mean is not finite, a variance not positive or outside 1e-12 to 1e12, or t_max infinite
            and the schedule has no strength there.

    Source:
        [ventura2026emergence], [bradley2024classifier]; derived in explanation/theory.
    """
    shape, (mu_c, c, mu_u, u) = columns(cond_mean, cond_var, uncond_mean, uncond_var)
    _check(mu_c, c, mu_u, u)
    check_run(t_max, start, lam)
    schedule = strength if isinstance(strength, GuidanceSchedule) else Constant(value=strength)
    # What exceeds the range of float64 is infinite.
    with np.errstate(over="ignore"):
        if isinstance(schedule, Constant) and not np.isfinite(t_max):
            shift, overlap, log_ratio = _constant(c, u, schedule.value, lam)
        else:
            shift, overlap, log_ratio = _scheduled(c, u, schedule, lam=lam, t_max=t_max, start=start)
        if isinstance(schedule, Constant):
            tilted = _tilted(c, u, np.full(c.shape, schedule.value))
        else:
            tilted = (np.full(c.shape, np.nan),) * 3
        gap = mu_c - mu_u
        with np.errstate(divide="ignore", invalid="ignore"):
            log_fisher = np.log((u - c) / c) + 2 * np.log(np.abs(overlap)) - log_ratio
        numbers = {
            "mean": _mean(mu_c, mu_u, shift, overlap),
            "mean_shift": _times(gap, shift),
            "variance": c * np.exp(log_ratio),
            "log_variance": np.log(c) + log_ratio,
            "tilted_mean": _mean(mu_c, mu_u, *tilted[:2]),
            "tilted_variance": tilted[2],
            "fisher": np.exp(np.where(u > c, log_fisher, np.nan)),
        }
    return GaussianPrediction(**{name: _shaped(values, shape) for name, values in numbers.items()})


def _times(gap: Array, shift: Array) -> Array:
    """Their product: nothing moves where there is no gap, not even by an infinite shift."""
    return np.where(gap == 0, 0.0, gap) * np.where((gap == 0) & np.isinf(shift), 0.0, shift)


def _mean(mu_c: Array, mu_u: Array, shift: Array, overlap: Array) -> Array:
    """The mean, from whichever of the two laws' means is nearer to it."""
    near_uncond = np.abs(overlap) < np.abs(shift)
    return np.where(near_uncond, mu_u, mu_c) + _times(mu_c - mu_u, np.where(near_uncond, overlap, shift))


def _shaped(values: Array, shape: tuple[int, ...]) -> Array | float:
    return values.reshape(shape) if shape else float(values[0])


def _check(mu_c: Array, c: Array, mu_u: Array, u: Array) -> None:
    for name, mean in (("conditional", mu_c), ("unconditional", mu_u)):
        if not np.isfinite(mean).all():
            raise ConfigError(f"the {name} mean must be finite, got {_first(mean, np.isfinite(mean))}")
    for name, variance in (("conditional", c), ("unconditional", u)):
        if not (np.isfinite(variance).all() and (variance > 0).all()):
            found = _first(variance, np.isfinite(variance) & (variance > 0))
            raise ConfigError(f"the {name} variance must be finite and > 0, got {found}")
        if not (inside := (variance >= _SMALLEST) & (variance <= _LARGEST)).all():
            raise ConfigError(
                f"the {name} variance must lie between {_SMALLEST:g} and {_LARGEST:g}, got {_first(variance, inside)}; "
                "rescale the data"
            )


def _first(values: Array, good: NDArray[np.bool_]) -> str:
    return f"{values[~good].flat[0]:g}"


def constant_gaussian(
    cond_var: ArrayLike, uncond_var: ArrayLike, strength: ArrayLike, lam: float = 1.0
) -> tuple[Array, Array]:
    """Shift (in units of mu_c - mu_u) and variance for constant strength from infinite noise.

    Accuracy:
        Relative error below 1e-10 for strengths up to 50; 0 or infinite beyond the range of float64.

    Source:
        [bradley2024classifier] for the variances of SDE and ODE; derived in explanation/theory.
    """
    shape, (c, u, w) = columns(cond_var, uncond_var, strength)
    with np.errstate(over="ignore"):
        shift, _, log_ratio = _constant(c, u, w, lam)
        return shift.reshape(shape), (c * np.exp(log_ratio)).reshape(shape)


def _constant(c: Array, u: Array, strength: Array | float, lam: float) -> tuple[Array, Array, Array]:
    """Shift, overlap (shift + 1, with all its digits) and log(variance / c), for constant strength from infinity."""
    w, k = np.broadcast_to(strength, c.shape), drift_factor(lam)
    # Seen from the unconditional law, the two laws change places, and 1 + w is minus the strength.
    shift, overlap = _product(w, response(w, c / u, k)), _product(1 + w, response(-1 - w, u / c, k))
    log_r = np.log(c / u)
    if lam == 0:
        return shift, overlap, w * log_r
    if lam == 1:
        return shift, overlap, _log_slope((1 + 2 * w) * log_r) - _log_slope(log_r)
    changed = (w != 0) & (c != u)
    return shift, overlap, np.where(changed, log_power_mean(c / u, lam**2, 2 * k * (1 + w)) - log_r, 0.0)


def _product(strength: Array, response: Array) -> Array:
    return strength * np.where(strength == 0, 0.0, response)


def _log_slope(x: Array) -> Array:
    """log((exp(x) - 1) / x), without overflow."""
    half = np.abs(x) / 2
    small = half < 1
    kept = np.where(small, half, 0.5)
    series = np.log(np.where(kept == 0, 1.0, np.sinh(kept) / np.where(kept == 0, 1.0, kept)))
    large = np.where(small, 1.0, half)
    return np.asarray(x / 2 + np.where(small, series, large + np.log(-np.expm1(-2 * large) / (2 * large))))


def tilted_gaussian(cond_var: ArrayLike, uncond_var: ArrayLike, strength: ArrayLike) -> tuple[Array, Array]:
    """Shift (in units of mu_c - mu_u) and variance of p_c^(1+w) p_u^(-w); nan unless (1+w) u > w c.

    Source:
        [bradley2024classifier], powered distribution; derived in explanation/theory.
    """
    shape, columned = columns(cond_var, uncond_var, strength)
    shift, _, variance = _tilted(*columned)
    return shift.reshape(shape), variance.reshape(shape)


def _tilted(c: Array, u: Array, w: Array) -> tuple[Array, Array, Array]:
    """Shift, overlap and variance of the tilted law."""
    denominator = (1 + w) * u - w * c
    denominator = np.where(denominator > 0, denominator, np.nan)
    return w * c / denominator, (1 + w) * u / denominator, c * u / denominator


def scheduled_gaussian(
    cond_var: ArrayLike,
    uncond_var: ArrayLike,
    schedule: GuidanceSchedule,
    *,
    lam: float = 1.0,
    t_max: float = np.inf,
    start: Start = "prior",
) -> tuple[Array, Array]:
    """Shift (in units of mu_c - mu_u) and variance for any schedule and start.

    Accuracy:
        As `guided_gaussian`: Gauss quadrature with exact integrating factors.

    Raises:
        ConfigError: if t_max is infinite and the schedule has no strength there.

    Source:
        [ventura2026emergence]; derived in explanation/theory.
    """
    shape, (c, u) = columns(cond_var, uncond_var)
    with np.errstate(over="ignore"):
        shift, _, log_ratio = _scheduled(c, u, schedule, lam=lam, t_max=t_max, start=start)
        return shift.reshape(shape), (c * np.exp(log_ratio)).reshape(shape)


def _scheduled(
    c: Array, u: Array, schedule: GuidanceSchedule, *, lam: float, t_max: float, start: Start
) -> tuple[Array, Array, Array]:
    """Shift, overlap and log(variance / c) for any schedule and start."""
    gap, base, knots, k = u - c, float(min(c.min(), u.min())), schedule.switches(), drift_factor(lam)
    # From infinity a run is taken up where the two laws are still alike.
    first = t_max if np.isfinite(t_max) else float(max(*knots, c.max(), u.max()))
    if not np.isfinite(t_max):
        state = _constant(c + first, u + first, limit_strength(schedule), lam)
    elif start == "exact":
        state = np.zeros(c.shape), np.ones(c.shape), np.zeros(c.shape)
    else:
        state = -np.ones(c.shape), np.zeros(c.shape), np.log((u + t_max) / (c + t_max))
    shift, overlap, log_ratio = (part[..., None] for part in state)
    c, u, gap = c[..., None], u[..., None], gap[..., None]

    def growth_rate(time: Array) -> Array:
        pull = np.abs(gap) / (u + time)
        return 2 * k * (1 + np.abs(schedule.at_time(time)) * pull * (base + time) / (c + time))

    edges = panel_edges(first, base, growth_rate, knots=knots, graded=schedule.graded)
    for high, low in pairwise(edges):
        whole = np.log((base + high) / (base + low))
        time = (base + high) * np.exp(-whole * unit_gauss(NODES)[0]) - base
        width = whole * (base + time) / (c + time)
        strength = schedule.at_time(time)
        growth = k * width * (1 + strength * gap / (u + time)) @ unit_integrals(NODES).T
        shift = decayed(shift, k * width * strength * (c + time) / (u + time), growth)[..., -1:]
        overlap = decayed(overlap, k * width * (1 + strength), growth)[..., -1:]
        over = log_ratio + np.log(c + high)
        log_ratio = log_variance(over, width=width, growth=growth, variance=c + time, lam=lam) - np.log(c + low)
    return shift[..., 0], overlap[..., 0], log_ratio[..., 0]


def kernels(time: ArrayLike, cond_var: ArrayLike, uncond_var: ArrayLike, lam: float = 1.0) -> tuple[Array, Array]:
    r"""First-order response to guidance at a variance time: kernels of the shift and of the variance.

    To first order in w the shift is $\int K_\mu w\,dt$ in units of $\mu_c - \mu_u$, and the variance $c -
    \int K_V w\,dt$. The ratio $K_\mu/K_V$ grows with t: mean shift is cheap early, variance is best repaid
    late.

    Accuracy:
        Exact to first order in the strength.

    Source:
        derived in explanation/theory.
    """
    shape, (t, c, u) = columns(time, cond_var, uncond_var)
    k = drift_factor(lam)
    decay = (c / (c + t)) ** k
    return (k * decay / (u + t)).reshape(shape), (2 * k * decay**2 * (u - c) / (u + t)).reshape(shape)


def variance_neutral_start(cond_var: ArrayLike, uncond_var: ArrayLike, slope: ArrayLike) -> Array:
    r"""The w0 at which the linear window w0 + slope * t leaves the variance unchanged, for small slopes and the SDE.

    $$ w_0 = -\omega\, c\, \frac{R \log R - R + 1}{R - 1 - \log R}, \qquad R = u/c $$

    Accuracy:
        First order in the slope, from infinite noise.

    Source:
        derived in explanation/theory.
    """
    shape, (c, u, omega) = columns(cond_var, uncond_var, slope)
    ratio = u / c
    log_ratio = np.log(ratio)
    return (-omega * c * (ratio * log_ratio - ratio + 1) / (ratio - 1 - log_ratio)).reshape(shape)
