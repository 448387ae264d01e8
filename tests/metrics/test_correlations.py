"""Mean square correlation: unbiased with and without correlations, blind to scale, and the naive estimate is not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from orthoscope.errors import ConfigError
from orthoscope.metrics.correlations import mean_square_correlation
from tests.stat.expect import expect_estimate

ROWS, DIM, REPEATS = 64, 16, 400


def repeated(mixing: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Values and standard errors of many independent estimates from Gaussian samples."""
    stream = np.random.default_rng(seed)
    found = [mean_square_correlation(stream.standard_normal((ROWS, DIM)) @ mixing.T) for _ in range(REPEATS)]
    return np.array([e.value for e in found]), np.array([e.stderr for e in found])


def expect_unbiased(values: np.ndarray, expected: float, *, bias: float, detect: float) -> None:
    expect_estimate(values.mean(), values.std(ddof=1) / math.sqrt(REPEATS), expected, bias=bias, detect=detect)


def naive(samples: np.ndarray) -> float:
    return float((np.corrcoef(samples, rowvar=False)[np.triu_indices(DIM, 1)] ** 2).mean())


def test_independent_coordinates_have_none(seed: int) -> None:
    """Where the plain mean of squares would answer 1/(n - 1)."""
    values, errors = repeated(np.eye(DIM), seed)
    expect_unbiased(values, 0.0, bias=0.0, detect=0.1 / ROWS)
    assert naive(np.random.default_rng(seed).standard_normal((ROWS, DIM))) > 0.7 / ROWS
    scatter = values.std(ddof=1)
    assert scatter < np.sqrt((errors**2).mean()) < 2 * scatter  # the jackknife errs on the safe side


def test_a_correlated_direction_is_found(seed: int) -> None:
    """A rank-one excess I + e e^T / 2 with known correlations. Bias: normalization, of relative order 1/n."""
    e = np.linspace(0.5, 1.5, DIM)
    covariance = np.eye(DIM) + 0.5 * np.outer(e, e)
    std = np.sqrt(np.diag(covariance))
    expected = float(((covariance / np.outer(std, std))[np.triu_indices(DIM, 1)] ** 2).mean())
    values, errors = repeated(np.linalg.cholesky(covariance), seed)
    expect_unbiased(values, expected, bias=4 * expected / ROWS, detect=0.4 * expected)
    assert 0.8 < np.sqrt((errors**2).mean()) / values.std(ddof=1) < 2


def test_scale_and_place_of_coordinates_do_not_matter(seed: int) -> None:
    stream = np.random.default_rng(seed)
    x = stream.standard_normal((ROWS, DIM)) @ (np.eye(DIM) + 0.2)
    moved = x * stream.uniform(0.1, 10, DIM) + stream.uniform(-100, 100, DIM)
    assert mean_square_correlation(moved).value == pytest.approx(mean_square_correlation(x).value, rel=1e-9)


def test_equal_coordinates_correlate_fully(seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((4000, 1))
    found = mean_square_correlation(np.hstack([x, -x, x]))
    assert found.value == pytest.approx(1.0, abs=0.02)


def test_what_cannot_correlate_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 24 rows"):
        mean_square_correlation(np.zeros((23, 4)))
    with pytest.raises(ConfigError, match="nothing to correlate with"):
        mean_square_correlation(np.arange(30.0)[:, None])
    with pytest.raises(ConfigError, match="coordinate 1 does not vary"):
        mean_square_correlation(np.stack([np.arange(30.0), np.ones(30)], 1))
