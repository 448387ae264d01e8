"""Condensed weights: the exact integral against modes that are drawn, and its limit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from orthoscope import metrics
from orthoscope.errors import ConfigError
from orthoscope.theory.condensation import frozen_power, weight_square
from orthoscope.theory.energy import GaussianModes
from tests.stat.expect import expect_estimate


def test_the_power_is_one_where_weights_begin_to_condense() -> None:
    square, variance = 2.0, 1.0
    rate = float(GaussianModes().condensation_rate(np.array([square]), np.array([variance]))[0])
    assert frozen_power(rate, square, variance) == pytest.approx(1.0, abs=1e-12)
    n, psi = (
        frozen_power(0.2, square, variance),
        lambda n: -math.log1p(n / variance) / 2 - n * square / 2 / (variance + n),
    )
    slope = (psi(n + 1e-6) - psi(n - 1e-6)) / 2e-6
    assert 0.2 + psi(n) - n * slope == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("dim", "square"), [(12, 2.0), (30, 2.0), (30, 1.2)])
def test_the_integral_is_the_mean_over_drawn_modes(dim: int, square: float, seed: int) -> None:
    stream, rate, variance = np.random.default_rng(seed), 0.2, 1.0
    many = round(math.exp(rate * dim))
    x = np.full(dim, math.sqrt(square))
    energy = ((x - stream.standard_normal((600, many, dim))) ** 2).sum(2) / (2 * variance)
    weights = np.exp(energy.min(1, keepdims=True) - energy)
    found = metrics.mean_of(((weights / weights.sum(1, keepdims=True)) ** 2).sum(1))
    theory = weight_square(math.log(many) / dim, square, variance, dim)
    expect_estimate(found.value, found.stderr, theory, detect=0.12)


def test_one_mode_has_all_of_the_weight_and_many_tend_to_the_random_energy_model() -> None:
    assert weight_square(1e-9, 2.0, 1.0, 20) == pytest.approx(1.0, abs=1e-5)
    values = [weight_square(0.2, 2.0, 1.0, dim) for dim in (1000, 2000, 4000)]
    limit = 1 - frozen_power(0.2, 2.0, 1.0)
    assert values[0] > values[1] > values[2] > limit
    extrapolated = values[2] - (values[2] - values[1]) ** 2 / (values[2] - 2 * values[1] + values[0])
    assert extrapolated == pytest.approx(limit, abs=3e-4)


def test_weights_that_are_not_condensed_are_refused() -> None:
    with pytest.raises(ConfigError, match="no weight is condensed"):
        weight_square(0.5, 2.0, 1.0, 20)


def test_sums_too_long_for_memory_are_refused() -> None:
    with pytest.raises(ConfigError, match="within 600"):
        weight_square(0.2, 1.0, 0.01, 20)
