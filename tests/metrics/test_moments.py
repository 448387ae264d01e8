from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg, stats

from orthoscope import metrics
from orthoscope.errors import ConfigError, ShapeError
from orthoscope.quantities import Estimate
from tests.stat.expect import expect_mean

seeds = st.integers(0, 2**32)
CENTROID = np.array([1.0, -2.0, 0.5, 0.0])
SD = np.array([0.5, 1.0, 0.8, 1.5])


def draws(seed: int, n: int = 40) -> np.ndarray:
    return CENTROID + 0.3 + SD * np.random.default_rng(seed).standard_normal((n, 4))


# Definitions


@given(seed=seeds)
def test_first_moments_are_their_definitions(seed: int) -> None:
    x = draws(seed)
    along = x @ CENTROID / (CENTROID @ CENTROID)
    q, shift = metrics.overlap(x, CENTROID), metrics.mean_shift(x, CENTROID)
    assert q.value == pytest.approx(along.mean(), rel=1e-12)
    assert shift.value == pytest.approx(along.mean() - 1, rel=1e-10)
    assert q.stderr == shift.stderr == pytest.approx(along.std(ddof=1) / np.sqrt(40), rel=1e-12)


@given(seed=seeds)
def test_second_moments_are_their_definitions(seed: int) -> None:
    x = draws(seed)
    covariance, m = np.cov(x.T), CENTROID / np.linalg.norm(CENTROID)
    along = m @ covariance @ m
    assert metrics.variance(x).value == pytest.approx(np.trace(covariance) / 4, rel=1e-12)
    assert metrics.total_variance(x).value == pytest.approx(np.trace(covariance), rel=1e-12)
    assert metrics.variance(x, CENTROID, part="along").value == pytest.approx(along, rel=1e-12)
    across = metrics.variance(x, CENTROID, part="across")
    assert across.value == pytest.approx((np.trace(covariance) - along) / 3, rel=1e-12)
    assert metrics.variance_shift(x, 0.7).value == pytest.approx(np.trace(covariance) / 4 - 0.49, rel=1e-10)
    assert metrics.variance_ratio(x, 0.7).value == pytest.approx(np.trace(covariance) / 4 / 0.49, rel=1e-12)


@given(seed=seeds, scale=st.floats(0.1, 10))
def test_units_directions_and_origins(seed: int, scale: float) -> None:
    x = draws(seed)
    turn = stats.ortho_group.rvs(4, random_state=np.random.default_rng(seed))
    y, m = scale * x @ turn, scale * CENTROID @ turn
    same = {"rel": 1e-9, "abs": 1e-9}
    assert metrics.mean_shift(y, m).value == pytest.approx(metrics.mean_shift(x, CENTROID).value, **same)
    assert metrics.variance(y).value == pytest.approx(scale**2 * metrics.variance(x).value, **same)
    one, other = metrics.participation_ratio(x), metrics.participation_ratio(y + 5)
    assert (other.value, other.stderr) == pytest.approx((one.value, one.stderr), rel=1e-7)
    first = metrics.frechet_distance(x, CENTROID, np.diag(SD**2)).value
    second = metrics.frechet_distance(y, m, scale**2 * turn.T @ np.diag(SD**2) @ turn).value
    assert second == pytest.approx(scale**2 * first, rel=1e-6, abs=1e-9)


def test_tensors_and_single_precision_are_welcome() -> None:
    x = torch.from_numpy(draws(0)).float()
    assert metrics.variance(x).value == pytest.approx(metrics.variance(x.double().numpy()).value, rel=1e-12)


# Fréchet distance


def test_frechet_distance_of_known_moments() -> None:
    # Samples whose mean and covariance are exactly given, so that the plain distance is the closed form; far from the
    # law the jackknife moves it by no more than its 1/n.
    stream = np.random.default_rng(1)
    raw = stream.standard_normal((4000, 3))
    raw = (raw - raw.mean(0)) @ np.linalg.inv(linalg.sqrtm(np.cov(raw.T)))
    a = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.3], [0.0, 0.3, 0.7]])
    b = np.diag([0.5, 3.0, 1.0])
    x = 1.0 + raw @ linalg.sqrtm(a)
    closed = 3 * 4.0 + np.trace(a + b - 2 * linalg.sqrtm(linalg.sqrtm(b) @ a @ linalg.sqrtm(b)).real)
    found = metrics.frechet_distance(x, np.full(3, 3.0), b)
    assert found.value == pytest.approx(closed / 3, abs=2e-3)
    assert 0 < found.stderr < 0.2


def test_isotropic_frechet_distance_is_the_shift_squared_plus_the_difference_of_deviations_squared() -> None:
    stream = np.random.default_rng(2)
    x = 0.2 + 0.4 * stream.standard_normal((20_000, 5))
    found = metrics.frechet_distance(x, np.zeros(5), 0.25 * np.eye(5))
    assert found.value == pytest.approx(0.2**2 + (0.4 - 0.5) ** 2, abs=5 * found.stderr)


@pytest.mark.slow
def test_the_frechet_distance_of_a_perfect_sampler_is_zero_on_average(seed: int) -> None:
    stream, dim, n = np.random.default_rng(seed), 5, 200
    found = [
        metrics.frechet_distance(stream.standard_normal((n, dim)), np.zeros(dim), np.eye(dim)).value for _ in range(250)
    ]
    plain = (dim + 5) / (4 * n)  # what it would be without the jackknife
    expect_mean(found, 0.0, sd=float(np.std(found, ddof=1)), detect=plain / 2)


def test_points_have_a_frechet_distance_too() -> None:
    x = np.zeros((10, 2))
    assert metrics.frechet_distance(x, np.zeros(2), np.eye(2)).value == pytest.approx(1.0)


# Calibration: over many repetitions each estimate has the right mean, and its z-score a variance of one


def shrunken(dim: int, n: int) -> Callable[[np.random.Generator], np.ndarray]:
    sd = np.linspace(0.3, 1.2, dim)
    return lambda stream: 0.5 + sd * stream.standard_normal((n, dim))


def exact_participation(dim: int) -> float:
    variances = np.linspace(0.3, 1.2, dim) ** 2
    return float(variances.sum() ** 2 / (variances**2).sum())


CALIBRATED: dict[str, tuple[Callable[[np.ndarray], Estimate], float, int, int, int]] = {
    # estimator, exact value, dim, n, degrees of freedom of its error (0: many)
    "mean_shift": (lambda x: metrics.mean_shift(x, np.full(4, 0.5)), 0.0, 4, 50, 49),
    "variance": (metrics.variance, float((np.linspace(0.3, 1.2, 30) ** 2).mean()), 30, 60, 59),
    "participation_ratio": (metrics.participation_ratio, exact_participation(12), 12, 120, 19),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CALIBRATED)
def test_standard_errors_are_calibrated(name: str, seed: int) -> None:
    estimator, exact, dim, n, freedom = CALIBRATED[name]
    stream, draw = np.random.default_rng(seed), shrunken(dim, n)
    found = [estimator(draw(stream)) for _ in range(1500)]
    values = np.array([estimate.value for estimate in found])
    # Bias below half of a single run's error, and z-scores as Student's law has them.
    sd = values.std(ddof=1)
    expect_mean(values, exact, sd=sd, detect=0.5 * sd, false_fail=5e-7)
    z2 = ((values - exact) / [estimate.stderr for estimate in found]) ** 2
    expect_mean(z2, freedom / (freedom - 2), sd=2.0, detect=0.6, false_fail=5e-7)


def test_few_samples_of_many_directions_do_not_cap_the_participation_ratio(seed: int) -> None:
    stream, dim, n = np.random.default_rng(seed), 200, 40
    found, plain = [], []
    for _ in range(60):
        x = stream.standard_normal((n, dim))
        found.append(metrics.participation_ratio(x).value)
        c = np.cov(x.T)
        plain.append(np.trace(c) ** 2 / (c**2).sum())
    assert max(plain) < n - 1  # negative control: capped by the number of samples
    # Remaining bias of the ratio under 2 percent.
    expect_mean(found, dim, sd=float(np.std(found, ddof=1)), detect=0.2 * dim)


# Mistakes


def test_what_cannot_be_measured_is_refused() -> None:
    x = draws(0)
    with pytest.raises(ConfigError, match="the centroid is zero"):
        metrics.mean_shift(x, np.zeros(4))
    with pytest.raises(ShapeError, match=r"centroid with 4 coordinates, got shape \(3,\)"):
        metrics.overlap(x, np.ones(3))
    with pytest.raises(ConfigError, match="part must be 'all', or 'along' or 'across' with a centroid"):
        metrics.variance(x, part="along")
    with pytest.raises(ConfigError, match="part must be"):
        metrics.variance(x, CENTROID, part="beside")
    with pytest.raises(ConfigError, match="std must be > 0 to form a ratio, got 0"):
        metrics.variance_ratio(x, 0.0)
    with pytest.raises(ConfigError, match="at least 8 rows"):
        metrics.participation_ratio(x[:7])
    with pytest.raises(ShapeError, match=r"moments in 4 dimensions, got shapes \(3,\) and \(4, 4\)"):
        metrics.frechet_distance(x, np.zeros(3), np.eye(4))
    for estimator in (metrics.variance, metrics.total_variance, metrics.participation_ratio):
        with pytest.raises(ConfigError, match="NaN or infinity"):
            estimator(np.full((10, 2), np.nan))
