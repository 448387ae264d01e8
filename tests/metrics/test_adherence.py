from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from orthoscope.errors import ConfigError, ShapeError
from orthoscope.metrics.adherence import (
    class_posterior,
    displacement_from,
    fisher_ratio,
    lda_accuracy,
    mean_shift_from,
    text_similarity,
)
from orthoscope.metrics.contributions import rows_of
from orthoscope.rng import stream
from tests.stat.expect import expect_estimate, expect_mean, expect_rate

seeds = st.integers(0, 2**32)
GROUPS = np.repeat(np.arange(10), 8)
MEANS = 2 * np.random.default_rng(0).standard_normal((10, 5))
SD = np.array([0.5, 1.0, 0.8, 1.5, 1.0])


def noise(source: np.random.Generator) -> np.ndarray:
    return SD * source.standard_normal((80, 5))


def draws(seed: int) -> np.ndarray:
    return MEANS[GROUPS] + noise(np.random.default_rng(seed))


# Separation


def test_the_fisher_ratio_of_known_prompts_is_unbiased(seed: int) -> None:
    # The plain ratio of the variance of means, the negative control, is too large by 1/8.
    source = np.random.default_rng(seed)
    means = 0.3 * MEANS
    exact = np.cov(means.T).trace() / (SD**2).sum()
    found, plain = [], []
    for _ in range(300):
        x = means[GROUPS] + noise(source)
        found.append(fisher_ratio(x, GROUPS).value)
        groups = [x[rows] for rows in rows_of(GROUPS)]
        within = np.mean([np.cov(g.T).trace() for g in groups])
        plain.append(np.cov(np.array([g.mean(0) for g in groups]).T).trace() / within)
    # The bias of the ratio is that of one over a chi-square of about 250 degrees: under 2 percent.
    stderr = np.std(found, ddof=1) / math.sqrt(300)
    expect_estimate(np.mean(found), stderr, exact, bias=0.02 * exact, detect=0.115)
    expect_estimate(np.mean(plain), stderr, exact + 1 / 8, bias=0.02 * (exact + 1 / 8), detect=0.115)


def test_prompts_that_do_nothing_have_no_fisher_ratio_on_average(seed: int) -> None:
    source = np.random.default_rng(seed)
    found = [fisher_ratio(noise(source), GROUPS).value for _ in range(300)]
    expect_mean(found, 0.0, sd=float(np.std(found, ddof=1)), detect=0.03)


def test_discriminants_reach_the_accuracy_of_known_laws(seed: int) -> None:
    # Two isotropic prompts at distance delta: accuracy Phi(delta/2), less under 0.01 for training on a finite sample.
    source, delta, n = np.random.default_rng(seed), 2.0, 3000
    groups = np.repeat(["left", "right"], n)
    x = source.standard_normal((2 * n, 3)) @ np.diag([1.0, 2.0, 0.5])
    x[n:] += delta * np.array([0.6, 1.6, 0.0])  # a distance of delta in units of the deviations
    hits = lda_accuracy(x, groups)
    assert set(hits.values) <= {0.0, 1.0}
    expect_rate(hits.values, stats.norm.cdf(delta / 2), detect=0.05)


def test_discriminants_without_anything_to_tell_guess(seed: int) -> None:
    source = np.random.default_rng(seed)
    groups = np.repeat(np.arange(4), 300)
    expect_rate(lda_accuracy(source.standard_normal((1200, 3)), groups).values, 0.25, detect=0.13)
    hits = lda_accuracy(np.ones((1200, 3)), groups)  # constant features
    assert hits.value == pytest.approx(0.25)


@pytest.mark.slow
def test_longer_features_than_components_are_cut_without_a_look_at_labels(seed: int) -> None:
    source, groups = np.random.default_rng(seed), np.repeat(np.arange(20), 10)
    means = source.standard_normal((20, 300))
    apart = lda_accuracy(means[groups] + source.standard_normal((200, 300)), groups)
    assert apart.value > 0.95
    # Pure noise in more features than images: labels that leaked into the choice would show.
    expect_rate(lda_accuracy(source.standard_normal((200, 300)), groups).values, 0.05, detect=0.3)


def test_the_posterior_is_the_mean_of_the_own_column() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.9, 0.0], [0.3, 0.3, 0.4], [0.5, 0.25, 0.25]])
    assert class_posterior(p, [0, 1, 2, 0]).value == pytest.approx(np.mean([(0.7 + 0.5) / 2, 0.9, 0.4]))


def test_a_posterior_without_a_failure_allows_for_one_not_seen() -> None:
    sure = class_posterior(np.tile([[1.0, 0.0]], (60, 1)), np.zeros(60, dtype=int))
    measure = sure.measure(np.random.default_rng(0), over="images")
    assert (measure.low, measure.high) == pytest.approx((1 + math.log(0.025) / 60, 1.0))
    change = sure.minus(sure).measure(np.random.default_rng(0), over="images")
    assert (change.low, change.high) == pytest.approx((math.log(0.025) / 60, -math.log(0.025) / 60))


def test_text_similarity_is_a_cosine() -> None:
    images = np.array([[2.0, 0], [0, 3], [-1, 1], [5, 0]])
    texts = np.array([[7.0, 0], [7, 0], [1, 1], [1, 1]])
    found = text_similarity(images, texts, ["a", "a", "b", "b"])
    np.testing.assert_allclose(found.values, [1, 0, 0, math.sqrt(0.5)], atol=1e-12)
    assert found.value == pytest.approx((0.5 + math.sqrt(0.5) / 2) / 2)


# Shifts


@given(seed=seeds, shift=st.floats(-0.5, 2), shrink=st.floats(0.1, 1))
def test_a_common_stretch_of_the_means_is_the_mean_shift(seed: int, shift: float, shrink: float) -> None:
    # Images shrink about their prompt's mean, which no half's mean may show: noise adds up to zero in each half.
    e = noise(np.random.default_rng(seed))
    for rows in rows_of(GROUPS):
        for half in (0, 1):
            e[rows[half::2]] -= e[rows[half::2]].mean(0)
    found = mean_shift_from((1 + shift) * MEANS[GROUPS] + shrink * e + 3.0, MEANS[GROUPS] + e, GROUPS)
    assert found.value == pytest.approx(shift, abs=1e-9)


@given(seed=seeds, scale=st.floats(0.1, 10))
def test_units_directions_and_origins(seed: int, scale: float) -> None:
    y = draws(seed)
    x = 1.2 * MEANS[GROUPS] + 0.8 * noise(np.random.default_rng(seed + 1))
    turn = stats.ortho_group.rvs(5, random_state=np.random.default_rng(seed))
    first, second = scale * x @ turn + 5, scale * y @ turn + 5
    assert fisher_ratio(first, GROUPS).value == pytest.approx(fisher_ratio(x, GROUPS).value, rel=1e-6)
    for shift in (mean_shift_from, displacement_from):
        assert shift(first, second, GROUPS).value == pytest.approx(shift(x, y, GROUPS).value, rel=1e-6, abs=1e-9)


@pytest.mark.slow
def test_independent_runs_of_one_law_show_no_shift(seed: int) -> None:
    # With means and directions of the same images, the negative control, noise would pull the mean shift below zero.
    source = np.random.default_rng(seed)
    shifts, moves, naive = [], [], []
    for _ in range(300):
        x, y = (0.3 * MEANS[GROUPS] + noise(source) for _ in range(2))
        shifts.append(mean_shift_from(x, y, GROUPS).value)
        moves.append(displacement_from(x, y, GROUPS).value)
        a, b = (np.array([z[rows].mean(0) for rows in rows_of(GROUPS)]) for z in (x, y))
        apart = b - b.mean(0)
        naive.append(((a - b) * apart).sum() / (apart**2).sum())
    sd = float(np.std(shifts, ddof=1))
    expect_mean(shifts, 0.0, sd=sd, detect=0.6 * sd, false_fail=5e-7)
    expect_mean(moves, 0.0, sd=float(np.std(moves, ddof=1)), detect=0.06, false_fail=5e-7)
    assert np.mean(naive) < -0.15


def test_displacement_counts_every_direction(seed: int) -> None:
    # Common seeds: every prompt moves by one vector, plus what differs between the two runs' noise.
    e, step = noise(np.random.default_rng(seed)), np.array([0.0, 0, 0.3, 0.4, 0])
    y = MEANS[GROUPS] + e
    within = np.mean([np.cov(y[rows].T).trace() for rows in rows_of(GROUPS)])
    assert displacement_from(y + step, y, GROUPS).value == pytest.approx(0.25 / within, rel=1e-9)
    # A common step is no mean shift.
    assert mean_shift_from(y + step, y, GROUPS).value == pytest.approx(0, abs=1e-12)


# Errors


def one_run(source: np.random.Generator, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Guided images and those without guidance, most of the noise in common."""
    e = noise(source)
    return 1.2 * means[GROUPS] + 0.7 * (0.8 * e + 0.6 * noise(source)), means[GROUPS] + e


COVERED = {
    "fisher_ratio": lambda x, y: fisher_ratio(x, GROUPS),
    "gain": lambda x, y: fisher_ratio(x, GROUPS).minus(fisher_ratio(y, GROUPS)),
    "mean_shift": lambda x, y: mean_shift_from(x, y, GROUPS),
    "displacement": lambda x, y: displacement_from(x, y, GROUPS),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "over"),
    [
        ("fisher_ratio", "prompts"),
        ("gain", "images"),
        ("mean_shift", "prompts"),
        ("mean_shift", "images"),
        ("displacement", "prompts"),
    ],
)
def test_intervals_cover(name: str, over: str, seed: int) -> None:
    # Prompts are drawn anew for an interval over prompts, and are these ten for one over images.
    source = np.random.default_rng(seed)
    found = [
        COVERED[name](*one_run(source, MEANS if over == "images" else 2 * source.standard_normal((10, 5))))
        for _ in range(300)
    ]
    truth = float(np.mean([c.value for c in found]))
    expect_rate([c.measure(source, over=over, resamples=200).holds(truth) for c in found], 0.93, detect=0.21)


# Mistakes


def test_what_cannot_be_measured_is_refused() -> None:
    x = draws(0)
    for measure in (fisher_ratio, lda_accuracy, lambda a, g: mean_shift_from(a, a, g)):
        with pytest.raises(ConfigError, match="one prompt has nothing to be told from; expected at least 2"):
            measure(x, np.zeros(80))
    with pytest.raises(ConfigError, match="do not vary"):
        fisher_ratio(np.ones((80, 5)), GROUPS)
    with pytest.raises(ConfigError, match="cannot form a ratio"):
        mean_shift_from(np.ones((80, 5)), np.ones((80, 5)), GROUPS)
    with pytest.raises(ConfigError, match="at least 4 images per prompt, got 3"):
        mean_shift_from(x[:6], x[:6], [0, 0, 0, 1, 1, 1])
    with pytest.raises(ConfigError, match="at least 5 images per prompt, got 4"):
        lda_accuracy(x[:8], np.repeat([0, 1], 4))
    with pytest.raises(ConfigError, match="at least 2 folds and 1 component, got 1 and 64"):
        lda_accuracy(x, GROUPS, folds=1)
    for shift in (mean_shift_from, displacement_from):
        with pytest.raises(ShapeError, match=r"got shapes \(80, 5\), \(80, 4\)"):
            shift(x, x[:, :4], GROUPS)
    with pytest.raises(ConfigError, match="apply a softmax to logits first"):
        class_posterior([[2.0, -1.0]], [0])
    for labels, found in (([0, 2], "0 to 2"), ([0, -1], "-1 to 0")):
        with pytest.raises(ConfigError, match=f"number the 2 columns from 0, got {found}"):
            class_posterior([[0.5, 0.5], [1.0, 0.0]], labels)
    with pytest.raises(ShapeError, match="text features for every image"):
        text_similarity(np.ones((2, 3)), np.ones((2, 2)), [0, 1])
    with pytest.raises(ConfigError, match="only zeros as features"):
        text_similarity(np.ones((2, 3)), np.zeros((2, 3)), [0, 1])


def test_one_image_per_prompt_has_a_posterior_but_an_interval_over_prompts_only() -> None:
    found = class_posterior(np.eye(3), [0, 1, 2])
    assert found.measure(stream(0)).value == 1
    with pytest.raises(ConfigError, match="too few images in a prompt"):
        found.measure(stream(0), over="images")
