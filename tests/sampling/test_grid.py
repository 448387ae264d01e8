from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthoscope.errors import ConfigError
from orthoscope.process import EDM, OrnsteinUhlenbeck, RectifiedFlow, VarianceExploding
from orthoscope.sampling import equalized, geometric, grid, posterior_variance, refined, through
from orthoscope.targets import Gaussian, mixture

CARRIER = VarianceExploding(offset=0.25)


def variances(levels: object) -> np.ndarray:
    return np.array([level.variance for level in levels.levels])


@given(t_max=st.floats(0.1, 1e4), steps=st.integers(1, 60), offset=st.floats(1e-3, 10))
def test_geometric_levels_have_equal_ratios_and_exact_ends(t_max: float, steps: int, offset: float) -> None:
    levels = geometric(VarianceExploding(offset=offset), t_max, steps)
    v = variances(levels)
    np.testing.assert_allclose(v[1:] / v[:-1], (offset / (offset + t_max)) ** (1 / steps), rtol=1e-9)
    assert (levels.times[0], levels.times[-1], levels.steps) == (t_max, 0.0, steps)


def test_a_grid_may_end_in_noise() -> None:
    levels = geometric(VarianceExploding(), 16.0, 4, end=1.0)
    np.testing.assert_allclose(levels.times, [16, 8, 4, 2, 1], rtol=1e-9)


@pytest.mark.parametrize("process", [VarianceExploding, OrnsteinUhlenbeck, EDM, RectifiedFlow])
def test_levels_are_numbered_and_carry_their_chart(process: type[VarianceExploding]) -> None:
    chart = process(offset=0.5)
    levels = geometric(chart, 9.0, 6).levels
    assert [level.step for level in levels] == list(range(7))
    assert {level.steps for level in levels} == {6}
    for level in levels:
        assert chart.variance(level.t) == pytest.approx(level.time, rel=1e-12, abs=1e-15)
        assert level.alpha == pytest.approx(float(chart.alpha(level.t)), rel=1e-15)
        assert level.variance == level.time + 0.5


def test_refined_levels_crowd_round_the_center_and_fade_to_geometric() -> None:
    plain, fine = geometric(CARRIER, 50, 40), refined(CARRIER, 50, 40, center=2.0, width=0.1)
    near = [np.sum(np.abs(np.log(variances(g) / 2.25)) < 0.1) for g in (plain, fine)]
    # Half of the 40 levels follow a tanh, 76 % of which lies within one width.
    assert near[0] <= 2
    assert 14 <= near[1] <= 18
    np.testing.assert_allclose(refined(CARRIER, 50, 40, center=2, width=0.1, weight=0).times, plain.times, atol=1e-9)
    np.testing.assert_allclose(refined(CARRIER, 50, 40, center=2, width=1e4).times, plain.times, rtol=1e-3, atol=1e-3)


def test_equalized_levels_share_the_drop_of_the_posterior_variance() -> None:
    def drop(level: object) -> float:
        return 1 / (1 + 1 / level.variance)

    share = np.array(
        [drop(level) for level in equalized(CARRIER, 50, 10, posterior_variance=drop, weight=0.999).levels]
    )
    np.testing.assert_allclose(np.diff(share), (share[-1] - share[0]) / 10, rtol=0.1)
    flat = equalized(CARRIER, 50, 10, posterior_variance=lambda level: 3.0, weight=0.5)
    np.testing.assert_allclose(flat.times, geometric(CARRIER, 50, 10).times, rtol=1e-6, atol=1e-9)


def test_posterior_variance_of_a_gaussian_is_exact_up_to_its_draws() -> None:
    law = Gaussian(mean=torch.zeros(3).double(), variance=torch.tensor([1.0, 2.0, 0.5]).double())
    level = VarianceExploding().at(0.7)
    exact = float((law.variance * 0.7 / (law.variance + 0.7)).sum())
    assert posterior_variance(law, n=4000)(level) == pytest.approx(exact, rel=0.1)


def test_jumps_are_inserted_once_and_only_inside() -> None:
    base = grid(CARRIER, [4.0, 1.0, 0.0])
    assert through(base, CARRIER, [5.0, 4.0, 2.5, 1.0, 0.0]).times == (4.0, 2.5, 1.0, 0.0)
    assert through(base, CARRIER, [math.inf]).times == base.times
    assert [level.step for level in through(base, CARRIER, [2.5]).levels] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0.0], "at least two finite times"),
        ([2.0, -1.0], "all >= 0"),
        ([math.inf, 0.0], "finite times"),
        ([math.nan, 0.0], "finite times"),
        ([1.0, 1.0, 0.0], "strictly descending"),
        ([1.0, 2.0, 0.0], "strictly descending"),
    ],
)
def test_unusable_times_are_refused(times: list[float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        grid(CARRIER, times)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: geometric(CARRIER, 0.0, 3), "t_max must be finite and > 0"),
        (lambda: geometric(CARRIER, math.inf, 3), "t_max must be finite and > 0"),
        (lambda: geometric(CARRIER, 1.0, 0), "steps must be >= 1"),
        (lambda: geometric(VarianceExploding(), 1.0, 3), "offset > 0, or an end > 0"),
        (lambda: geometric(CARRIER, 1.0, 3, end=1.0), "below t_max"),
        (lambda: geometric(CARRIER, 1.0, 3, end=-0.1), "from 0 to below"),
        (lambda: refined(CARRIER, 1.0, 3, center=1, width=0), "width > 0"),
        (lambda: refined(CARRIER, 1.0, 3, center=-1, width=1), "center >= 0"),
        (lambda: refined(CARRIER, 1.0, 3, center=1, width=1, weight=1), "weight < 1"),
        (lambda: equalized(CARRIER, 1.0, 3, posterior_variance=lambda level: 1.0, weight=1), "weight must lie"),
    ],
)
def test_unusable_settings_are_refused(call: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call()


def test_a_measured_posterior_variance_places_levels_where_a_mixture_decides(seed: int) -> None:
    # Two points at distance 6: the posterior variance drops near sigma = 3, and nowhere else.
    points = mixture(torch.tensor([[-3.0], [3.0]]).double(), std=0.1).absorbed()[0]
    carrier = VarianceExploding(offset=0.01)
    measured = posterior_variance(points, seed=seed)
    levels = equalized(carrier, 1e4, 40, posterior_variance=measured)
    inside = [g.times for g in (geometric(carrier, 1e4, 40), levels)]
    counts = [sum(2 < t < 60 for t in times) for times in inside]
    assert counts[1] > 2 * counts[0]


def test_nothing_is_inserted_below_the_end_of_a_grid() -> None:
    base = geometric(CARRIER, 10.0, 4, end=0.01)
    assert through(base, CARRIER, [20.0, 10.0, 0.5, 0.01, 0.001]).times == tuple(
        sorted({*base.times, 0.5}, reverse=True)
    )
