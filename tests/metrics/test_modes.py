from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from orthoscope import rng
from orthoscope.errors import ConfigError, ShapeError
from orthoscope.metrics.modes import (
    entropy,
    mode_distance,
    mode_entropy,
    mode_posteriors,
    mode_spread,
    mode_weights,
    own_posterior,
)
from orthoscope.process import NoiseLevel
from orthoscope.targets import Mixture, mixture
from tests.stat.expect import expect_estimate

seeds = st.integers(0, 2**32)
WEIGHTS = np.array([0.6, 0.3, 0.1])


def law(separation: float = 1.0, std: float = 0.5, weights: np.ndarray = WEIGHTS) -> Mixture:
    """Three modes in four dimensions, overlapping unless the separation is large."""
    centroids = separation * torch.from_numpy(rng.stream(3, "modes").standard_normal((3, 4)))
    return mixture(centroids, std=std, labels=torch.zeros(3, dtype=torch.long), weights=torch.from_numpy(weights))


@given(seed=seeds, time=st.floats(0, 10))
def test_posteriors_are_bayes_rule(seed: int, time: float) -> None:
    target, x = law(), np.random.default_rng(seed).standard_normal((5, 4))
    sd = np.sqrt(0.25 + time)
    joint = np.stack(
        [w * stats.norm.pdf(x, m, sd).prod(1) for w, m in zip(WEIGHTS, target.centroids.numpy(), strict=True)], axis=1
    )
    level = NoiseLevel(time=time)
    found = mode_posteriors(target, x, level)
    np.testing.assert_allclose(found, joint / joint.sum(1, keepdims=True), rtol=1e-9)
    own = torch.tensor([0, 1, 2, 1, 0])
    np.testing.assert_allclose(
        own_posterior(target, torch.from_numpy(x), own, level), found[np.arange(5), own], rtol=1e-9
    )


@given(seed=seeds)
def test_far_from_all_modes_posteriors_stay_finite(seed: int) -> None:
    x = 1e4 * np.random.default_rng(seed).standard_normal((3, 4))
    np.testing.assert_allclose(mode_posteriors(law(), x).sum(1), 1, rtol=1e-12)


def test_a_perfect_sampler_has_the_true_weights_and_widths_although_modes_overlap(seed: int) -> None:
    target = law()
    x = target.sample(20_000, rng.stream(seed, "x")).numpy()
    for estimate, weight in zip(mode_weights(x, target), WEIGHTS, strict=True):
        expect_estimate(estimate.value, estimate.stderr, weight, detect=0.04, false_fail=1e-7)
    found = mode_entropy(x, target)
    expect_estimate(found.value, found.stderr, entropy(WEIGHTS), detect=0.08, false_fail=1e-7)
    for about in ("centroid", "mean"):
        found = mode_spread(x, target, about=about)
        expect_estimate(found.value, found.stderr, 1.0, detect=0.08, false_fail=1e-7)
    assert mode_distance(x, target).value < 0.02


def test_other_weights_and_widths_are_noticed(seed: int) -> None:
    """The same law with its weights turned round and its modes shrunk, in the same places."""
    wrong = law(std=0.4, weights=WEIGHTS[::-1].copy())
    x = wrong.sample(20_000, rng.stream(seed, "x")).numpy()
    for estimate, weight in zip(mode_weights(x, law()), WEIGHTS, strict=True):
        if weight != WEIGHTS[1]:
            with pytest.raises(AssertionError):
                expect_estimate(estimate.value, estimate.stderr, weight, detect=0.04)
    found = mode_spread(x, law())
    with pytest.raises(AssertionError):
        expect_estimate(found.value, found.stderr, 1.0, detect=0.08)
    assert mode_distance(x, law()).value == pytest.approx(0.5, abs=0.1)


@given(seed=seeds)
def test_distant_modes_are_counted_and_measured_one_by_one(seed: int) -> None:
    target = law(separation=100.0)
    stream = np.random.default_rng(seed)
    mode = stream.permutation(np.repeat([0, 1, 2], [20, 12, 8]))  # a jackknife takes rows as they come
    centroids = target.centroids.numpy()
    x = centroids[mode] + 0.3 * stream.standard_normal((40, 4)) + 0.1
    assert [w.value for w in mode_weights(x, target)] == pytest.approx([0.5, 0.3, 0.2])
    assert mode_distance(np.tile(x, (100, 1)), target).value == pytest.approx(0.1, abs=0.01)
    about_centroid = ((x - centroids[mode]) ** 2).sum() / (40 * 4 * 0.25)
    assert mode_spread(x, target).value == pytest.approx(about_centroid, rel=1e-9)
    within = sum(((x[mode == k] - x[mode == k].mean(0)) ** 2).sum() for k in range(3)) / (40 * 4 * 0.25)
    found = mode_spread(x, target, about="mean").value
    assert 0.9 * within < found < 1.5 * within  # three means cost 3 of 40 rows, which the jackknife gives back


@given(seed=seeds, scale=st.floats(0.1, 10))
def test_units_and_origins_do_not_matter(seed: int, scale: float) -> None:
    target, move = law(), torch.tensor([3.0, -1.0, 0.5, 2.0], dtype=torch.float64)
    x = target.sample(30, np.random.default_rng(seed))
    other = mixture(
        scale * target.centroids + move, std=scale * 0.5, labels=target.labels, weights=torch.from_numpy(WEIGHTS)
    )
    y = scale * x + move
    np.testing.assert_allclose(mode_posteriors(other, y.numpy()), mode_posteriors(target, x.numpy()), atol=1e-7)
    for about in ("centroid", "mean"):
        assert mode_spread(y.numpy(), other, about=about).value == pytest.approx(
            mode_spread(x.numpy(), target, about=about).value, rel=1e-6
        )


def test_entropy_of_known_weights() -> None:
    assert entropy([0.25] * 4) == pytest.approx(np.log(4))
    assert entropy([1.0, 0.0]) == 0


@pytest.mark.usefixtures("unchecked")
def test_unusable_input_is_refused() -> None:
    x = np.zeros((10, 4))
    with pytest.raises(ShapeError, match="4 coordinates, got 3"):
        mode_weights(np.zeros((10, 3)), law())
    with pytest.raises(ConfigError, match="without width have no posterior at clean data"):
        mode_weights(x, law(std=0.0))
    with pytest.raises(ConfigError, match="no width, so nothing can be measured"):
        mode_spread(x, law(std=0.0))
    with pytest.raises(ConfigError, match="did you mean 'mean'"):
        mode_spread(x, law(), about="meen")
