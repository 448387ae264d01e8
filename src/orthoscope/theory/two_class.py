r"""Two classes on a line: where guidance ends, and the tilted law where it does not end.

The law is an equal mixture of a class and its mirror image, and the sampler is the probability-flow ODE of the
variance-preserving state $y$, from $N(0, 1)$ at infinite noise unless another start is given. With
$\tau = e^{-t} = \tanh u$ and the guided denoised mean $D_w = (1+w) D_c - w D$

$$ \frac{dy}{du} = D_w - \tau y, \qquad \sigma = \frac1{\sinh u}, $$

which is $dy/d\tau = 1 + w\,(1 - \tanh(\tau y))$ for the Gaussian classes $N(\pm1, 1)$. In $d$ dimensions these are
$N(\pm m, I)$ with $|m|^2 = d$, of which only the component along $m$ is guided: the same flow with $\sqrt d$ in the
places of 1. The map of a start to its end is increasing, so moments are integrals over the start. Derived in
explanation/compact.
"""

from __future__ import annotations

import math
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_expit, log_ndtr, log_softmax, ndtr, ndtri

from orthoscope.errors import ConfigError, unknown
from orthoscope.laws import Start
from orthoscope.numerics import Array, unit_gauss

Law = Literal["gaussian", "uniform"]
LAWS: tuple[Law, ...] = ("gaussian", "uniform")
CENTER = 1.0  # the Gaussian classes are N(+-1, 1)
SUPPORT = (1.0, 2.0)  # the uniform classes are [1, 2] and [-2, -1]
_SIMILAR = 0.3  # steepness of the noise kernel over the support below which moments are taken by quadrature
_CLEAN_NODES = 12  # over a uniform class, for starts that know it
_PANELS, _NODES = 24, 24  # over the start, in the variable that makes a normal law uniform near its middle


class Moments(NamedTuple):
    """Mean and standard deviation of a law on the line, in data units."""

    mean: float
    std: float


def check_law(law: str) -> Law:
    """The law of that name.

    Raises:
        ConfigError: if there is none.
    Source:
        [chidambaram2024does], its two cases in one dimension.
    """
    for known in LAWS:
        if law == known:
            return known
    raise unknown("law", law, LAWS)


def guided_ends(
    starts: ArrayLike,
    law: Law,
    strength: float,
    *,
    sigma_end: float = 1e-6,
    t_max: float = math.inf,
    dim: int = 1,
    score_error: float = 0.0,
) -> Array:
    """Where the probability-flow ODE takes given starts, both as variance-preserving states.

    Args:
        starts: Variance-preserving states.
        law: `gaussian` or `uniform`.
        strength: Guidance strength.
        sigma_end: Noise standard deviation at which the ODE stops; the Gaussian case is followed to 0.
        t_max: Variance time of the start.
        dim: Dimension of Gaussian classes, whose means lie at distance sqrt(dim) from 0.
        score_error: What is added to the conditional score of the variance-preserving state; for the uniform law, and
            from a finite time, since it adds up without end.

    Accuracy:
        About 1e-8, absolute.

    Source:
        [chidambaram2024does], guided probability flow; derived in explanation/compact.
    """
    from scipy.integrate import solve_ivp  # slow to import

    y = np.atleast_1d(np.asarray(starts, dtype=np.float64))
    clock, flow = ((1 + t_max) ** -0.5, 1.0), partial(_gaussian_flow, strength, CENTER * math.sqrt(dim))
    if law == "uniform":
        clock, flow = (
            (math.asinh(t_max**-0.5), math.asinh(1 / sigma_end)),
            partial(_uniform_flow, strength, score_error),
        )
    solution = solve_ivp(flow, clock, y, method="DOP853", rtol=1e-10, atol=1e-11)
    if not solution.success:
        raise ConfigError(f"the guided flow cannot be followed at strength {strength:g}: {solution.message}")
    return solution.y[:, -1]


def _gaussian_flow(strength: float, center: float, tau: float, y: Array) -> Array:
    return center * (1 + strength * (1 - np.tanh(tau * center * y)))


def _uniform_flow(strength: Array | float, score_error: float, u: float, y: Array) -> Array:
    tau = math.tanh(u)
    own, whole = uniform_denoised(y, tau, 1 / math.cosh(u))
    if score_error:  # moves the denoised mean by sigma^2 tau times the error
        own = own + score_error / (math.sinh(u) * math.cosh(u))
    return (1 + strength) * own - strength * whole - tau * y


def uniform_denoised(y: Array, tau: float, noise: float) -> tuple[Array, Array]:
    """Denoised means of the variance-preserving state y = tau x0 + noise z: of the right class, and of both.

    Accuracy:
        Relative error about 1e-12 within a hundred noise standard deviations of the support.

    Source:
        Moments of a uniform law seen through Gaussian noise; derived in explanation/compact.
    """
    right, log_right = _uniform_class(y, tau, noise)
    left, log_left = _uniform_class(-y, tau, noise)
    p_right, p_left = np.exp(log_softmax([log_right, log_left], axis=0))
    return right, p_right * right - p_left * left


def _uniform_class(y: Array, tau: float, noise: float) -> tuple[Array, Array]:
    low, high = SUPPORT
    if tau * (high - low) < _SIMILAR * noise:
        # The kernel hardly varies over the class: a short Gauss rule is exact.
        nodes, weights = unit_gauss(16)
        x = low + (high - low) * nodes
        logs = np.log(weights) - ((y[:, None] - tau * x) ** 2 - y[:, None] ** 2) / (2 * noise**2)
        top = logs.max(1, keepdims=True)
        p = np.exp(logs - top)
        total = p.sum(1)
        return p @ x / total, np.log(total) + top[:, 0] + math.log(tau * (high - low) + 1e-300) - y**2 / (2 * noise**2)
    alpha, beta = (tau * low - y) / noise, (tau * high - y) / noise
    mirrored = alpha + beta < 0
    near, far = np.where(mirrored, -beta, alpha), np.where(mirrored, -alpha, beta)
    log_near = log_ndtr(-near)
    rest = -np.expm1(log_ndtr(-far) - log_near)  # share of the near tail that lies within
    log_mass = log_near + np.log(rest)
    log_ends = [-(near**2) / 2, -(far**2) / 2]
    mean = (np.exp(log_ends[0] - log_mass) - np.exp(log_ends[1] - log_mass)) / math.sqrt(2 * math.pi)
    shift = np.where(mirrored, -mean, mean) * noise
    return (y + shift) / tau, log_mass + math.log(noise * math.sqrt(2 * math.pi))


def guided_moments(
    law: Law,
    strength: float,
    *,
    sigma_end: float = 1e-6,
    t_max: float = math.inf,
    start: Start = "prior",
    dim: int = 1,
) -> Moments:
    """Mean and standard deviation of guided samples of the class along the classes' axis, for the ODE.

    Args:
        law: `gaussian` or `uniform`.
        strength: Guidance strength.
        sigma_end: As in `guided_ends`.
        t_max: Variance time of the start.
        start: `prior`, the standard normal law, or `exact`, the noised class.
        dim: As in `guided_ends`.

    Accuracy:
        About 1e-6, absolute.

    Raises:
        ConfigError: if the strength is not finite or below -1.

    Source:
        [chidambaram2024does], its two cases; derived in explanation/compact.
    """
    check_strength(strength)
    starts, weights = _starts(law, t_max, start, dim)
    ends = _unscaled(guided_ends(starts, law, strength, sigma_end=sigma_end, t_max=t_max, dim=dim), law, sigma_end)
    mean = float(weights @ ends)
    return Moments(mean, float(np.sqrt(weights @ (ends - mean) ** 2)))


def guided_share(law: Law, strength: float, beyond: float, *, sigma_end: float = 1e-6) -> float:
    """Share of guided samples that end beyond a point.

    Accuracy:
        About 1e-6, absolute: the start that ends there, by interpolation of the increasing map.

    Raises:
        ConfigError: if the strength is not finite or below -1.

    Source:
        [chidambaram2024does], concentration at the edge of the support; derived in explanation/compact.
    """
    from scipy.interpolate import PchipInterpolator  # slow to import

    check_strength(strength)
    starts = np.linspace(-8, 8, 321)
    ends = _unscaled(guided_ends(starts, law, strength, sigma_end=sigma_end), law, sigma_end)
    if not ends[0] < beyond < ends[-1]:
        return float(ends[0] >= beyond)
    return float(ndtr(-PchipInterpolator(ends, starts)(beyond)))


def off_support_distance(strength: float, score_error: float, *, sigma_end: float, t_max: float) -> float:
    """Mean distance of guided samples of the uniform class from its support, the conditional score off by a constant.

    Accuracy:
        Relative 1e-4.

    Raises:
        ConfigError: if the strength is not finite or below -1.

    Source:
        [chidambaram2024does], bounded score errors; derived in explanation/compact.
    """
    check_strength(strength)
    starts, weights = _starts("uniform", t_max, "prior", 1)
    ends = guided_ends(starts, "uniform", strength, sigma_end=sigma_end, t_max=t_max, score_error=score_error)
    ends = _unscaled(ends, "uniform", sigma_end)
    return float(weights @ np.maximum(np.maximum(SUPPORT[0] - ends, ends - SUPPORT[1]), 0.0))


def _unscaled(ends: Array, law: Law, sigma_end: float) -> Array:
    """Ends in data units: the state is scaled where noise is left."""
    return ends * math.hypot(1, sigma_end) if law == "uniform" else ends


def _starts(law: Law, t_max: float, start: Start, dim: int) -> tuple[Array, Array]:
    """Variance-preserving states at the start, with weights."""
    share, weights = _shares()
    normal = ndtri(share)
    if start == "prior":
        return normal, weights
    tau = (1 + t_max) ** -0.5
    if law == "gaussian":
        return tau * CENTER * math.sqrt(dim) + normal, weights
    nodes, parts = unit_gauss(_CLEAN_NODES)
    clean = SUPPORT[0] + (SUPPORT[1] - SUPPORT[0]) * nodes
    starts = tau * clean[:, None] + math.sqrt(1 - tau**2) * normal
    return starts.ravel(), (parts[:, None] * weights).ravel()


def _shares() -> tuple[Array, Array]:
    """Gauss panels over the start's cdf, finer towards both of its ends."""
    x, w = unit_gauss(_NODES)
    edges = 0.5 * np.concatenate([[0.0], 2.0 ** -np.arange(_PANELS - 1.0, -1.0, -1.0)])
    half = (edges[:-1, None] + np.diff(edges)[:, None] * x).ravel()
    weights = (np.diff(edges)[:, None] * w).ravel()
    return np.concatenate([half, 1 - half[::-1]]), np.concatenate([weights, weights[::-1]])


def largest_monotone_strength(law: Law, *, sigma_end: float = 1e-6) -> float:
    """The largest strength up to which the path from state 0 never turns back; infinite for the Gaussian classes.

    Accuracy:
        About 1e-3.

    Source:
        [chidambaram2024does], its rule for choosing the strength; derived in explanation/compact.
    """
    from scipy.integrate import solve_ivp  # slow to import

    if law == "gaussian":
        return math.inf  # the flow is a sum of positive terms
    low, high = 0.0, 32.0
    noise = np.linspace(0, math.asinh(1 / sigma_end), 2000)
    for _ in range(3):
        fan = np.linspace(low, high, 33)
        solution = solve_ivp(
            partial(_uniform_flow, fan, 0.0), (0.0, noise[-1]), np.zeros_like(fan), method="DOP853", rtol=1e-10,
            atol=1e-11, t_eval=noise,
        )  # fmt: skip
        turns = (np.diff(solution.y, axis=1) < -1e-10).any(1)
        first = int(np.argmax(turns))
        low, high = float(fan[first - 1]), float(fan[first])
    return low


def tilted_moments(law: Law, strength: float, *, dim: int = 1) -> Moments:
    r"""Mean and standard deviation of the tilted law, proportional to p(x) p(class | x)^(1+w).

    Disjoint supports leave nothing to tilt: p(class | x) is 0 or 1, and the tilted law is the conditional one at every
    strength above -1.

    Args:
        law: `gaussian` or `uniform`.
        strength: Guidance strength.
        dim: Dimension of Gaussian classes; the moments are those along their axis.

    Accuracy:
        Quadrature to 1e-10.

    Raises:
        ConfigError: if the strength is not finite or below -1.

    Source:
        [chidambaram2024does], the law that guidance is meant to sample; derived in explanation/compact.
    """
    check_strength(strength)
    if law == "uniform":
        low, high = SUPPORT
        middle, variance = (low + high) / 2, (high - low) ** 2 / 12
        return Moments(middle, variance**0.5) if strength > -1 else Moments(0.0, math.hypot(middle, variance**0.5))
    center = CENTER * math.sqrt(dim)
    total = _tilted_integral(0, 0.0, strength, center)
    mean = _tilted_integral(1, 0.0, strength, center) / total
    return Moments(mean, math.sqrt(_tilted_integral(2, mean, strength, center) / total))


def tilted_density(x: ArrayLike, law: Law, strength: float, *, dim: int = 1) -> Array:
    """Density of the tilted law along the classes' axis, in inverse data units; at strength 0 the conditional one.

    Accuracy:
        Normalized to 1e-10.

    Raises:
        ConfigError: if the strength is not finite or below -1.

    Source:
        [chidambaram2024does]; derived in explanation/compact.
    """
    check_strength(strength)
    x = np.asarray(x, dtype=np.float64)
    if law == "gaussian":
        center = CENTER * math.sqrt(dim)
        return _tilted(x, strength, center) / _tilted_integral(0, 0.0, strength, center)
    low, high = SUPPORT
    right, left = ((side * x >= low) & (side * x <= high) for side in (1, -1))
    return (right if strength > -1 else (right | left) / 2) / (high - low)


def _tilted(x: Any, strength: float, center: float) -> Any:
    """N(x; center, 1) p(class | x)^w over about its largest value, p(class | x) = 1 / (1 + exp(-2 center x))."""

    def log(x: Any) -> Any:
        return -((x - center) ** 2) / 2 + strength * log_expit(2 * center * x)

    return np.exp(log(x) - log(_around(strength, center)).max())


def _tilted_integral(power: int, about: float, strength: float, center: float) -> float:
    from scipy.integrate import quad  # slow to import

    marks = _around(strength, center)
    return quad(
        lambda x: (x - about) ** power * _tilted(x, strength, center), marks[0], marks[-1],
        epsabs=1e-11 * (13 + center) ** power, epsrel=1e-10, limit=400, points=marks[1:-1],
    )[0]  # fmt: skip


@lru_cache(maxsize=64)  # integrands ask for them at every point
def _around(strength: float, center: float) -> Array:
    """Points about both peaks of the tilted law, whose middle moves out like log(w) / 2 center."""
    out = math.log1p(max(strength, 0.0))
    return np.unique([0.0, *(side * center + far for side in (-1, 1) for far in np.linspace(-12, 13 + out, 26))])


def check_strength(strength: float) -> None:
    """Reject strengths at which no law is left to tilt.

    Raises:
        ConfigError: if the strength is not finite or below -1.
    Source:
        derived in explanation/compact.
    """
    if not (math.isfinite(strength) and strength >= -1):
        raise ConfigError(f"strength must be finite and >= -1 (the unconditional law), got {strength:g}")


def large_strength_coefficient() -> float:
    r"""The constant c in $x \simeq c\sqrt w$, where Gaussian classes end at large strength.

    With $y = \sqrt w\,Y$ and $\tau = s/\sqrt w$ the flow becomes $dY/ds = 1 - \tanh(sY)$ from 0, and c is its limit.

    Accuracy:
        About 1e-10.

    Source:
        derived in explanation/compact; sharpens the order sqrt(w) of [chidambaram2024does].
    """
    from scipy.integrate import solve_ivp  # slow to import

    solution = solve_ivp(lambda s, y: 1 - np.tanh(s * y), (0.0, 40.0), [0.0], method="DOP853", rtol=1e-12, atol=1e-13)
    return float(solution.y[0, -1])
