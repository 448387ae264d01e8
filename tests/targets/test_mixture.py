from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from orthoscope import rng
from orthoscope.errors import ConfigError, ShapeError
from orthoscope.process import NoiseLevel
from orthoscope.targets import Mixture, mixture
from tests.stat.expect import expect_rate
from tests.targets.cases import random_mixture_of

seeds = st.integers(0, 2**32)
LEVEL = NoiseLevel(time=0.7, offset=0.1)


def points(seed: int, n: int = 6) -> torch.Tensor:
    return 2 * torch.from_numpy(rng.stream(seed, "points").standard_normal((n, 3)))


def rebuilt(target: Mixture, centroids: torch.Tensor, order: torch.Tensor | None = None) -> Mixture:
    order = torch.arange(target.size) if order is None else order
    return mixture(
        centroids[order], std=target.std, labels=target.labels[order], weights=target.log_weights.exp()[order]
    )


@given(seed=seeds)
def test_density_and_mean_are_sums_over_modes(seed: int) -> None:
    target, x = random_mixture_of(seed), points(seed)
    weights, m, s2 = target.log_weights.exp().numpy(), target.centroids.numpy(), target.width
    v = s2 + 0.8
    parts = np.array(
        [w * stats.multivariate_normal(c, v * np.eye(3)).pdf(x.numpy()) for w, c in zip(weights, m, strict=True)]
    )
    np.testing.assert_allclose(target.log_prob(x, LEVEL), np.log(parts.sum(0)), rtol=1e-10)
    each = (s2 * x.numpy()[None] + 0.8 * m[:, None]) / v  # E[x0 | x, mode]
    expected = (parts[..., None] * each).sum(0) / parts.sum(0)[:, None]
    np.testing.assert_allclose(target.denoised(x, LEVEL), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("std", [0.0, 0.5])
def test_the_mean_of_one_mode_is_what_reading_it_gives(std: float) -> None:
    one, x = mixture(points(1).float(), std=std).conditional(2), points(2).float()
    found, asked = one.denoised(x, LEVEL), x.requires_grad_()  # with a gradient it is read like many
    assert torch.equal(found, one.denoised(asked, LEVEL))


def test_weights_are_normalized_and_equal_unless_given() -> None:
    centroids = torch.tensor([[0.0], [1.0]]).double()
    heavy = mixture(centroids, std=1.0, weights=torch.tensor([2.0, 6.0]).double())
    np.testing.assert_allclose(heavy.log_weights, np.log([0.25, 0.75]), rtol=1e-14)
    np.testing.assert_allclose(mixture(centroids, std=1.0).log_weights, np.log([0.5, 0.5]), rtol=1e-14)
    # Half way between the modes only the weights decide.
    middle, level = torch.tensor([[0.5]]).double(), NoiseLevel(time=1.0)
    assert float(heavy.class_posterior(middle, 1, level)) == pytest.approx(0.75, rel=1e-14)
    assert float(heavy.denoised(middle, level)) == pytest.approx((0.5 + 0.75) / 2, rel=1e-14)


# Symmetries


@given(seed=seeds)
def test_the_order_of_modes_does_not_matter(seed: int) -> None:
    target, x = random_mixture_of(seed), points(seed)
    order = torch.from_numpy(rng.stream(seed, "order").permutation(target.size))
    other = rebuilt(target, target.centroids, order)
    torch.testing.assert_close(other.score(x, LEVEL), target.score(x, LEVEL), rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(other.log_odds(x, 1, LEVEL), target.log_odds(x, 1, LEVEL), rtol=1e-10, atol=1e-11)


@given(seed=seeds)
def test_rotations_and_shifts_carry_the_score_along(seed: int) -> None:
    target, x = random_mixture_of(seed), points(seed)
    stream = rng.stream(seed, "motion")
    turn = torch.from_numpy(stats.ortho_group.rvs(3, random_state=stream))
    shift = torch.from_numpy(10 * stream.standard_normal(3))
    moved, y = rebuilt(target, target.centroids @ turn.T + shift), x @ turn.T + shift
    torch.testing.assert_close(moved.log_prob(y, LEVEL), target.log_prob(x, LEVEL), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(moved.score(y, LEVEL), target.score(x, LEVEL) @ turn.T, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(
        moved.denoised(y, LEVEL), target.denoised(x, LEVEL) @ turn.T + shift, rtol=1e-8, atol=1e-9
    )


@pytest.mark.parametrize("offset", [0.0, 2.0**10, 2.0**14])
def test_single_precision_survives_data_far_from_the_origin(offset: float) -> None:
    """The state itself is rounded to offset * 2^-24; nothing worse may happen."""
    target, x = random_mixture_of(3), points(3).float().double()
    near = target.denoised(x, LEVEL)
    far = mixture(target.centroids + offset, std=target.std, labels=target.labels, weights=target.log_weights.exp())
    moved = far.to(dtype=torch.float32).denoised((x + offset).float(), LEVEL).double() - offset
    torch.testing.assert_close(moved, near, rtol=0, atol=1e-5 + 40 * offset * 2.0**-24)


@given(seed=seeds, scale=st.floats(0.1, 10))
def test_units_do_not_matter(seed: int, scale: float) -> None:
    target, x = random_mixture_of(seed), points(seed)
    weights = target.log_weights.exp()
    large = mixture(scale * target.centroids, std=scale * target.std, labels=target.labels, weights=weights)
    level = NoiseLevel(time=scale**2 * 0.7, offset=scale**2 * 0.1)
    torch.testing.assert_close(
        large.denoised(scale * x, level), scale * target.denoised(x, LEVEL), rtol=1e-9, atol=1e-9
    )
    expected = target.log_prob(x, LEVEL) - 3 * math.log(scale)
    torch.testing.assert_close(large.log_prob(scale * x, level), expected, rtol=1e-9, atol=1e-9)


# Classes


@given(seed=seeds)
def test_classes_make_up_the_whole(seed: int) -> None:
    target, x = random_mixture_of(seed), points(seed)
    prior = torch.stack([target.log_weights[target.labels == c].logsumexp(0) for c in range(3)])
    joint = torch.stack([target.conditional(c).log_prob(x, LEVEL) for c in range(3)]) + prior[:, None]
    torch.testing.assert_close(target.log_prob(x, LEVEL), joint.logsumexp(0), rtol=1e-11, atol=1e-11)
    posterior = torch.stack([target.class_posterior(x, c, LEVEL) for c in range(3)])
    torch.testing.assert_close(posterior, (joint - joint.logsumexp(0)).exp(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(posterior.sum(0), torch.ones(6).double(), rtol=1e-12, atol=0)
    others = torch.stack([joint[1:].logsumexp(0), joint[[0, 2]].logsumexp(0), joint[:2].logsumexp(0)])
    odds = torch.stack([target.log_odds(x, c, LEVEL) for c in range(3)])
    torch.testing.assert_close(odds, joint - others, rtol=1e-10, atol=1e-10)
    mean = sum(posterior[c][:, None] * target.conditional(c).denoised(x, LEVEL) for c in range(3))
    torch.testing.assert_close(target.denoised(x, LEVEL), mean, rtol=1e-9, atol=1e-10)


def test_odds_survive_where_probabilities_round_to_one() -> None:
    target = mixture(torch.tensor([[0.0], [50.0]]).double(), std=1.0)
    odds = target.log_odds(torch.tensor([[0.0], [50.0], [25.0]]).double(), 0)
    torch.testing.assert_close(odds, torch.tensor([1250.0, -1250.0, 0.0]).double(), rtol=1e-12, atol=1e-9)


def test_the_only_class_is_certain() -> None:
    target = mixture(torch.eye(3).double(), std=1.0, labels=torch.zeros(3).long())
    assert torch.equal(target.log_odds(points(0), 0), torch.full((6,), torch.inf).double())
    assert torch.equal(target.class_posterior(points(0), 0), torch.ones(6).double())


def test_a_class_keeps_its_modes_and_their_weights() -> None:
    target = random_mixture_of(3)
    one = target.conditional(1)
    assert torch.equal(one.centroids, target.centroids[target.labels == 1])
    expected = target.log_weights[target.labels == 1]
    torch.testing.assert_close(one.log_weights, expected - expected.logsumexp(0), rtol=1e-12, atol=1e-12)
    assert one.size == int((target.labels == 1).sum())


# Samples and moments


def test_uniform_numbers_pick_modes_by_weight(seed: int) -> None:
    weights = torch.tensor([0.5, 0.2, 0.3]).double()
    target = mixture(torch.tensor([[0.0], [10.0], [20.0]]).double(), std=0.0, weights=3 * weights)
    ends = target.transport(torch.tensor([0.0, 0.49, 0.51, 0.69, 0.71, 1.0]).double(), torch.zeros(6, 1).double())
    assert ends[:, 0].tolist() == [0, 0, 10, 10, 20, 20]
    x = target.sample(20_000, rng.stream(seed, "x"))[:, 0]
    for value, weight in zip((0, 10, 20), weights.tolist(), strict=True):
        expect_rate(x == value, weight, detect=0.04, false_fail=1e-6 / 3)


@given(seed=seeds)
def test_moments_are_those_of_the_modes(seed: int) -> None:
    target = random_mixture_of(seed)
    mean, covariance = target.moments()
    weights, m = target.log_weights.exp().numpy(), target.centroids.numpy()
    np.testing.assert_allclose(mean, np.average(m, axis=0, weights=weights), rtol=1e-12, atol=1e-13)
    expected = np.cov(m.T, aweights=weights, ddof=0) + target.width * np.eye(3)
    np.testing.assert_allclose(covariance, expected, rtol=1e-11, atol=1e-12)


def test_precision_can_be_changed_and_is_kept() -> None:
    target = random_mixture_of(2).to(dtype=torch.float32)
    assert target.dtype == target.sample(3, rng.stream(0, "x")).dtype == torch.float32
    x = points(2)
    torch.testing.assert_close(
        target.denoised(x.float(), LEVEL).double(), random_mixture_of(2).denoised(x, LEVEL), rtol=0, atol=1e-5
    )


# Mistakes

CENTROIDS = torch.zeros(3, 2)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"std": -1.0}, ConfigError, "std must be finite and >= 0, got -1"),
        ({"std": math.nan}, ConfigError, "std must be finite"),
        ({"centroids": CENTROIDS[:0]}, ConfigError, "at least one mode, got none"),
        ({"centroids": CENTROIDS * math.nan}, ConfigError, "3 of 3 rows hold NaN or infinity"),
        ({"labels": torch.zeros(2).long()}, ShapeError, "got 2 labels for 3 rows"),
        ({"weights": torch.ones(4)}, ShapeError, "got 4 weights for 3 rows"),
        ({"weights": torch.tensor([1.0, 0.0, 1.0])}, ConfigError, "weights must be finite and positive"),
        ({"weights": torch.tensor([1.0, math.inf, 1.0])}, ConfigError, "weights must be finite and positive"),
    ],
)
def test_unusable_arrays_are_refused(arguments: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        mixture(**{"centroids": CENTROIDS, "std": 1.0, **arguments})


def test_a_missing_label_is_named_beside_the_known() -> None:
    with pytest.raises(ConfigError, match="label 7 is not present; this mixture has 3 classes: 0, 1, 2"):
        random_mixture_of(0).log_odds(points(0), 7)
    with pytest.raises(ConfigError, match=r"has 20 classes: 0, 1, 2, 3, 4, 5, 6, 7, \.\.\."):
        mixture(torch.zeros(20, 2), std=1.0).conditional(20)


@pytest.mark.usefixtures("unchecked")
def test_whole_numbers_are_no_centroids() -> None:
    with pytest.raises(ConfigError, match=r"floating-point centroids, got torch\.int64"):
        mixture(CENTROIDS.long(), std=1.0)
