from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthoscope.errors import ConfigError
from orthoscope.metrics import jackknife, mean_of
from orthoscope.metrics.estimators import as_samples
from tests.stat.expect import expect_mean

seeds = st.integers(0, 2**32)


@given(seed=seeds, n=st.integers(2, 60))
def test_the_mean_has_its_textbook_error(seed: int, n: int) -> None:
    values = np.random.default_rng(seed).standard_normal(n)
    estimate = mean_of(values)
    assert estimate.value == pytest.approx(values.mean(), rel=1e-12)
    assert estimate.stderr == pytest.approx(values.std(ddof=1) / math.sqrt(n), rel=1e-12)
    assert estimate.n == n


@given(seed=seeds, n=st.integers(3, 70))
def test_the_jackknife_leaves_a_mean_alone(seed: int, n: int) -> None:
    x = np.random.default_rng(seed).standard_normal((n, 2))
    estimate = jackknife(lambda part: float(part.mean()), x)
    assert estimate.value == pytest.approx(x.mean(), rel=1e-9, abs=1e-12)
    if n <= 20:  # one row per block: the textbook error
        rows = x.mean(1)
        assert estimate.stderr == pytest.approx(rows.std(ddof=1) / math.sqrt(n), rel=1e-9)


@given(seed=seeds, n=st.sampled_from([7, 20, 60]))
def test_the_jackknife_removes_a_bias_of_first_order_exactly(seed: int, n: int) -> None:
    # The plain variance is biased by exactly 1/n: with equal blocks the jackknife returns the unbiased one.
    x = np.random.default_rng(seed).standard_normal((n, 1))
    estimate = jackknife(lambda part: float(part.var()), x)
    if n <= 20:
        assert estimate.value == pytest.approx(x.var(ddof=1), rel=1e-9)
    else:
        assert abs(estimate.value - x.var(ddof=1)) < abs(x.var() - x.var(ddof=1)) * 2


@pytest.mark.slow
@pytest.mark.parametrize("n", [30, 200])
def test_jackknife_errors_are_calibrated(n: int, seed: int) -> None:
    # Twenty blocks: z follows Student's law of about 19 degrees, E z^2 = 19/17, sd of z^2 about 1.7.
    stream = np.random.default_rng(seed)
    z = [
        jackknife(lambda part: float(part.mean()) ** 2, 2 + stream.standard_normal((n, 1))).z(4.0) for _ in range(2500)
    ]
    expect_mean(np.square(z), 19 / 17, sd=1.9, detect=0.4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0], r"at least 2 values for a standard error, got shape \(1,\)"),
        ([[1.0, 2.0]], "at least 2 values"),
        ([1.0, math.nan], "NaN or infinity"),
    ],
)
def test_values_without_an_error_are_refused(values: list[float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        mean_of(values)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(4), r"matrix with at least 2 rows of samples, got shape \(4,\)"),
        (np.zeros((1, 3)), "at least 2 rows"),
        (np.array([[0.0], [math.nan]]), "samples hold NaN or infinity; the run that made them diverged"),
    ],
)
def test_samples_without_an_error_are_refused(samples: np.ndarray, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        as_samples(samples)
