"""The guided SDE of two Gaussian classes: closed forms, its martingale, paths simulated on other grounds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from orthoscope import metrics
from orthoscope.errors import ConfigError
from orthoscope.theory.two_class_sde import sde_inverse_posterior, sde_moments
from tests.stat.expect import expect_estimate


def test_without_guidance_the_class_and_at_minus_one_the_whole() -> None:
    dim = 4
    assert sde_moments(0.0, dim=dim) == pytest.approx((math.sqrt(dim), 1.0), abs=1e-9)
    assert sde_moments(-1.0, dim=dim) == pytest.approx((0.0, math.sqrt(1 + dim)), abs=1e-6)


def test_a_start_that_knows_the_class_forgets_nothing_and_the_prior_costs_its_share() -> None:
    assert sde_moments(0.0, dim=4, t_max=3.0, start="exact") == pytest.approx((2.0, 1.0), abs=1e-9)
    assert sde_moments(0.0, dim=4, t_max=3.0) == pytest.approx((2 - 2 / 4, 1.0), abs=1e-9)


@pytest.mark.parametrize(("strength", "mean", "std"), [(1.0, 0.481578, 0.819787), (4.0, 1.070088, 0.718983)])
def test_overshoot_in_one_dimension(strength: float, mean: float, std: float) -> None:
    # By Crank-Nicolson on an even grid, extrapolated: another discretization of the same equation.
    assert sde_moments(strength) == pytest.approx((1 + mean, std), abs=3e-6)


@pytest.mark.parametrize(("strength", "dim"), [(4.0, 1), (1.0, 16), (-0.5, 4)])
def test_paths_end_with_the_moments_of_the_equation(strength: float, dim: int, seed: int) -> None:
    # Heun steps of the noised state itself, in even steps of 1/(1 + t), beside an unguided path whose mean is known.
    stream, rows, steps = np.random.default_rng(seed), 20_000, 300
    u = np.zeros(rows)
    noise = np.zeros(rows)
    for _ in range(steps):
        z = math.sqrt(dim / steps) * stream.standard_normal(rows)
        first = 1 + strength * (1 - np.tanh(u))
        second = 1 + strength * (1 - np.tanh(u + first * dim / steps + z))
        u += (first + second) / 2 * dim / steps + z
        noise += z
    mean, std = sde_moments(strength, dim=dim)
    found = metrics.mean_of((u - noise) / math.sqrt(dim))
    expect_estimate(found.value, found.stderr, mean, bias=0.003 * abs(strength), detect=0.06, false_fail=5e-7)
    spread = metrics.variance(u[:, None] / math.sqrt(dim))
    expect_estimate(spread.value, spread.stderr, std**2, bias=0.004, detect=0.2 * std**2, false_fail=5e-7)


def test_the_overshoot_halves_as_the_dimension_grows_fourfold() -> None:
    overshoot = [sde_moments(4.0, dim=dim).mean - math.sqrt(dim) for dim in (16, 64)]
    assert overshoot[1] == pytest.approx(0.162284, abs=2e-6)
    assert overshoot[0] / overshoot[1] == pytest.approx(2.0, abs=1e-4)


def test_the_inverse_posterior_is_the_number_of_classes_and_falls() -> None:
    assert sde_inverse_posterior(0.0, dim=4) == pytest.approx(2.0, abs=1e-9)
    assert sde_inverse_posterior(0.0, t_max=1.0) == pytest.approx(1 + math.e, abs=1e-6)  # the prior, tilted
    values = [sde_inverse_posterior(w) for w in (0.0, 0.5, 4.0)]
    assert np.all(np.diff(values) < 0)
    assert values[-1] > 1


def test_any_strength_that_paths_can_be_followed_at() -> None:
    # The drift lifts u to log(w)/2 and more at once: the mean grows by log(10)/2/sqrt(d) per factor of 10.
    means = [sde_moments(w, dim=4).mean for w in (1e4, 1e6)]
    assert means[1] - means[0] == pytest.approx(math.log(100) / 4, abs=1e-3)


def test_unusable_settings_are_refused() -> None:
    for kwargs in ({"dim": 0}, {"t_max": 0.0}, {"t_max": math.nan}):
        with pytest.raises(ConfigError, match="dimension of 1 or more"):
            sde_moments(1.0, **kwargs)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="strength must be finite and >= -1"):
        sde_inverse_posterior(-2.0)
    with pytest.raises(ConfigError, match=r"a t_max of 2\.86 or more"):
        sde_inverse_posterior(0.0, dim=1000, t_max=1.0)
    assert math.isfinite(sde_inverse_posterior(0.0, dim=1000, t_max=2.9))
