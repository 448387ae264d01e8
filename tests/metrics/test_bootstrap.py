from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from orthoscope.errors import ConfigError
from orthoscope.metrics.bootstrap import Measure, Sample, interval, intervals
from orthoscope.rng import stream
from tests.stat.expect import expect_rate

seeds = st.integers(0, 2**32)


def percentile(values: np.ndarray, draws: np.random.Generator) -> tuple[float, float]:
    """The textbook's bootstrap interval."""
    means = values[draws.integers(0, len(values), (500, len(values)))].mean(1)
    return tuple(np.quantile(means, [0.025, 0.975]))


# Exact parts


@given(seed=seeds, sizes=st.lists(st.integers(2, 8), min_size=1, max_size=5))
def test_value_and_error_are_those_of_a_stratified_mean(seed: int, sizes: list[int]) -> None:
    draws = np.random.default_rng(seed)
    strata = [draws.standard_normal(n) for n in sizes]
    found = interval(strata, stream(0))
    errors = [v.var(ddof=1) / len(v) for v in strata]
    assert found.value == pytest.approx(np.mean([v.mean() for v in strata]), abs=1e-12)
    assert found.stderr == pytest.approx(math.sqrt(sum(errors)) / len(strata), rel=1e-10)
    assert found.low <= found.value <= found.high
    assert found.n == sum(sizes)
    welch = sum(errors) ** 2 / sum(e**2 / (n - 1) for e, n in zip(errors, sizes, strict=True))
    assert found.dof == pytest.approx(welch, rel=1e-9)


@given(seed=seeds, scale=st.floats(0.01, 100), shift=st.floats(-10, 10))
def test_intervals_keep_their_shape_in_other_units(seed: int, scale: float, shift: float) -> None:
    values = np.random.default_rng(seed).exponential(size=12)
    one, other = (interval([v], stream(1)) for v in (values, shift + scale * values))
    for end in ("value", "low", "high"):
        assert getattr(other, end) == pytest.approx(shift + scale * getattr(one, end), abs=1e-9 * max(scale, 10))


def test_normal_values_get_students_interval(seed: int) -> None:
    # Resampling noise: 40,000 resamples put about 1 percent on each end, several of which are allowed.
    values = stats.norm.ppf((np.arange(8) + 0.5) / 8)
    found = interval([values], stream(seed), resamples=40_000)
    half = stats.t.ppf(0.975, 7) * values.std(ddof=1) / math.sqrt(8)
    assert (found.low, found.high) == (pytest.approx(-half, rel=0.06), pytest.approx(half, rel=0.06))


def test_skewed_values_get_a_skewed_interval(seed: int) -> None:
    values = np.random.default_rng(seed).exponential(size=30) ** 2
    found = interval([values], stream(seed))
    mirrored = interval([-values], stream(seed))
    assert found.high - found.value > 1.1 * (found.value - found.low)
    assert mirrored.value - mirrored.low > 1.1 * (mirrored.high - mirrored.value)


def test_what_does_not_vary_has_no_width_and_bounds_cut() -> None:
    found = interval([np.full(5, 0.1), np.full(3, 0.1)], stream(0))
    assert (found.low, found.high, found.dof) == (found.value, found.value, math.inf)
    cut = interval([np.array([1.0, 1.0, 1.0, 0.0])], stream(0), bounds=(0.0, 1.0))
    assert (cut.value, cut.high) == (0.75, 1.0)
    assert cut.low < 0.5


def test_a_share_never_found_wanting_has_room_for_what_was_not_drawn(seed: int) -> None:
    # All of 60 say yes: at least 0.025^(1/60), the exact bound of the binomial law, to first order.
    always = interval([np.ones(60)], stream(0), bounds=(0.0, 1.0), grain=1 / 60)
    assert (always.value, always.high) == (1, 1)
    assert always.low == pytest.approx(0.025 ** (1 / 60), abs=2e-3)
    # One in fifty says no, and often none of sixty: without room, the negative control, there would be no width then.
    draws = np.random.default_rng(seed)
    hits, bare = [], []
    for _ in range(600):
        values = (draws.random(60) < 0.98).astype(float)
        hits.append(interval([values], draws, resamples=200, bounds=(0.0, 1.0), grain=1 / 60).holds(0.98))
        bare.append(interval([values], draws, resamples=200, bounds=(0.0, 1.0)).holds(0.98))
    expect_rate(hits, 0.965, detect=0.12)
    with pytest.raises(AssertionError, match="is not a rate"):
        expect_rate(bare, 0.965, detect=0.12)


def test_a_measure_is_an_estimate_and_an_object() -> None:
    found = Measure(value=1.0, low=0.5, high=1.5, stderr=0.2, n=7, dof=6.0)
    assert found.to_dict() == {"value": 1.0, "low": 0.5, "high": 1.5}
    assert (found.estimate.stderr, found.estimate.n, found.estimate.dof) == (0.2, 7, 6)
    assert str(found) == "1 [0.5, 1.5]"
    assert found.holds(0.5)
    assert not found.holds(1.51)


def test_the_stream_decides_and_nothing_else() -> None:
    values = [np.random.default_rng(0).standard_normal(9)]
    assert interval(values, stream(3)) == interval(values, stream(3))
    assert interval(values, stream(3)) != interval(values, stream(4))


@given(seed=seeds, sizes=st.lists(st.integers(2, 8), min_size=1, max_size=3))
def test_neither_the_order_of_values_nor_their_rounding_moves_an_end(seed: int, sizes: list[int]) -> None:
    # Of four values each drawn once, sums are 0 but for rounding, and on which side of it must not matter.
    draws = np.random.default_rng(seed)
    strata = [draws.standard_normal(n) for n in sizes]
    found = interval(strata, stream(0), resamples=200)
    other = interval([draws.permutation(v) for v in strata], stream(0), resamples=200)
    rounded = interval([v * (1 + 1e-9 * draws.standard_normal(len(v))) for v in strata], stream(0), resamples=200)
    for end in ("low", "high"):
        assert getattr(other, end) == pytest.approx(getattr(found, end), abs=1e-12)
        assert getattr(rounded, end) == pytest.approx(getattr(found, end), abs=1e-6)


def test_samples_resampled_together_get_to_the_last_digit_what_each_gets_alone(seed: int) -> None:
    draws = np.random.default_rng(seed)
    samples = [
        Sample(strata=[draws.standard_normal(7), draws.standard_normal(4)]),
        Sample(strata=[np.full(7, 0.1), np.full(4, 0.1)]),  # nothing to resample
        Sample(strata=[draws.random(7), draws.random(4)], bounds=(0.0, 0.5), grain=0.01),
    ]
    alone = [interval(one.strata, stream(1), bounds=one.bounds, grain=one.grain) for one in samples]
    assert intervals(samples, stream(1)) == alone
    assert intervals(samples[::-1], stream(1)) == alone[::-1]
    assert intervals([], stream(1)) == []


# Coverage


@pytest.mark.slow
def test_intervals_cover_nearly_as_often_as_they_say(seed: int) -> None:
    # Five normal values: 0.94 instead of 0.95. Textbook percentiles, the negative control, are far too narrow.
    draws, truth = np.random.default_rng(seed), 2.0
    ours, textbook = [], []
    for _ in range(2000):
        values = draws.normal(truth, 3.0, 5)
        ours.append(interval([values], draws, resamples=500).holds(truth))
        low, high = percentile(values, draws)
        textbook.append(low <= truth <= high)
    expect_rate(ours, 0.94, detect=0.07)
    with pytest.raises(AssertionError, match="is not a rate"):
        expect_rate(textbook, 0.94, detect=0.07)


@pytest.mark.parametrize("n", [2, 3])
def test_the_fewest_values_are_covered_like_many(n: int, seed: int) -> None:
    # Drawn with replacement, two values have three sums: such intervals hold the truth in 0.82 of all cases.
    draws = np.random.default_rng(seed)
    hits = [interval([draws.standard_normal(n)], draws, resamples=400).holds(0.0) for _ in range(1000)]
    expect_rate(hits, 0.95, detect=0.09)


@pytest.mark.slow
def test_strata_of_two_values_are_not_too_narrow(seed: int) -> None:
    # Without n/(n - 1) inside the strata the interval would have 0.7 of its width.
    draws = np.random.default_rng(seed)
    hits = [
        interval([draws.normal(mean, 1.0, 2) for mean in range(12)], draws, resamples=500).holds(5.5)
        for _ in range(1500)
    ]
    expect_rate(hits, 0.965, detect=0.065)


# Mistakes


def test_what_has_no_interval_is_refused() -> None:
    values = [np.arange(4.0)]
    with pytest.raises(ConfigError, match="at least 2 values in every stratum, got 1"):
        interval([*values, np.ones(1)], stream(0))
    with pytest.raises(ConfigError, match=r"level must be in \[0.5, 1\), got 95"):
        interval(values, stream(0), level=95)
    with pytest.raises(ConfigError, match="at least 100 resamples, got 10"):
        interval(values, stream(0), resamples=10)
    with pytest.raises(ConfigError, match="need strata of the same sizes"):
        intervals([Sample(strata=values), Sample(strata=[np.arange(5.0)])], stream(0))
