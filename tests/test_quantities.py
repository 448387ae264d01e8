from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from orthoscope.errors import ConfigError
from orthoscope.metrics import mean_of, share_of
from orthoscope.quantities import QUANTITIES, Estimate, pool
from tests.stat.expect import expect_rate, expect_variance


def test_every_quantity_is_listed_under_its_name() -> None:
    assert all(name == quantity.name for name, quantity in QUANTITIES.items())
    assert all(quantity.symbol and quantity.unit and quantity.long_name for quantity in QUANTITIES.values())


@pytest.mark.parametrize(
    ("value", "stderr", "text"),
    [
        (0.12345, 0.0056, "0.1235(56)"),
        (12.3456, 1.5, "12.3(15)"),
        (1234.5, 37.0, "1234(37)"),
        (-0.5, 0.25, "-0.50(25)"),
        (0.123456, 0.0, "0.1235"),
        (0.5, math.nan, "0.5"),
        (math.nan, 0.1, "nan"),
    ],
)
def test_an_error_is_written_in_the_last_digits(value: float, stderr: float, text: str) -> None:
    assert str(Estimate(value=value, stderr=stderr, n=10)) == text


def test_z_counts_standard_errors() -> None:
    estimate = Estimate(value=1.0, stderr=0.2, n=10)
    assert estimate.z(0.5) == pytest.approx(2.5)
    assert estimate.z(1.5) == pytest.approx(-2.5)
    assert estimate.z(0.5, slack=0.1) == pytest.approx(2.0)
    assert estimate.z(1.05, slack=0.1) == 0


@pytest.mark.parametrize("stderr", [0.0, math.nan])
def test_without_an_error_nothing_agrees_and_nothing_differs(stderr: float) -> None:
    estimate = Estimate(value=1.0, stderr=stderr, n=10)
    assert math.isnan(estimate.z(0.5))
    assert not estimate.agrees(1.0)
    assert not estimate.differs(0.5)


def test_degrees_of_freedom_travel() -> None:
    few, many = Estimate(value=1.0, stderr=3.0, n=8, dof=3), Estimate(value=2.0, stderr=4.0, n=800)
    assert few.affine(-2.0, 1.0).dof == 3
    assert few.plus(many).dof == 23  # Welch: 5^4 / (3^4 / 3)
    assert few.minus(few).dof == 6
    assert few.minus(few).stderr == pytest.approx(3 * math.sqrt(2))
    assert many.plus(many).dof is None
    assert few.minus(many).value == -1.0


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.01, 1)), min_size=1, max_size=8))
def test_pooling_is_the_mean_with_the_larger_of_two_errors(draws: list[tuple[float, float]]) -> None:
    values, errors = np.array(draws).T
    pooled = pool([Estimate(value=v, stderr=s, n=10) for v, s in draws])
    within = math.sqrt((errors**2).sum()) / len(draws)
    between = values.std(ddof=1) / math.sqrt(len(draws)) if len(draws) > 1 else 0.0
    assert pooled.value == pytest.approx(values.mean(), abs=1e-12)
    assert pooled.stderr == pytest.approx(max(within, between), rel=1e-12)
    assert pooled.stderr_within == pytest.approx(within, rel=1e-12)
    assert pooled.n == 10 * len(draws)


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.01, 9)), min_size=2, max_size=8))
def test_ratios_pool_to_the_ratio_of_sums(draws: list[tuple[float, float]]) -> None:
    tops, bottoms = np.array(draws).T
    pooled = pool([Estimate(value=a / b, stderr=0.1 / b, n=10, weight=b) for a, b in draws])
    left = np.array([(tops.sum() - a) / (bottoms.sum() - b) for a, b in draws])
    jackknife = math.sqrt((len(draws) - 1) / len(draws) * ((left - tops.sum() / bottoms.sum()) ** 2).sum())
    within = 0.1 * math.sqrt(len(draws)) / bottoms.sum()
    assert pooled.value == pytest.approx(tops.sum() / bottoms.sum(), abs=1e-12)
    assert pooled.stderr == pytest.approx(max(jackknife, within), rel=1e-9, abs=1e-12)
    assert pooled.stderr_within == pytest.approx(within, rel=1e-12)
    assert pooled.dof == (len(draws) - 1 if jackknife > within else None)


def test_a_single_ratio_stays_what_it_is() -> None:
    one = Estimate(value=0.1, stderr=0.03, n=7, weight=0.3)
    assert (pool([one]).value, pool([one]).stderr, pool([one]).dof) == (0.1, 0.03, None)


@pytest.mark.parametrize("dim", [1, 2])
def test_errors_of_ratios_cover_where_ratios_have_no_moments(dim: int, seed: int) -> None:
    """Overlaps 1.2 plus noise over |m|^2, m normal, 32 draws: Student's limit at 5 % misses it in 6 %."""
    stream = np.random.default_rng(seed)
    missed, plain = [], []
    for _ in range(1000):
        squares = stream.chisquare(dim, 32)
        values = 1.2 + 0.3 * stream.standard_normal(32) / np.sqrt(squares)
        found = pool([Estimate(value=v, stderr=0.0, n=8, weight=b) for v, b in zip(values, squares, strict=True)])
        missed.append(abs(found.z(1.2)) > found.limit(0.05))
        plain.append(values.mean())
    expect_rate(missed, 0.06, detect=0.1, false_fail=1e-6 / 2)
    if dim == 1:  # the mean of ratios has no variance: its spread is that of the largest
        assert np.abs(np.array(plain) - 1.2).max() > 30 * np.median(np.abs(np.array(plain) - 1.2))


@pytest.mark.parametrize(("draws", "units"), [(1, 64), (2, 16), (4, 32), (100, 800)])
def test_failures_that_did_not_come_are_allowed_for(draws: int, units: int) -> None:
    found = pool([share_of(np.ones(64))] * draws)
    near = (units + 2) / (units + 4)
    assert (found.value, found.stderr_within) == (1.0, 0.0)
    assert found.stderr == pytest.approx(math.sqrt(near * (1 - near) / (units + 4)), rel=1e-12)
    assert found.dof == 4
    lost = pool([share_of(np.zeros(64))] * draws)
    assert (lost.value, lost.stderr, lost.dof) == (0.0, pytest.approx(found.stderr, rel=1e-12), 4)
    assert not found.differs(1 - 1 / units)
    assert found.agrees(1.0)


def test_certain_draws_leave_as_much_to_allow_for_whatever_their_number() -> None:
    # Shares 1/n do not sum to 1 in most cases; a posterior may round to 1, or nearly.
    for draws in range(2, 65):
        found = pool([share_of(np.ones(64))] * draws)
        assert (found.value, found.dof) == (1.0, 4)
        assert found.stderr > 0.2 / (8 * draws)
    assert share_of(np.full(8, 1 - 1e-13)).stderr == pytest.approx(share_of(np.ones(8)).stderr, rel=1e-6)


@pytest.mark.slow
def test_few_trajectories_are_few_degrees_of_freedom_pooled_or_not(seed: int) -> None:
    stream = np.random.default_rng(seed)
    one = mean_of(stream.standard_normal(8))
    assert pool([one]).dof == one.dof == 7
    same = [one, one, one]  # no spread between draws: Welch's, of all
    assert pool(same).dof == 21
    alarms = [pool([mean_of(stream.standard_normal(8))]).differs(0.0, false_alarm=0.02) for _ in range(6000)]
    expect_rate(alarms, 0.02, detect=0.03, false_fail=1e-6)


def test_probabilities_that_hardly_vary_leave_little_to_allow_for(seed: int) -> None:
    stream = np.random.default_rng(seed)
    draws = [0.5 + 1e-3 * stream.standard_normal(64) for _ in range(8)]
    found, plain = pool([share_of(x) for x in draws]), pool([mean_of(x) for x in draws])
    assert found.value == plain.value
    assert plain.stderr <= found.stderr < 5e-4
    coin = pool([share_of(stream.integers(0, 2, 500)) for _ in range(100)])  # as many as that show what there is
    assert coin.stderr == pytest.approx(0.5 / math.sqrt(50_000), rel=0.4)


@pytest.mark.parametrize("draws", [2, 4, 8])
@pytest.mark.parametrize("luck", [0.0, 0.2])
def test_errors_of_shares_cover_near_one(draws: int, luck: float, seed: int) -> None:
    """Student's limit at 5 % is missed by no more than 8 %, 1 % seen, at any value; plain errors mostly miss.

    Draws have probabilities of their own, from a beta law that takes `luck` of the variance.
    """
    stream, missed, plain = np.random.default_rng(seed), [], []
    for truth in (0.9, 0.99, 0.999, 1 - 1e-5):
        for _ in range(60):
            size = (1 / luck - 1) if luck else 1e9
            p = stream.beta(size * truth, size * (1 - truth), (draws, 1))
            rows = (stream.random((draws, 64)) < p).astype(float)
            missed.append(not pool([share_of(row) for row in rows]).agrees(truth, false_alarm=0.05))
            plain.append(not pool([mean_of(row) for row in rows]).agrees(truth, false_alarm=0.05))
    assert sum(missed) <= stats.binom.isf(1e-6 / 6, len(missed), 0.08)
    assert sum(plain) > len(plain) / 3


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_the_pooled_error_covers_both_levels(spread: float, seed: int) -> None:
    # Modes shift each draw by `spread`, trajectories by 0.3: z-scores of the mean over 20 draws.
    stream = np.random.default_rng(seed)
    z = []
    for _ in range(3000):
        values = spread * stream.standard_normal(20) + 0.3 * stream.standard_normal(20)
        z.append(pool([Estimate(value=v, stderr=0.3, n=100) for v in values]).z(0.0))
    # Without a spread of modes the larger of two equal errors overcovers a little: E[1/max(1, chi2/19)] = 0.910.
    # With it the z-scores follow Student's law of 19 degrees, whose variance is 19/17.
    expect_variance(z, 19 / 17 if spread else 0.91, detect=0.35)


def test_nothing_cannot_be_pooled() -> None:
    with pytest.raises(ConfigError, match="at least one draw to pool, got none"):
        pool([])


def test_an_interval_is_student_s_where_draws_are_few() -> None:
    """95 % quantiles of the normal law and of Student's t with 4 degrees of freedom: 1.95996, 2.77645."""
    many = Estimate(value=1.0, stderr=0.1, n=1000)
    np.testing.assert_allclose(many.interval(), (1 - 0.195996, 1 + 0.195996), atol=1e-6)
    np.testing.assert_allclose(replace(many, dof=4).interval(), (1 - 0.277645, 1 + 0.277645), atol=1e-6)
    np.testing.assert_allclose(many.interval(0.5), (1 - 0.0674490, 1 + 0.0674490), atol=1e-6)


def test_products_have_the_error_of_first_order() -> None:
    one, other = Estimate(value=3.0, stderr=0.1, n=10), Estimate(value=-2.0, stderr=0.05, n=20)
    product = one.times(other)
    assert product.value == -6.0
    assert product.stderr == pytest.approx(math.hypot(2 * 0.1, 3 * 0.05), rel=1e-12)
    assert one.times(-2.0) == one.affine(-2.0)
    draws = np.random.default_rng(0).normal([3.0, -2.0], [0.1, 0.05], (200_000, 2)).prod(1)
    assert draws.std() == pytest.approx(product.stderr, rel=0.01)
