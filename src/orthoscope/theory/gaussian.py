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
from scipy.special import hyp2f1

from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant, GuidanceSchedule
from orthoscope.numerics import Array, columns, unit_gauss
from orthoscope.theory.flow import (
    NODES,
    Start,
    check_run,
    drift_factor,
    limit_strength,
    panel_edges,
    response,
    transport,
)

_UNLIKE = 1e-5  # ratio of variances below which the closed form loses digits, unless lam is 1
_SMALLEST, _LARGEST = 1e-12, 1e12  # variances whose ratios stay far from the ends of float64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GaussianPrediction:
    """The guided law between two Gaussians: plain numbers for scalar input, else arrays, one element per direction.

    Attributes:
        mean: Its mean.
        variance: Its variance.
        tilted_mean: Mean of the tilted law; nan where there is none, or where the strength is not constant.
        tilted_variance: Variance of the tilted law; nan likewise.
        fisher: Fisher separability: variance of the guided class means over the guided variance within a
            class, when class means are spread as the two variances imply. (u - c)/c without guidance; nan
            unless c < u.
    """

    mean: Array | float
    variance: Array | float
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
        Closed forms for constant strength from infinity, unless variances differ by 1e5 and lam is not 1; else
        about 1e-11, absolute in units of the larger variance.

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
    similar = lam == 1 or bool(((c > _UNLIKE * u) & (u > _UNLIKE * c)).all())
    # What exceeds the range of float64 is infinite.
    with np.errstate(over="ignore", invalid="ignore"):
        if isinstance(schedule, Constant) and not np.isfinite(t_max) and similar:
            shift, variance = constant_gaussian(c, u, schedule.value, lam)
        else:
            shift, variance = scheduled_gaussian(c, u, schedule, lam=lam, t_max=t_max, start=start)
    if isinstance(schedule, Constant):
        tilted_shift, tilted_variance = tilted_gaussian(c, u, schedule.value)
    else:
        tilted_shift = tilted_variance = np.full(c.shape, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        fisher = np.where(u > c, (u - c) * (1 + shift) ** 2 / variance, np.nan)
    return GaussianPrediction(
        mean=_shaped(mu_c + (mu_c - mu_u) * shift, shape),
        variance=_shaped(variance, shape),
        tilted_mean=_shaped(mu_c + (mu_c - mu_u) * tilted_shift, shape),
        tilted_variance=_shaped(tilted_variance, shape),
        fisher=_shaped(fisher, shape),
    )


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
        Relative error below 1e-10 for strengths up to 1000; unless lam is 1, for variances within a factor 1e5.

    Source:
        [bradley2024classifier] for the variances of SDE and ODE; derived in explanation/theory.
    """
    shape, (c, u, w) = columns(cond_var, uncond_var, strength)
    ratio, k = c / u, drift_factor(lam)
    shift = w * response(w, ratio, k)
    if lam == 0:
        factor = ratio**w
    elif lam == 1:
        factor = _sde_factor(ratio, w)
    else:
        factor = hyp2f1(1.0, -2 * k * w, 2 * k, 1 - ratio)
    return shift.reshape(shape), (c * factor).reshape(shape)


def _sde_factor(ratio: Array, strength: Array) -> Array:
    # (1 - r^a) / (a (1 - r)), removable at a = 0 and at r = 1, and accurate about both through expm1.
    a, log_ratio = 1 + 2 * strength, np.log(ratio)
    power = np.where(a == 0, -log_ratio, -np.expm1(a * log_ratio) / np.where(a == 0, 1.0, a))
    return np.where(ratio == 1, 1.0, power / np.where(ratio == 1, 1.0, -np.expm1(log_ratio)))


def tilted_gaussian(cond_var: ArrayLike, uncond_var: ArrayLike, strength: ArrayLike) -> tuple[Array, Array]:
    """Shift (in units of mu_c - mu_u) and variance of p_c^(1+w) p_u^(-w); nan unless (1+w) u > w c.

    Source:
        [bradley2024classifier], powered distribution; derived in explanation/theory.
    """
    shape, (c, u, w) = columns(cond_var, uncond_var, strength)
    denominator = (1 + w) * u - w * c
    denominator = np.where(denominator > 0, denominator, np.nan)
    return (w * c / denominator).reshape(shape), (c * u / denominator).reshape(shape)


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
        About 1e-11, absolute in units of the larger variance: Gauss quadrature with exact integrating
        factors.

    Raises:
        ConfigError: if t_max is infinite and the schedule has no strength there.

    Source:
        [ventura2026emergence]; derived in explanation/theory.
    """
    shape, (c, u) = columns(cond_var, uncond_var)
    c, u = c[..., None], u[..., None]
    gap, base, knots = u - c, float(min(c.min(), u.min())), schedule.switches()
    # From infinity a run is taken up where the two laws are still alike.
    first = t_max if np.isfinite(t_max) else float(max(*knots, c.max(), u.max()))
    if np.isfinite(t_max):
        shift, excess = (np.zeros(c.shape),) * 2 if start == "exact" else (-np.ones(c.shape), gap)
    else:
        w, ratio = limit_strength(schedule), (c + first) / (u + first)
        shift, excess = (w * response(w, ratio, order) for order in (drift_factor(lam), 2 * drift_factor(lam)))
        excess = -gap * excess

    def growth(time: Array) -> Array:
        pull = np.abs(gap) / (u + time)
        return 2 * drift_factor(lam) * (1 + np.abs(schedule.at_time(time)) * pull * (base + time) / (c + time))

    edges = panel_edges(first, base, growth, knots=knots, graded=schedule.clock != "variance")
    for high, low in pairwise(edges):
        width = np.log((base + high) / (base + low))
        time = (base + high) * np.exp(-width * unit_gauss(NODES)[0]) - base
        shift, excess = (
            column[..., -1:]
            for column in transport(
                shift,
                excess,
                width=width * (base + time) / (c + time),
                strength=schedule.at_time(time),
                pull=gap / (u + time),
                variance=c + time,
                factor=drift_factor(lam),
            )
        )
    return shift.reshape(shape), np.maximum(c + excess, 0.0).reshape(shape)


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
