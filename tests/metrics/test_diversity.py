from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import pdist

from orthoscope.errors import ConfigError, ShapeError
from orthoscope.metrics import participation_ratio
from orthoscope.metrics.contributions import joined, rows_of
from orthoscope.metrics.diversity import (
    concentration_within,
    distance_within,
    effective_number,
    log_volume_ratio,
    median_distance,
    participation_within,
    variance_within,
    vendi,
)
from orthoscope.rng import stream
from tests.stat.expect import expect_estimate, expect_mean, expect_rate

seeds = st.integers(0, 2**32)
GROUPS = np.repeat(np.arange(6), 5)
SD = np.array([0.5, 1.0, 0.8, 1.5])
MEASURES = {
    "variance": variance_within,
    "participation": participation_within,
    "vendi": vendi,
    "rbf": lambda x, groups: vendi(x, groups, kernel="rbf", width=1.3),
    "distance": distance_within,
}


def draws(seed: int, groups: np.ndarray = GROUPS) -> np.ndarray:
    source = np.random.default_rng(seed)
    means = 2 * source.standard_normal((groups.max() + 1, 4))
    return means[groups] + SD * source.standard_normal((len(groups), 4))


def per_prompt(x: np.ndarray, statistic: object) -> float:
    return float(np.mean([statistic(x[rows]) for rows in rows_of(GROUPS)]))


# Definitions


@given(seed=seeds)
def test_moments_and_distances_are_their_definitions(seed: int) -> None:
    x = draws(seed)
    assert variance_within(x, GROUPS).value == pytest.approx(per_prompt(x, lambda p: np.trace(np.cov(p.T))), rel=1e-10)
    assert distance_within(x, GROUPS).value == pytest.approx(per_prompt(x, lambda p: pdist(p).mean()), rel=1e-10)
    medians = [np.median(pdist(x[rows])) for rows in rows_of(GROUPS)]
    assert median_distance(x, GROUPS) == pytest.approx(np.median(medians), rel=1e-10)


@pytest.mark.slow
def test_participation_counts_more_directions_than_a_prompt_has_images(seed: int) -> None:
    # The plain ratio of eight images, the negative control, cannot exceed seven.
    groups, widths = np.repeat(np.arange(500), 8), np.linspace(0.5, 1.5, 60)
    x = widths * np.random.default_rng(seed).standard_normal((4000, 60))
    exact = (widths**2).sum() ** 2 / (widths**4).sum()
    found = participation_within(x, groups).measure(stream(seed))
    expect_estimate(found.value, found.stderr, exact, bias=1.0, detect=0.25 * exact)
    covariances = [np.cov(x[rows].T) for rows in rows_of(groups)[:20]]
    assert max(np.trace(c) ** 2 / (c**2).sum() for c in covariances) < 7


@pytest.mark.slow
def test_participation_agrees_with_that_of_one_sample(seed: int) -> None:
    # Up to the jackknife's 1/n, which the other one takes off.
    x = np.linspace(0.3, 1.2, 12) * np.random.default_rng(seed).standard_normal((2000, 12))
    assert participation_within(x, np.zeros(2000)).value == pytest.approx(participation_ratio(x).value, rel=5e-3)


def test_the_vendi_score_of_one_set_alone_is_that_of_its_contributions() -> None:
    x = np.random.default_rng(0).standard_normal((30, 5))
    whole = vendi(x, np.zeros(30), kernel="rbf", width=1.3).value
    assert effective_number(x, width=1.3) == pytest.approx(whole, rel=1e-12)
    assert effective_number(np.zeros((4, 3)), width=1.3) == pytest.approx(1)


def test_vendi_scores_of_kernels_with_known_eigenvalues() -> None:
    one = np.zeros(4)
    assert vendi(np.ones((4, 3)), one).value == pytest.approx(1)
    assert vendi(np.eye(4), one).value == pytest.approx(4)
    # Three equal images and one apart: eigenvalues 3/4 and 1/4.
    apart = np.array([[2.0, 0], [5, 0], [1, 0], [0, 3]])
    assert vendi(apart, one).value == pytest.approx((4 / 3) ** 0.75 * 4**0.25)
    # Two images at cosine c: eigenvalues (1 + c)/2 and (1 - c)/2.
    c = 0.6
    two = np.array([[1.0, 0], [c, math.sqrt(1 - c**2)]])
    entropy = stats.entropy([(1 + c) / 2, (1 - c) / 2])
    assert vendi(two, [0, 0]).value == pytest.approx(math.exp(entropy))
    width = 1 / math.sqrt(-2 * math.log(c))
    assert vendi(np.array([[0.0], [1.0]]), [0, 0], kernel="rbf", width=width).value == pytest.approx(math.exp(entropy))


@given(seed=seeds)
def test_wide_and_narrow_kernels_see_one_image_and_all(seed: int) -> None:
    x = draws(seed)
    assert vendi(x, GROUPS, kernel="rbf", width=1e4).value == pytest.approx(1, abs=1e-4)
    assert vendi(x, GROUPS, kernel="rbf", width=1e-4).value == pytest.approx(5, rel=1e-6)


# Invariances


@pytest.mark.slow
@given(seed=seeds, scale=st.floats(0.1, 10))
def test_units_directions_and_origins(seed: int, scale: float) -> None:
    x = draws(seed)
    turn = stats.ortho_group.rvs(4, random_state=np.random.default_rng(seed))
    y = scale * x @ turn
    same = {"rel": 1e-6}
    assert variance_within(y + 5, GROUPS).value == pytest.approx(scale**2 * variance_within(x, GROUPS).value, **same)
    assert distance_within(y + 5, GROUPS).value == pytest.approx(scale * distance_within(x, GROUPS).value, **same)
    assert vendi(y, GROUPS).value == pytest.approx(vendi(x, GROUPS).value, **same)
    wide = vendi(y + 5, GROUPS, kernel="rbf", width=scale * 1.3)
    assert wide.value == pytest.approx(vendi(x, GROUPS, kernel="rbf", width=1.3).value, **same)
    big = draws(seed, np.repeat(np.arange(6), 12))
    groups = np.repeat(np.arange(6), 12)
    one, other = participation_within(big, groups), participation_within(scale * big @ turn + 5, groups)
    assert other.value == pytest.approx(one.value, **same)


@pytest.mark.parametrize("name", MEASURES)
def test_order_of_images_and_streaming_change_nothing(name: str, seed: int) -> None:
    groups = np.repeat(np.arange(4), 20)
    x, measure = draws(seed, groups), MEASURES[name]
    whole = measure(x, groups)
    shuffled = np.random.default_rng(seed).permutation(len(x))
    assert measure(x[shuffled], groups[shuffled]).value == pytest.approx(whole.value, rel=1e-9)
    part = concentration_within if name == "participation" else measure
    streamed = joined([part(x[rows], groups[rows]) for rows in rows_of(groups)])
    streamed = streamed.inverse() if name == "participation" else streamed
    np.testing.assert_allclose(streamed.values, whole.values, rtol=1e-9)


def test_participation_is_blind_to_shrinkage_that_others_see(seed: int) -> None:
    groups = np.repeat(np.arange(10), 10)
    x = draws(seed, groups)
    y = 0.5 * x
    assert participation_within(y, groups).value == pytest.approx(participation_within(x, groups).value, rel=1e-9)
    assert variance_within(y, groups).per(variance_within(x, groups)).value == pytest.approx(0.25, rel=1e-9)
    assert log_volume_ratio(y, x, groups).value == pytest.approx(2 * math.log(0.5), rel=1e-9)
    wide = [vendi(data, groups, kernel="rbf", width=1.3).value for data in (x, y)]
    assert wide[1] < 0.8 * wide[0]


# Log-volume ratio


@given(seed=seeds)
def test_the_log_volume_of_a_linear_map_is_its_determinant(seed: int) -> None:
    groups = np.repeat(np.arange(10), 10)
    x, source = draws(seed, groups), np.random.default_rng(seed)
    apply = np.eye(4) + 0.3 * source.standard_normal((4, 4))
    moved = x @ apply + source.standard_normal((10, 4))[groups]
    found = log_volume_ratio(moved, x, groups, directions=4)
    assert found.value == pytest.approx(2 * math.log(abs(np.linalg.det(apply))) / 4, rel=1e-8, abs=1e-10)


@pytest.mark.slow
def test_directions_chosen_on_other_images_favor_no_run(seed: int) -> None:
    # Two independent runs of one law, more features than directions. Directions chosen on the images they are measured
    # on are the negative control: the reference looks wider than it is.
    source, groups = np.random.default_rng(seed), np.repeat(np.arange(8), 10)
    crossed, naive = [], []
    for _ in range(150):
        x, y = source.standard_normal((2, 80, 30))
        crossed.append(log_volume_ratio(x, y, groups, directions=3).value)
        residuals = [z - np.repeat([z[rows].mean(0) for rows in rows_of(groups)], 10, axis=0) for z in (x, y)]
        turn = np.linalg.svd(residuals[1])[2][:3].T
        volumes = [np.linalg.slogdet(turn.T @ r.T @ r @ turn)[1] / 3 for r in residuals]
        naive.append(volumes[0] - volumes[1])
    sd = float(np.std(crossed, ddof=1))
    expect_mean(crossed, 0.0, sd=sd, detect=0.8 * sd)
    assert np.mean(naive) < -5 * sd


def test_directions_that_vanish_are_seen_where_the_variance_hardly_moves(seed: int) -> None:
    groups = np.repeat(np.arange(10), 20)
    x = np.random.default_rng(seed).standard_normal((200, 4)) * [3, 1, 1, 1]
    y = x * [1, 0.1, 0.1, 0.1]
    assert variance_within(y, groups).per(variance_within(x, groups)).value > 0.7
    assert log_volume_ratio(y, x, groups).value == pytest.approx(2 * math.log(0.1) * 3 / 4, rel=1e-9)


# Errors: contributions against leaving out, and coverage


def test_errors_of_pairs_are_those_of_leaving_images_out(seed: int) -> None:
    # Leaving out image i of n from a mean over pairs changes it by 1/(n - 2) of what the image contributes.
    x = draws(seed, np.zeros(12, dtype=int))
    mean_distance, variance = lambda p: pdist(p).mean(), lambda p: p.var(0, ddof=1).sum()
    for measure, statistic in ((distance_within, mean_distance), (variance_within, variance)):
        change = statistic(x) - np.array([statistic(np.delete(x, i, 0)) for i in range(12)])
        np.testing.assert_allclose(measure(x, np.zeros(12)).values - statistic(x), 10 * change, atol=1e-10)


def one_run(source: np.random.Generator, *, fixed: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ten prompts of eight images, drawn anew unless fixed, and a guided run with most of the same noise."""
    groups, draw = np.repeat(np.arange(10), 8), np.random.default_rng(0) if fixed else source
    means, widths = draw.standard_normal((10, 4)), np.exp(0.2 * draw.standard_normal(10))
    noise = source.standard_normal((80, 4))
    y = means[groups] + widths[groups, None] * noise
    x = means[groups] + 0.8 * widths[groups, None] * (0.8 * noise + 0.6 * source.standard_normal((80, 4)))
    return x, y, groups


COVERED = {
    "variance_ratio": lambda x, y, groups: variance_within(x, groups).per(variance_within(y, groups)),
    "distance": lambda x, y, groups: distance_within(x, groups).minus(distance_within(y, groups)),
    "vendi": lambda x, y, groups: vendi(x, groups),
    "log_volume": log_volume_ratio,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "over"),
    [
        ("variance_ratio", "prompts"),
        ("distance", "prompts"),
        ("log_volume", "prompts"),
        ("vendi", "images"),
    ],
)
def test_intervals_cover(name: str, over: str, seed: int) -> None:
    # The truth is the mean over all runs, whose own error is a twentieth of an interval's.
    source = np.random.default_rng(seed)
    found = [COVERED[name](*one_run(source, fixed=over == "images")) for _ in range(300)]
    truth = float(np.mean([c.value for c in found]))
    expect_rate([c.measure(source, over=over, resamples=200).holds(truth) for c in found], 0.93, detect=0.21)


# Mistakes


def test_constant_features_have_no_variance_and_count_once() -> None:
    x = np.ones((12, 3))
    groups = np.repeat([0, 1], 6)
    expected = {"variance": 0, "participation": 1, "vendi": 1, "rbf": 1, "distance": 0}
    for name, measure in MEASURES.items():
        found = measure(x, groups).measure(stream(0))
        assert found.value == pytest.approx(expected[name], abs=1e-12)
        assert found.high - found.low < 1e-12
    with pytest.raises(ConfigError, match="do not vary"):
        variance_within(x, groups).per(variance_within(x, groups))
    with pytest.raises(ConfigError, match="do not vary in a direction of the reference"):
        log_volume_ratio(np.ones((40, 3)), np.random.default_rng(0).standard_normal((40, 3)), np.repeat([0, 1], 20))


def test_fewer_images_than_features_are_welcome(seed: int) -> None:
    groups = np.repeat(np.arange(30), 8)
    x = np.random.default_rng(seed).standard_normal((240, 100))
    assert participation_within(x, groups).value == pytest.approx(100, rel=0.25)  # far above eight images
    assert log_volume_ratio(0.5 * x, x, groups).value == pytest.approx(2 * math.log(0.5))


def test_two_images_per_prompt_have_an_error_over_prompts_only() -> None:
    groups = np.repeat(np.arange(10), 2)
    x = draws(0, groups)
    for name in ("variance", "distance"):
        found = MEASURES[name](x, groups)
        assert found.measure(stream(0)).stderr > 0
        with pytest.raises(ConfigError, match="too few images in a prompt"):
            found.measure(stream(0), over="images")


def test_what_cannot_be_measured_is_refused() -> None:
    x = draws(0)
    for measure in MEASURES.values():
        with pytest.raises(ConfigError, match="got 1 for prompt 0; make more images per prompt"):
            measure(x, np.arange(len(x)))
        with pytest.raises(ConfigError, match="NaN or infinity in 30 rows"):
            measure(np.full_like(x, np.nan), GROUPS)
    with pytest.raises(ConfigError, match="at least 4 images per prompt, got 3"):
        participation_within(x[:3], [0, 0, 0])
    for kernel, width in (("rbf", None), ("cosine", 1.0), ("rbf", 0.0)):
        with pytest.raises(
            ConfigError, match=f"needs a width > 0 and 'cosine' none, got '{kernel}' with width {width}"
        ):
            vendi(x, GROUPS, kernel=kernel, width=width)
    with pytest.raises(ConfigError, match="only zeros as features and no direction"):
        vendi(np.zeros((4, 2)), [0, 0, 1, 1])
    with pytest.raises(ConfigError, match="pairs of 5000 images are too many for one table"):
        distance_within(np.ones((5000, 1)), np.zeros(5000))
    with pytest.raises(ShapeError, match=r"got shapes \(30, 4\), \(30, 3\)"):
        log_volume_ratio(x, x[:, :3], GROUPS)
    with pytest.raises(ConfigError, match="too few images for a volume: one direction needs 10 images in each half"):
        log_volume_ratio(x[:5], x[:5], np.zeros(5))


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_kernel_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown kernel 'cosin'; did you mean 'cosine'"):
        vendi(draws(0), GROUPS, kernel="cosin")
