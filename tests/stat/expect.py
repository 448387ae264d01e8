"""Statistical assertions that rarely fail by chance and say what they can see.

Each assertion has two error rates, both at most `false_fail`: failing although the code is right, and
passing although it is wrong by `detect` or more. If there are too few draws for that, it raises ValueError
instead of answering. Divide `false_fail` by the number of assertions inside one test.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

FALSE_FAIL = 1e-6


def expect_mean(x: ArrayLike, mu: float, *, sd: float, detect: float, false_fail: float = FALSE_FAIL) -> None:
    """Independent draws with known standard deviation `sd` have mean `mu`.

    The law must be normal or n large. `detect` is in the units of `x`.
    """
    draws = _draws(x)
    expect_estimate(draws.mean(), sd / math.sqrt(draws.size), mu, detect=detect, false_fail=false_fail)


def expect_estimate(
    value: float,
    stderr: float,
    expected: float,
    *,
    bias: float = 0.0,
    detect: float,
    false_fail: float = FALSE_FAIL,
) -> None:
    """A normal estimate with its standard error agrees with the expected number.

    Args:
        value: The estimate.
        stderr: Its standard error.
        expected: What it should estimate.
        bias: Bound on a known deterministic error of the estimate, say of discretisation. It widens the
            acceptance, and may hide as much of a true error.
        detect: Smallest error in `expected` that must be caught.
        false_fail: Both error rates.
    """
    value, stderr, expected = float(value), float(stderr), float(expected)
    if not (0 < stderr < math.inf and bias >= 0):
        raise ValueError(f"need a positive standard error and bias >= 0, got {stderr} and {bias}")
    band = stats.norm.isf(false_fail / 2) * stderr + bias
    _refuse_unless(band + bias + stats.norm.isf(false_fail) * stderr <= detect, detect, f"stderr {stderr:.3g}")
    if not abs(value - expected) <= band:
        raise AssertionError(
            f"estimate {value:.6g} +- {stderr:.2g} is {(value - expected) / stderr:+.1f} standard errors "
            f"from {expected:.6g}; allowed {band:.3g}, of which bias {bias:.3g}"
        )


def expect_variance(x: ArrayLike, variance: float, *, detect: float, false_fail: float = FALSE_FAIL) -> None:
    """Independent Gaussian draws of unknown mean have this variance (chi-square, exact).

    `detect` is the relative error of the variance, below 1.
    """
    draws = _draws(x)
    law = stats.chi2(draws.size - 1)
    low, high = law.ppf(false_fail / 2), law.isf(false_fail / 2)
    seen = max(law.cdf(high / (1 + detect)), law.sf(low / (1 - detect))) <= false_fail
    _refuse_unless(seen, detect, f"n = {draws.size}")
    statistic = (draws.size - 1) * draws.var(ddof=1) / variance
    if not low <= statistic <= high:
        raise AssertionError(
            f"variance {draws.var(ddof=1):.6g} of n = {draws.size} draws is not {variance:.6g}; "
            f"allowed ratio {low / law.mean():.4f} to {high / law.mean():.4f}"
        )


def expect_rate(hits: ArrayLike, rate: float, *, detect: float, false_fail: float = FALSE_FAIL) -> None:
    """Independent yes-or-no draws say yes at this rate (binomial, exact). `detect` is an absolute error."""
    draws = _draws(hits)
    if not np.isin(draws, (0, 1)).all():
        raise ValueError("expect_rate needs draws that are True or False")
    n, count = draws.size, int(draws.sum())
    low = stats.binom.ppf(false_fail / 2, n, rate)
    high = stats.binom.isf(false_fail / 2, n, rate)
    missed = [
        stats.binom.cdf(high, n, rate + detect) if rate + detect <= 1 else 0.0,
        stats.binom.sf(low - 1, n, rate - detect) if rate >= detect else 0.0,
    ]
    possible = rate + detect <= 1 or rate >= detect
    _refuse_unless(possible and max(missed) <= false_fail, detect, f"n = {n}")
    if not low <= count <= high:
        raise AssertionError(f"{count} of {n} is not a rate of {rate:.6g}; allowed {low:.0f} to {high:.0f}")


def expect_cdf(
    x: ArrayLike,
    cdf: Callable[[NDArray[np.float64]], ArrayLike],
    *,
    detect: float,
    false_fail: float = FALSE_FAIL,
) -> None:
    """Independent draws follow this distribution function (Dvoretzky-Kiefer-Wolfowitz-Massart).

    `detect` is the largest difference of distribution functions, the Kolmogorov distance.
    """
    draws = np.sort(_draws(x))
    band = _band(draws.size, false_fail)
    _refuse_unless(2 * band <= detect, detect, f"n = {draws.size}")
    steps = np.arange(draws.size + 1) / draws.size
    expected = np.asarray(cdf(draws), dtype=np.float64)
    distance = max(np.max(steps[1:] - expected), np.max(expected - steps[:-1]))
    if not distance <= band:
        raise AssertionError(f"Kolmogorov distance {distance:.4f} of n = {draws.size} draws, allowed {band:.4f}")


def expect_same_law(x: ArrayLike, y: ArrayLike, *, detect: float, false_fail: float = FALSE_FAIL) -> None:
    """Two independent sets of draws follow one law. `detect` is a Kolmogorov distance."""
    first, second = np.sort(_draws(x)), np.sort(_draws(y))
    band = _band(first.size, false_fail / 2) + _band(second.size, false_fail / 2)
    _refuse_unless(2 * band <= detect, detect, f"n = {first.size} and {second.size}")
    points = np.concatenate([first, second])
    below = [np.searchsorted(draws, points, side="right") / draws.size for draws in (first, second)]
    distance = np.max(np.abs(below[0] - below[1]))
    if not distance <= band:
        raise AssertionError(
            f"Kolmogorov distance {distance:.4f} between n = {first.size} and {second.size} draws, allowed {band:.4f}"
        )


def _draws(x: ArrayLike) -> NDArray[np.float64]:
    draws = np.asarray(x, dtype=np.float64).ravel()
    if draws.size < 2:
        raise ValueError(f"need at least 2 draws, got {draws.size}")
    if not np.isfinite(draws).all():
        raise AssertionError(f"{np.sum(~np.isfinite(draws))} of {draws.size} draws are not finite")
    return draws


def _band(n: int, false_fail: float) -> float:
    """Half-width of the band round an empirical distribution function of n draws."""
    return math.sqrt(math.log(2 / false_fail) / (2 * n))


def _refuse_unless(possible: bool, detect: float, size: str) -> None:
    if not possible:
        raise ValueError(f"{size} cannot show an error of {detect:g}: take more draws or a larger detect")
