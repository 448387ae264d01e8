"""The same theory written a second time, in other variables and by other numerics: slow, plain, independent."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad, solve_ivp
from scipy.optimize import brentq, minimize_scalar

Strength = Callable[[float], float]
TIGHT = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-14}


@dataclass(frozen=True)
class Path:
    """Where a mean-field path ends."""

    mean_shift: float
    variance_shift: float
    speciation_time: float | None


def mean_field(
    rate: float,
    std: float,
    strength: Strength,
    *,
    t_max: float,
    exact: bool = False,
    lam: float = 1.0,
    sphere: bool = False,
    max_step: float = math.inf,
) -> Path:
    """Overlap and variance along the reverse process, written as in the papers, until the own mode wins.

    Between its steps the solver is of lower order: short ones keep the time of an event as accurate as the path.

    Where the other modes condense they are followed as if the state were independent of them: for strengths >= 0.
    """
    base, k = std**2, (1 + lam**2) / 2
    margin = sphere_margin if sphere else gaussian_margin

    def before(tau: float, state: NDArray[np.float64]) -> list[float]:
        q, variance = state
        v, w = base + t_max - tau, strength(t_max - tau)
        square = q * q + variance
        others = sphere_score(square, v) if sphere else -1 / (v + frozen_order(square, v, rate))
        a, b = -(1 + w) / v - w * others, (1 + w) / v
        return [k * (a * q + b), 2 * k * a * variance + lam**2]

    def wins(tau: float, state: NDArray[np.float64]) -> float:
        return margin(state[0], state[1], base + t_max - tau, rate)

    wins.terminal, wins.direction = True, 1
    start = [1.0, t_max + base] if exact else [0.0, t_max + base + 1]
    run = solve_ivp(before, (0, t_max), start, events=wins, max_step=max_step, **TIGHT)
    q, variance = run.y[:, -1]
    if run.status != 1:
        return Path(q - 1, variance - base, None)
    v = base + t_max - run.t[-1]
    # With the guidance gone the mean relaxes to the centroid and the variance to that of the conditional law.
    shrink = (base / v) ** k
    return Path((q - 1) * shrink, (variance - v) * shrink**2, v - base)


def gaussian_margin(q: float, variance: float, v: float, rate: float) -> float:
    """Log-weight of the own mode minus that of the others, per dimension."""
    square = q * q + variance
    own = -((q - 1) ** 2 + variance) / (2 * v)
    n = frozen_order(square, v, rate)
    return own - (rate + gaussian_log_sum(square, v, n)) / n


def sphere_margin(q: float, variance: float, v: float, rate: float) -> float:
    """The same for centroids on a sphere: the best angle is found by search."""
    square = q * q + variance
    own = -((q - 1) ** 2 + variance) / (2 * v)
    return own - rate - sphere_log_sum(square, v)


def sphere_log_sum(square: float, v: float) -> float:
    def minus(rho: float) -> float:
        return -0.5 * math.log1p(-rho * rho) + (square + 1 - 2 * math.sqrt(square) * rho) / (2 * v)

    return -minimize_scalar(minus, bounds=(0, 1 - 1e-12), method="bounded", options={"xatol": 1e-12}).fun


def sphere_score(square: float, v: float) -> float:
    """Unconditional score over the state, from the angle at which modes are found."""
    radius = math.sqrt(square)
    rho = brentq(lambda r: r * v - radius * (1 - r * r), 0, 1, xtol=1e-15)
    return (rho / radius - 1) / v


def gaussian_log_sum(square: float, v: float, n: float) -> float:
    """Log of the mean of exp(-n |x - m|^2 / 2v) over m ~ N(0, I), per dimension."""
    return -0.5 * math.log1p(n / v) - n * square / (2 * (v + n))


def frozen_order(square: float, v: float, rate: float) -> float:
    """The n <= 1 at which the entropy rate + psi(n) - n psi'(n) vanishes; 1 where it is still positive there."""

    def entropy(n: float) -> float:
        slope = -1 / (2 * (v + n)) - square * v / (2 * (v + n) ** 2)
        return rate + gaussian_log_sum(square, v, n) - n * slope

    return 1.0 if entropy(1.0) >= 0 else brentq(entropy, 0, 1, xtol=1e-15)


def free_energy(square: float, v: float, rate: float) -> float:
    """Quenched free energy as the least of (rate + log-sum(n)) / n over 0 < n <= 1."""

    def at(n: float) -> float:
        return (rate + gaussian_log_sum(square, v, n)) / n

    inside = minimize_scalar(at, bounds=(1e-9, 1), method="bounded", options={"xatol": 1e-12}).fun
    return min(inside, at(1.0))


def sde_gaussian(c: float, u: float, strength: Strength, breaks: tuple[float, ...] = ()) -> tuple[float, float]:
    """Shift and variance of the guided SDE from infinite noise, as the integrals of the linear equation.

    With log H' = (1 + w)/(c + t) - w/(u + t): shift = int H(0)/H(t) w/(u + t) dt, variance = int (H(0)/H(t))^2 dt.
    """

    def log_ratio(t: float) -> float:
        marks = [0.0, *(b for b in breaks if b < t), t]
        return math.log((c + t) / c) + sum(
            quad(lambda z: strength(z) * (u - c) / ((c + z) * (u + z)), a, b, epsabs=1e-14, epsrel=1e-13)[0]
            for a, b in pairwise(marks)
        )

    def over_line(f: Callable[[float], float]) -> float:
        marks = [0.0, *breaks]
        inner = sum(quad(f, a, b, epsabs=1e-13, epsrel=1e-12)[0] for a, b in pairwise(marks))
        return inner + quad(f, marks[-1], math.inf, epsabs=1e-13, epsrel=1e-12, limit=200)[0]

    shift = over_line(lambda t: math.exp(-log_ratio(t)) * strength(t) / (u + t))
    return shift, over_line(lambda t: math.exp(-2 * log_ratio(t)))


@dataclass(frozen=True)
class Sampled:
    """Mean and standard error over draws of the modes."""

    mean_shift: tuple[float, float]
    variance_shift: tuple[float, float]
    class_posterior: tuple[float, float]


def simulate(
    rate: float,
    dim: int,
    std: float,
    strength: Strength,
    *,
    t_max: float,
    seed: int,
    draws: int,
    paths: int,
    steps: int,
    lam: float = 1.0,
) -> Sampled:
    """Guided sampling with every mode explicit: second-order steps in the noise level v of the reverse SDE, or the ODE.

    All draws of the modes run side by side; the first axis counts them.
    """
    generator = np.random.default_rng(seed)
    base = std**2
    grid = base * (1 + t_max / base) ** np.linspace(1, 0, steps + 1)
    modes = generator.standard_normal((draws, round(math.exp(rate * dim)), dim))
    half = (modes**2).sum(2)[:, None] / 2

    def posterior(x: NDArray[np.float64], v: float) -> NDArray[np.float64]:
        logits = (x @ modes.transpose(0, 2, 1) - half) / v
        weights = np.exp(logits - logits.max(2, keepdims=True))
        return weights / weights.sum(2, keepdims=True)

    def centroid(x: NDArray[np.float64], v: float, near: float) -> NDArray[np.float64]:
        w = strength(v + 1e-9 * (near - v) - base)  # a jump of the strength belongs to one side of the step
        return (1 + w) * modes[:, :1] - w * posterior(x, v) @ modes

    x = math.sqrt(grid[0] + 1) * generator.standard_normal((draws, paths, dim))
    for v, lower in pairwise(grid):
        shrink = (lower / v) ** ((1 + lam**2) / 2)
        noise = math.sqrt(lower * (1 - (lower / v) ** lam**2)) * generator.standard_normal(x.shape)
        first = centroid(x, v, lower)
        second = centroid(first + shrink * (x - first) + noise, lower, v)
        middle = (first + second) / 2
        x = middle + shrink * (x - middle) + noise
    shift = (x.mean(1) * modes[:, 0]).sum(1) / (2 * half[:, 0, 0]) - 1
    results = shift, x.var(1, ddof=1).mean(1) - base, posterior(x, base)[..., 0].mean(1)
    return Sampled(*((float(r.mean()), float(r.std(ddof=1) / math.sqrt(draws))) for r in results))
