"""Closed forms for constant strength: against integration, in their limits, and where they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthoscope.errors import ConfigError
from orthoscope.theory.constant import (
    critical_rate,
    dense_distortion,
    distortion,
    few_classes,
    free_moments,
    speciation_rate,
    speciation_time,
)
from orthoscope.theory.gaussian import constant_gaussian
from tests.theory.reference import mean_field

stds, strengths = st.floats(0.1, 2), st.floats(0, 30)


@given(stds, strengths, st.floats(0, 50))
def test_elementary_forms_of_the_sde(std: float, w: float, time: float) -> None:
    v = std**2 + time
    u, r = 1 + v, v / (1 + v)
    shift, excess = free_moments(time, std, w)
    assert float(shift) == pytest.approx(r * (1 - r**w) / (1 - r), rel=1e-9, abs=1e-13 * v)
    variance = u * r * (1 - r ** (1 + 2 * w)) / ((1 + 2 * w) * (1 - r))
    assert v + float(excess) == pytest.approx(variance, rel=1e-9)
    # The speciation condition with U = 1 + 1/v.
    big = 1 + 1 / v
    twice = math.log(big) + 2 * w / (2 * w + 1) * (1 - big ** -(2 * w + 1))
    assert 2 * float(speciation_rate(time, std, w)) == pytest.approx(twice, rel=1e-10)


@given(stds, strengths, st.floats(0, 50), st.sampled_from([0.0, 0.4, 1.0]))
def test_before_speciation_a_class_is_one_gaussian_against_another(
    std: float, w: float, time: float, lam: float
) -> None:
    v = std**2 + time
    shift, excess = free_moments(time, std, w, lam)
    gaussian_shift, gaussian_variance = constant_gaussian(v, 1 + v, w, lam)
    assert float(shift) == pytest.approx(float(gaussian_shift), rel=1e-12)
    assert v + float(excess) == pytest.approx(float(gaussian_variance), rel=1e-9)


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("rate", "std", "w"), [(0.2, 0.5, 1.0), (0.2, 0.5, 3.0), (0.9, 0.5, 3.0), (0.05, 1.0, 0.3)])
def test_distortions_against_integration_from_far_away(rate: float, std: float, w: float, lam: float) -> None:
    # Started exactly and with a finite but large t_max, the integration forgets its start as t/t_max to the power k.
    closed = distortion(rate, std, w, lam)
    gaps = []
    for t_max in (1e4, 1e6):
        path = mean_field(rate, std, lambda t: w, t_max=t_max, exact=True, lam=lam)
        assert path.speciation_time is not None
        gaps.append(
            [
                path.mean_shift / float(closed.mean_shift) - 1,
                path.variance_shift / float(closed.variance_shift) - 1,
                path.speciation_time / float(closed.speciation_time) - 1,
            ]
        )
    shrink = 100 ** -((1 + lam**2) / 2)
    np.testing.assert_allclose(gaps[1], 0, atol=2e-4 if lam == 1 else 2e-2)
    np.testing.assert_allclose(gaps[1], np.multiply(gaps[0], shrink), rtol=0.2, atol=2e-8)


def test_without_guidance() -> None:
    rate, std = np.array([0.1, 0.5, 0.8]), 0.5
    result = distortion(rate, std, 0.0)
    np.testing.assert_array_equal(result.mean_shift, 0)
    np.testing.assert_array_equal(result.variance_shift, 0)
    np.testing.assert_allclose(result.speciation_time, 1 / np.expm1(2 * rate) - std**2, rtol=1e-12)
    assert float(critical_rate(std, 0.0)) == pytest.approx(math.log(5) / 2, rel=1e-14)


@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_no_speciation_is_nan_and_never_negative(lam: float) -> None:
    std, w = 0.5, np.array([0.0, 1.0, 10.0])
    edge = critical_rate(std, w, lam)
    below, above = (speciation_time(edge * factor, std, w, lam) for factor in (1 - 1e-6, 1 + 1e-6))
    assert (below >= 0).all()
    assert (below < 1e-5).all()
    assert np.isnan(above).all()
    # Above the critical rate the formula of the unguided class would give a negative time.
    assert 1 / np.expm1(2 * edge[0] * 1.1) - std**2 < 0


@given(stds, strengths, st.floats(0.01, 5))
def test_guidance_enlarges_the_phase_that_commits(std: float, w: float, more: float) -> None:
    assert float(critical_rate(std, w + more)) > float(critical_rate(std, w))


def test_the_critical_rate_of_strong_ode_guidance_is_met_before_the_end() -> None:
    rates = speciation_rate(np.geomspace(1e-6, 1e6, 4000), 1.0, 1000.0, 0.0)
    assert (np.diff(rates) > 0).any()  # not monotone
    assert float(critical_rate(1.0, 1000.0, 0.0)) >= rates.max()


@given(stds, strengths, st.sampled_from([0.0, 1.0]))
def test_infinitely_many_classes_are_the_limit_of_large_rates(std: float, w: float, lam: float) -> None:
    result = distortion(50.0, std, w, lam)
    assert np.isnan(result.speciation_time)
    assert (result.mean_shift, result.variance_shift) == dense_distortion(std, w, lam)


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_few_classes_are_the_limit_of_small_rates(lam: float) -> None:
    for rate, tolerance in [(1e-3, 1e-2), (1e-5, 1e-4)]:
        exact, leading = (f(rate, 0.5, 2.0, lam) for f in (distortion, few_classes))
        for name in ("mean_shift", "variance_shift", "speciation_time"):
            assert float(getattr(exact, name)) == pytest.approx(float(getattr(leading, name)), rel=tolerance)
    sde = few_classes(1e-3, 0.5, 2.0)
    assert float(sde.mean_shift) == pytest.approx(2 * 0.25 * 2 * 1e-3 / 5, rel=1e-14)
    assert float(sde.variance_shift) == pytest.approx(-4 * 0.0625 * 2 * 1e-6 / 25, rel=1e-14)


def test_strong_guidance_saturates() -> None:
    weak, strong = (distortion(0.2, 0.5, w) for w in (1e1, 1e3))
    # Speciation recedes like w, where r^w tends to sqrt(1 - 2 rate).
    assert float(strong.speciation_time) > 50 * float(weak.speciation_time)
    assert float(strong.mean_shift) == pytest.approx(0.25 * (1 - math.sqrt(1 - 0.4)), rel=2e-3)


def test_quoted_numbers() -> None:
    result = distortion(0.2, 0.5, [1.0, 3.0])
    np.testing.assert_allclose(result.mean_shift, [0.0356202, 0.0470896], rtol=1e-5)
    np.testing.assert_allclose(result.variance_shift, [-0.00140934, -0.00081264], rtol=1e-5)


def test_negative_strengths_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"theory\.predict"):
        distortion(0.2, 0.5, -0.5)
