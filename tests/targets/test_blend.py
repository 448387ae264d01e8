"""Blends of targets: against the mixture where both exist, and by exact identities where only they do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from orthoscope import rng
from orthoscope.errors import ConfigError, ShapeError
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.targets import Gaussian, Mixture
from orthoscope.targets.ball import Ball
from orthoscope.targets.blend import Blend, blend
from orthoscope.targets.intervals import box
from tests.stat.expect import expect_rate
from tests.targets.cases import random_mixture_of

F64 = torch.float64
LEVELS = [NoiseLevel(time=0.05), NoiseLevel(time=3.0), NoiseLevel(time=np.linspace(0.1, 5.0, 6))]


def points(seed: int) -> torch.Tensor:
    return 3 * torch.from_numpy(rng.stream(seed, "points").standard_normal((6, 3)))


def twins(seed: int) -> tuple[Mixture, Blend]:
    """A mixture and the same law as a blend of its modes."""
    whole = random_mixture_of(seed)
    variance = torch.full((3,), whole.width, dtype=F64)
    modes = [Gaussian(mean=centroid, variance=variance) for centroid in whole.centroids]
    return whole, blend(modes, weights=whole.log_weights.exp().tolist(), labels=whole.labels.tolist())


def shapes() -> Blend:
    cube = box(torch.zeros(3, dtype=F64), torch.ones(3, dtype=F64))
    return blend(
        [cube, Ball(center=torch.full((3,), 2.0, dtype=F64), radius=0.8), random_mixture_of(2)],
        weights=[1, 2, 5],
        labels=[0, 1, 1],
    )


@pytest.mark.parametrize("level", LEVELS)
def test_a_blend_of_modes_is_their_mixture(level: NoiseLevel, seed: int) -> None:
    whole, twin = twins(seed % 100)
    x = points(seed)
    torch.testing.assert_close(twin.log_prob(x, level), whole.log_prob(x, level), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(twin.denoised(x, level), whole.denoised(x, level), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        twin.posterior_variance(x, level), whole.posterior_variance(x, level), rtol=1e-9, atol=1e-9
    )
    for label in (0, 2):
        torch.testing.assert_close(
            twin.log_odds(x, label, level), whole.log_odds(x, label, level), rtol=1e-9, atol=1e-9
        )
        torch.testing.assert_close(
            twin.conditional(label).denoised(x, level),
            whole.conditional(label).denoised(x, level),
            rtol=1e-9,
            atol=1e-9,
        )
        narrow, reference = twin.narrowed(0.2), whole.narrowed(0.2)
        torch.testing.assert_close(narrow.denoised(x, level), reference.denoised(x, level), rtol=1e-9, atol=1e-9)
    assert twin.width == pytest.approx(whole.width)
    assert twin.size == whole.size


@pytest.mark.parametrize("level", LEVELS)
def test_score_and_posterior_variance_are_derivatives(level: NoiseLevel, seed: int) -> None:
    target, x = shapes(), points(seed).requires_grad_()
    (gradient,) = torch.autograd.grad(target.log_prob(x, level).sum(), x)
    torch.testing.assert_close(target.score(x.detach(), level), gradient, rtol=1e-8, atol=1e-9)
    denoised = target.denoised(x, level)
    divergence = sum(torch.autograd.grad(denoised[:, k].sum(), x, retain_graph=True)[0][:, k] for k in range(3))
    expected = torch.as_tensor(level.variance, dtype=F64) * divergence
    torch.testing.assert_close(target.posterior_variance(x.detach(), level), expected, rtol=1e-8, atol=1e-9)


def test_class_posteriors_sum_to_one_and_never_differ_in_the_last_digits(seed: int) -> None:
    target, x, level = shapes(), points(seed), NoiseLevel(time=0.3)
    total = target.class_posterior(x, 0, level) + target.class_posterior(x, 1, level)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=1e-12, atol=0)
    torch.testing.assert_close(target.log_odds(x, 0, level), -target.log_odds(x, 1, level), rtol=1e-12, atol=1e-12)
    # Two boxes at +-1.5, seen from where the other one has no chance.
    sides = blend([box(torch.tensor([lo], dtype=F64), torch.tensor([lo + 1], dtype=F64)) for lo in (1.0, -2.0)])
    odds = float(sides.log_odds(torch.tensor([[1.5]], dtype=F64), 0, NoiseLevel(time=1e-4)))
    assert 0.5 * 2.5**2 / 1e-4 < odds < 0.5 * 2.5**2 / 1e-4 + 20


def test_samples_pick_components_by_weight_and_pass_the_rest_of_the_number_on(seed: int) -> None:
    balls = [Ball(center=torch.tensor([at, 0.0], dtype=F64), radius=1.0) for at in (-5.0, 5.0)]
    target = blend(balls, weights=[1, 3])
    x = target.sample(40_000, rng.stream(seed, "samples"))
    right = x[:, 0] > 0
    expect_rate(right.numpy(), 0.75, detect=0.03, false_fail=5e-7)
    # A ball that saw only numbers above 1/4 would leave its middle empty.
    inner = (x[right] - balls[1].center).norm(dim=1) < 0.5
    expect_rate(inner.numpy(), 0.25, detect=0.04, false_fail=5e-7)


def test_a_class_of_one_component_is_that_component() -> None:
    target = shapes()
    assert target.conditional(0) is target.components[0]
    both = target.conditional(1)
    assert isinstance(both, Blend)
    assert both.weights == pytest.approx((2 / 7, 5 / 7))
    with pytest.raises(ConfigError, match="label 7 is not present; this blend has the classes 0, 1"):
        target.conditional(7)


def test_the_width_is_what_every_component_can_give() -> None:
    assert shapes().width == 0
    gaussians = [
        Gaussian(mean=torch.tensor([at], dtype=F64), variance=torch.tensor([variance], dtype=F64))
        for at, variance in ((0.0, 0.5), (2.0, 2.0))
    ]
    target = blend(gaussians)
    assert target.width == 0.5
    narrow, offset = target.absorbed()
    x = torch.linspace(-2, 3, 7, dtype=F64)[:, None]
    level, plain = VarianceExploding(offset=offset).at(0.4), VarianceExploding().at(0.4)
    torch.testing.assert_close(narrow.log_prob(x, level), target.log_prob(x, plain), rtol=1e-12, atol=1e-12)
    with pytest.raises(ConfigError, match="offset"):
        target.narrowed(0.6)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"components": []}, ConfigError, "at least one component"),
        ({"weights": [1.0, 0.0]}, ConfigError, "weights must be finite and positive"),
        ({"weights": [1.0]}, ShapeError, "expected 2 weights and labels, got 1 and 2"),
        ({"labels": [0]}, ShapeError, "expected 2 weights and labels, got 2 and 1"),
    ],
)
def test_unusable_blends_are_refused(changes: dict[str, object], error: type[Exception], message: str) -> None:
    one = box(torch.zeros(1), torch.ones(1))
    with pytest.raises(error, match=message):
        blend(**{"components": [one, one], **changes})


def test_components_of_different_kind_of_space_are_refused() -> None:
    one, plane = box(torch.zeros(1), torch.ones(1)), box(torch.zeros(2), torch.ones(2))
    with pytest.raises(ShapeError, match="one dimension, got \\[1, 2\\]"):
        blend([one, plane])
    with pytest.raises(ConfigError, match="one floating-point type"):
        blend([one, box(torch.zeros(1, dtype=F64), torch.ones(1, dtype=F64))])
