from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthoscope.errors import ConfigError, ShapeError
from orthoscope.metrics.contributions import (
    Contributions,
    as_features,
    blocks_of,
    joined,
    leaving_out,
    rows_of,
)
from orthoscope.rng import stream

seeds = st.integers(0, 2**32)
GROUPS = np.repeat(["b", "a", "c"], 4)


def contributions(seed: int, *, shift: float = 0.0) -> Contributions:
    return Contributions(values=shift + np.random.default_rng(seed).standard_normal(12), groups=GROUPS)


# Exact parts


@given(seed=seeds, sizes=st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_the_measure_is_the_mean_of_the_groups_means(seed: int, sizes: list[int]) -> None:
    draws = np.random.default_rng(seed)
    groups = draws.permutation(np.repeat(np.arange(len(sizes)), sizes))
    values = draws.standard_normal(len(groups))
    expected = np.mean([values[groups == g].mean() for g in range(len(sizes))])
    assert Contributions(values=values, groups=groups).value == pytest.approx(expected, abs=1e-12)


@given(groups=st.lists(st.sampled_from(["x", "y", "z"]), min_size=1, max_size=20))
def test_rows_of_groups_are_all_rows_in_their_order(groups: list[str]) -> None:
    found = rows_of(np.array(groups))
    assert [[groups[row] for row in rows] for rows in found] == [[g] * groups.count(g) for g in sorted(set(groups))]
    assert all((np.diff(rows) > 0).all() for rows in found)


def test_over_prompts_the_means_count_and_over_images_what_is_within() -> None:
    # Prompts without spread within: no error over images. Equal prompts: none over prompts.
    across = Contributions(values=np.repeat([1.0, 2.0, 4.0], 4), groups=GROUPS)
    assert across.measure(stream(0), over="images").stderr < 1e-12
    assert across.measure(stream(0)).stderr == pytest.approx(np.std([1, 2, 4], ddof=1) / np.sqrt(3))
    within = Contributions(values=np.tile([1.0, 2.0, 4.0, 5.0], 3), groups=GROUPS)
    assert within.measure(stream(0)).stderr < 1e-12
    error = np.std([1, 2, 4, 5], ddof=1) / np.sqrt(12)
    assert within.measure(stream(0), over="images").stderr == pytest.approx(error)


@given(seed=seeds)
def test_common_seeds_cancel_in_a_difference(seed: int) -> None:
    one, moved = contributions(seed), contributions(seed, shift=0.3)
    for over in ("prompts", "images"):
        found = moved.minus(one).measure(stream(0), over=over)
        assert (found.value, found.low, found.high) == pytest.approx((0.3, 0.3, 0.3), abs=1e-9)


@given(seed=seeds)
def test_a_ratio_has_the_value_and_to_first_order_the_changes_of_a_ratio(seed: int) -> None:
    top, bottom = contributions(seed, shift=5.0), contributions(seed + 1, shift=8.0)
    ratio = top.per(bottom)
    assert ratio.value == pytest.approx(top.value / bottom.value, rel=1e-12)
    # Weights 1 + step * change, with changes that add up to nothing.
    step, change = 1e-6, np.random.default_rng(seed).standard_normal(12)
    change -= change.mean()
    moved = (top.values @ (1 + step * change)) / (bottom.values @ (1 + step * change))
    assert (moved - ratio.value) / step == pytest.approx(ratio.values @ change / 12, rel=1e-4, abs=1e-5)


@given(seed=seeds)
def test_an_inverse_is_the_ratio_of_one(seed: int) -> None:
    below = contributions(seed, shift=8.0)
    ratio = Contributions(values=np.ones(12), groups=GROUPS).per(below)
    np.testing.assert_allclose(below.inverse().values, ratio.values, rtol=1e-12)
    assert below.inverse().bounds == (0.0, math.inf)
    assert replace(below, bounds=(0.0, 1.0)).inverse().bounds == (1.0, math.inf)
    with pytest.raises(ConfigError, match="cannot invert -1: too few images to tell it from 0"):
        Contributions(values=-np.ones(12), groups=GROUPS).inverse()


@given(seed=seeds, n=st.integers(3, 60))
def test_leaving_rows_out_of_a_mean_gives_back_the_rows(seed: int, n: int) -> None:
    values = np.random.default_rng(seed).standard_normal(n)
    found, resolved = leaving_out(lambda rows: float(values[rows].mean()), n, least=1)
    assert resolved
    assert found.mean() == pytest.approx(values.mean(), abs=1e-12)
    if n <= 20:
        np.testing.assert_allclose(found, values, atol=1e-10)


@given(seed=seeds, n=st.sampled_from([5, 12, 40]))
def test_leaving_out_keeps_the_plain_value_bias_included(seed: int, n: int) -> None:
    x = np.random.default_rng(seed).standard_normal(n)
    found, _ = leaving_out(lambda rows: float(x[rows].var()), n, least=2)
    assert found.mean() == pytest.approx(x.var(), rel=1e-10)


@given(seed=seeds, n=st.integers(21, 60))
def test_blocks_of_unequal_length_add_no_spread_of_their_own(seed: int, n: int) -> None:
    shift = 1e3 * np.random.default_rng(seed).standard_normal()
    found, _ = leaving_out(lambda rows: shift + 0.0 * len(rows), n, least=1)
    assert np.ptp(found) < 1e-9


@given(n=st.integers(1, 100))
def test_blocks_are_all_rows_once_the_largest_first(n: int) -> None:
    blocks = blocks_of(n)
    assert list(itertools.chain.from_iterable(blocks)) == list(range(n))
    assert len(blocks) == min(n, 20)
    assert len(blocks[0]) - len(blocks[-1]) in (0, 1)


def test_prompts_measured_one_at_a_time_are_all_prompts() -> None:
    whole = contributions(0)
    parts = [Contributions(values=whole.values[rows], groups=GROUPS[rows]) for rows in rows_of(GROUPS)]
    assert joined(parts).value == pytest.approx(whole.value, rel=1e-12)
    assert joined(parts).measure(stream(0)) == whole.measure(stream(0))
    with pytest.raises(ConfigError, match="at least one prompt, got none"):
        joined([])


def test_features_keep_single_precision_and_lose_half() -> None:
    for kind, kept in ((np.float32, np.float32), (np.float16, np.float64), (np.int64, np.float64)):
        assert as_features(np.ones((4, 2), dtype=kind), [0, 0, 1, 1])[0].dtype == kept


# Mistakes


def test_what_cannot_be_resampled_is_refused() -> None:
    one = Contributions(values=np.arange(4.0), groups=np.zeros(4))
    with pytest.raises(ConfigError, match="one prompt says nothing about other prompts; resample over='images'"):
        one.measure(stream(0))
    single = Contributions(values=np.arange(4.0), groups=np.arange(4))
    with pytest.raises(ConfigError, match="too few images in a prompt to tell their error"):
        single.measure(stream(0), over="images")
    with pytest.raises(ConfigError, match="contributions hold NaN"):
        Contributions(values=np.array([np.nan, 1.0]), groups=np.zeros(2))
    with pytest.raises(ShapeError, match="one group for each value"):
        Contributions(values=np.ones(3), groups=np.zeros(2))


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_resampling_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown resampling over 'prompt'; did you mean 'prompts'"):
        contributions(0).measure(stream(0), over="prompt")


def test_runs_that_are_not_paired_are_refused() -> None:
    one, other = contributions(0), Contributions(values=np.ones(11), groups=GROUPS[:11])
    for compare in (one.minus, one.per):
        with pytest.raises(ShapeError, match="same prompts and seeds in the same order, got 12 and 11 units"):
            compare(other)
    with pytest.raises(ConfigError, match="cannot form a ratio to 0; the features it is made of do not vary"):
        one.per(Contributions(values=np.zeros(12), groups=GROUPS))


@pytest.mark.parametrize(
    ("features", "groups", "error", "message"),
    [
        (np.ones(4), [0, 0, 1, 1], ShapeError, r"got shapes \(4,\) and \(4,\)"),
        (np.ones((4, 2)), [0, 0, 1], ShapeError, r"got shapes \(4, 2\) and \(3,\)"),
        (np.ones((4, 0)), [0, 0, 1, 1], ShapeError, r"got shapes \(4, 0\)"),
        (np.array([[1.0], [np.nan], [np.inf]]), [0, 0, 0], ConfigError, "NaN or infinity in 2 rows, first row 1"),
        (np.ones((3, 2)), ["a", "a", "b"], ConfigError, "at least 2 images per prompt, got 1 for prompt b"),
    ],
)
def test_unusable_features_are_refused(
    features: np.ndarray, groups: list[int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        as_features(features, groups)
