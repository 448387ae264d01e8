"""The assertions accept the truth, catch an error of `detect`, and refuse what they cannot see."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from tests.stat.expect import (
    expect_cdf,
    expect_estimate,
    expect_mean,
    expect_rate,
    expect_same_law,
    expect_variance,
)

N = 20_000


@pytest.fixture
def normal(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(N)


def test_truth_passes(normal: np.ndarray, seed: int) -> None:
    expect_mean(3 + 2 * normal, 3.0, sd=2.0, detect=0.14)
    expect_variance(3 + 2 * normal, 4.0, detect=0.11)
    expect_cdf(normal, stats.norm.cdf, detect=0.04)
    expect_rate(normal > 1, stats.norm.sf(1), detect=0.03)
    expect_same_law(normal, np.random.default_rng([seed, 1]).standard_normal(N), detect=0.08)


def test_an_error_of_detect_is_caught(normal: np.ndarray, seed: int) -> None:
    other = np.random.default_rng([seed, 1]).standard_normal(N)
    with pytest.raises(AssertionError, match="standard errors"):
        expect_mean(normal + 0.07, 0.0, sd=1.0, detect=0.07)
    with pytest.raises(AssertionError, match="variance"):
        expect_variance(normal * math.sqrt(1.11), 1.0, detect=0.11)
    with pytest.raises(AssertionError, match="variance"):
        expect_variance(normal * math.sqrt(0.89), 1.0, detect=0.11)
    with pytest.raises(AssertionError, match="rate"):
        expect_rate(normal > 1, stats.norm.sf(1) + 0.03, detect=0.03)
    with pytest.raises(AssertionError, match="rate"):
        expect_rate(normal > 1, stats.norm.sf(1) - 0.03, detect=0.03)
    shift = 2 * stats.norm.ppf(0.52)  # Kolmogorov distance 0.04 exactly
    with pytest.raises(AssertionError, match="Kolmogorov"):
        expect_cdf(normal + shift, stats.norm.cdf, detect=0.04)
    with pytest.raises(AssertionError, match="Kolmogorov"):
        expect_same_law(normal, other + 2 * shift, detect=0.08)


def test_too_few_draws_are_refused(normal: np.ndarray) -> None:
    few = normal[:100]
    for refused in (
        lambda: expect_mean(few, 0.0, sd=1.0, detect=0.9),
        lambda: expect_variance(few, 1.0, detect=0.5),
        lambda: expect_rate(few > 1, 0.16, detect=0.1),
        lambda: expect_cdf(few, stats.norm.cdf, detect=0.3),
        lambda: expect_same_law(few, few, detect=0.3),
        lambda: expect_estimate(0.0, 0.1, 0.0, detect=0.9),
    ):
        with pytest.raises(ValueError, match="cannot show an error"):
            refused()


def test_refusal_sits_at_the_published_limits() -> None:
    """At 1e-6: 9.65 standard errors for a mean, a Kolmogorov distance of 0.0171 at n = 10^5."""
    expect_estimate(0.0, 1.0, 0.0, detect=9.65)
    with pytest.raises(ValueError, match="cannot show"):
        expect_estimate(0.0, 1.0, 0.0, detect=9.64)
    grid = (np.arange(100_000) + 0.5) / 100_000
    expect_cdf(grid, lambda u: u, detect=0.0171)
    with pytest.raises(ValueError, match="cannot show"):
        expect_cdf(grid, lambda u: u, detect=0.0170)


@pytest.mark.slow
def test_error_rates_are_the_promised_ones(seed: int) -> None:
    """False alarms and misses at a rate of one in a hundred, counted over two thousand repetitions."""
    rate, shift, growth = 0.01, 0.246, 0.42
    z = np.random.default_rng(seed).standard_normal((2000, 400))

    def alarms(check: Callable[..., None], sets: np.ndarray, *args: float, **options: float) -> np.ndarray:
        return np.array([raises(check, draws, *args, **options, false_fail=rate) for draws in sets])

    expect_rate(alarms(expect_mean, z, 0.0, sd=1.0, detect=shift), rate, detect=0.05)
    expect_rate(alarms(expect_variance, z, 1.0, detect=growth), rate, detect=0.05)
    missed_shift = ~alarms(expect_mean, z + shift, 0.0, sd=1.0, detect=shift)
    missed_growth = ~alarms(expect_variance, z * math.sqrt(1 + growth), 1.0, detect=growth)
    expect_rate(missed_shift, rate, detect=0.05)  # the refusal limit is sharp
    assert missed_growth.mean() < 0.03


def raises(check: Callable[..., None], *args: object, **options: object) -> bool:
    try:
        check(*args, **options)
    except AssertionError:
        return True
    return False


def test_bias_widens_the_acceptance_and_costs_detection() -> None:
    expect_estimate(0.5, 0.01, 0.0, bias=0.5, detect=1.1)
    with pytest.raises(AssertionError, match="bias"):
        expect_estimate(0.56, 0.01, 0.0, bias=0.5, detect=1.1)
    with pytest.raises(ValueError, match="cannot show"):
        expect_estimate(0.5, 0.01, 0.0, bias=0.5, detect=1.0)


def test_rate_is_exact_at_the_edges() -> None:
    expect_rate(np.zeros(1000, bool), 0.0, detect=0.05)
    with pytest.raises(AssertionError, match="rate"):
        expect_rate(np.eye(1, 1000, dtype=bool), 0.0, detect=0.05)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_draws_that_are_not_finite_never_pass(normal: np.ndarray, bad: float) -> None:
    normal[7] = bad
    with pytest.raises(AssertionError, match="not finite"):
        expect_mean(normal, 0.0, sd=1.0, detect=1.0)


def test_an_estimate_that_is_not_a_number_never_passes() -> None:
    with pytest.raises(AssertionError):
        expect_estimate(math.nan, 0.1, 0.0, detect=1.0)
    with pytest.raises(ValueError, match="standard error"):
        expect_estimate(0.0, 0.0, 0.0, detect=1.0)
