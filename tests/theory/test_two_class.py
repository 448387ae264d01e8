"""Two classes on a line: flows against published numbers, other integrators and independent quadrature."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.special import log_expit

from orthoscope.errors import ConfigError
from orthoscope.theory.two_class import (
    check_law,
    guided_ends,
    guided_moments,
    guided_share,
    large_strength_coefficient,
    largest_monotone_strength,
    tilted_density,
    tilted_moments,
    uniform_denoised,
)

STOPPED = 0.0044722  # noise left at tau = 1 - 1e-5


@pytest.mark.parametrize(
    ("strength", "mean", "std"),
    [
        (0, 1, 1),
        (1, 1.6125, 0.7616),
        (2, 2.0269, 0.6536),
        (3, 2.3485, 0.5961),
        (5, 2.8543, 0.5353),
        (10, 3.7672, 0.4749),
    ],
)
def test_gaussian_classes_end_where_a_fine_integration_says(strength: float, mean: float, std: float) -> None:
    found = guided_moments("gaussian", strength)
    assert found.mean == pytest.approx(mean, abs=6e-5)
    assert found.std == pytest.approx(std, abs=2e-4)


def test_the_gaussian_flow_is_that_of_the_scores() -> None:
    # In the process's own time, from the textbook scores of N(+-exp(-t), 1), by another integrator.
    w, y0 = 2.0, np.array([-1.3, 0.0, 0.8])

    def reverse(s: float, y: np.ndarray) -> np.ndarray:
        tau = math.exp(-(12 - s))
        right, left = np.exp(-((y - tau) ** 2) / 2), np.exp(-((y + tau) ** 2) / 2)
        whole = ((tau - y) * right + (-tau - y) * left) / (right + left)
        return y + (1 + w) * (tau - y) - w * whole

    ends = solve_ivp(reverse, (0, 12), y0, method="Radau", rtol=1e-9, atol=1e-9).y[:, -1]
    np.testing.assert_allclose(guided_ends(y0, "gaussian", w), ends, atol=1e-4)  # the start at tau = e^-12


@pytest.mark.parametrize(
    ("strength", "mean", "std"),
    [(0, 1.5, 0.2887), (1, 1.6965, 0.1985), (3, 1.8822, 0.0915), (5, 1.9523, 0.0427), (10, 1.9962, 0.0079)],
)
def test_uniform_classes_end_where_a_fine_integration_says(strength: float, mean: float, std: float) -> None:
    found = guided_moments("uniform", strength, sigma_end=STOPPED)
    assert found.mean == pytest.approx(mean, abs=6e-5)
    assert found.std == pytest.approx(std, abs=6e-5)


def test_stopping_early_counts_where_samples_crowd_at_the_edge() -> None:
    early, late = (guided_moments("uniform", 10.0, sigma_end=sigma) for sigma in (STOPPED, 1e-6))
    assert early.mean - late.mean > 1e-3
    assert early.std > 1.2 * late.std


@pytest.mark.parametrize(("tau", "reach"), [(0.02, 3.0), (0.3, 3.0), (0.7, 4.0), (0.999, 3.0)])
def test_denoised_means_agree_with_quadrature(tau: float, reach: float) -> None:
    noise = math.sqrt(1 - tau**2)
    states = np.linspace(-reach, reach, 9)
    own, whole = uniform_denoised(states, tau, noise)

    def moment(y: float, power: int, ends: tuple[float, float]) -> float:
        return quad(
            lambda x: x**power * math.exp(-((y - tau * x) ** 2) / (2 * noise**2)), *ends, epsabs=0, epsrel=1e-12,
            limit=200, points=[min(max(y / tau, ends[0]), ends[1])],
        )[0]  # fmt: skip

    for k, y in enumerate(states):
        right = [moment(y, power, (1.0, 2.0)) for power in (0, 1)]
        left = [moment(y, power, (-2.0, -1.0)) for power in (0, 1)]
        if right[0] > 1e-250:
            assert own[k] == pytest.approx(right[1] / right[0], abs=1e-9)
        if right[0] + left[0] > 1e-250:
            assert whole[k] == pytest.approx((right[1] + left[1]) / (right[0] + left[0]), abs=1e-9)


def test_without_guidance_each_law_is_its_own_end() -> None:
    assert guided_moments("gaussian", 0.0) == pytest.approx((1.0, 1.0), abs=1e-8)
    assert guided_moments("uniform", 0.0) == pytest.approx((1.5, 12**-0.5), abs=1e-6)
    assert guided_moments("gaussian", -1.0) == pytest.approx((0.0, math.sqrt(2)), abs=1e-7)
    assert guided_moments("uniform", -1.0) == pytest.approx((0.0, math.sqrt(2.25 + 1 / 12)), abs=1e-3)  # jumps at 0


def test_shares_are_those_of_the_map() -> None:
    for edge in (1.2, 1.5, 1.95):
        assert guided_share("uniform", 0.0, edge) == pytest.approx(2 - edge, abs=2e-6)
    assert guided_share("uniform", 10.0, 3.0) == 0.0
    assert guided_share("uniform", 10.0, 0.5) == 1.0
    crowd = [guided_share("uniform", w, 1.95) for w in (0.0, 1.0, 3.0, 5.0, 10.0)]
    assert np.all(np.diff(crowd) > 0)
    assert crowd[-1] > 0.999


def test_at_large_strength_gaussian_classes_move_out_like_the_root_of_it() -> None:
    c = large_strength_coefficient()
    assert c == pytest.approx(0.93329, abs=1e-5)
    strengths = np.array([1e3, 1e4, 1e5])
    ends = np.array([guided_ends([0.0], "gaussian", w)[0] for w in strengths])
    gaps = np.abs(ends / np.sqrt(strengths) - c)
    np.testing.assert_allclose(gaps[1:] / gaps[:-1], 10**-0.5, rtol=0.1)  # the next term is constant


def test_the_tilted_law_by_quadrature_on_other_grounds() -> None:
    x = np.linspace(-9, 12, 40_001)
    for w in (0.0, 1.0, 7.0, -0.5):
        right, left = np.exp(-((x - 1) ** 2) / 2), np.exp(-((x + 1) ** 2) / 2)
        weight = (right + left) * (right / (right + left)) ** (1 + w)
        weight /= np.trapezoid(weight, x)
        mean = np.trapezoid(weight * x, x)
        std = math.sqrt(np.trapezoid(weight * (x - mean) ** 2, x))
        assert tilted_moments("gaussian", w) == pytest.approx((mean, std), abs=1e-8)
        np.testing.assert_allclose(tilted_density(x, "gaussian", w), weight, atol=1e-8)


@pytest.mark.parametrize("strength", [1e3, 1e9, 1e30])
def test_the_tilted_law_at_strengths_that_leave_hardly_any_of_it(strength: float) -> None:
    x = np.linspace(-5, 60, 400_001)
    log = -((x - 1) ** 2) / 2 + strength * log_expit(2 * x)
    weight = np.exp(log - log.max())
    mean = (weight * x).sum() / weight.sum()
    std = math.sqrt((weight * (x - mean) ** 2).sum() / weight.sum())
    assert tilted_moments("gaussian", strength) == pytest.approx((mean, std), rel=1e-6)


@pytest.mark.parametrize("dim", [1, 400, 10_000])
def test_the_tilted_law_in_any_dimension(dim: int) -> None:
    center = math.sqrt(dim)
    assert tilted_moments("gaussian", -1, dim=dim) == pytest.approx((0, math.hypot(1, center)), abs=1e-9 * center)
    assert tilted_moments("gaussian", 0, dim=dim) == pytest.approx((center, 1), abs=1e-9 * center)
    peaks = np.concatenate([np.linspace(side * center - 14, side * center + 14, 40_001) for side in (-1, 1)])
    x = np.linspace(-14 - center, 14 + center, 80_001) if dim == 1 else peaks
    weight = np.exp(-((x - center) ** 2) / 2 - 0.5 * log_expit(2 * center * x))
    mean = (weight * x).sum() / weight.sum()
    std = math.sqrt((weight * (x - mean) ** 2).sum() / weight.sum())
    assert tilted_moments("gaussian", -0.5, dim=dim) == pytest.approx((mean, std), rel=1e-7)


def test_disjoint_supports_leave_nothing_to_tilt() -> None:
    for w in (0.0, 3.0, 100.0):
        assert tilted_moments("uniform", w) == pytest.approx((1.5, 12**-0.5))
    assert tilted_moments("uniform", -1.0) == pytest.approx((0.0, math.sqrt(2.25 + 1 / 12)))
    x = np.array([-1.5, 0.0, 1.5])
    assert tilted_density(x, "uniform", 2.0).tolist() == [0, 0, 1]
    assert tilted_density(x, "uniform", -1.0).tolist() == [0.5, 0, 0.5]


def test_guidance_does_not_sample_the_tilted_law() -> None:
    for law in ("gaussian", "uniform"):
        guided, tilted = guided_moments(law, 3.0), tilted_moments(law, 3.0)
        assert guided.mean > tilted.mean + 0.3
        assert guided.std < 0.8 * tilted.std


@pytest.mark.slow
def test_paths_turn_beyond_a_strength_only_where_the_support_ends() -> None:
    assert largest_monotone_strength("gaussian") == math.inf
    w = largest_monotone_strength("uniform")
    assert largest_monotone_strength("uniform", sigma_end=STOPPED) == pytest.approx(w, abs=2e-3)
    assert not _turns(w - 0.05)
    assert _turns(w + 0.05)


def _turns(strength: float) -> bool:
    """Whether the path from 0 turns where it is slowest, from its ends at ever less noise."""
    ends = [guided_ends([0.0], "uniform", strength, sigma_end=sigma)[0] for sigma in np.geomspace(0.5, 0.2, 12)]
    return bool(np.any(np.diff(ends) < 0))


@pytest.mark.parametrize("strength", [-1.5, math.nan, math.inf])
def test_unusable_strengths_are_refused(strength: float) -> None:
    for function in (guided_moments, tilted_moments):
        with pytest.raises(ConfigError, match="strength must be finite and >= -1"):
            function("uniform", strength)


def test_laws_go_by_their_names() -> None:
    assert check_law("uniform") == "uniform"
    with pytest.raises(ConfigError, match="did you mean 'gaussian'"):
        check_law("gausian")
