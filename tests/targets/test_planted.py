from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthoscope import rng
from orthoscope.errors import ConfigError
from orthoscope.process import NoiseLevel
from orthoscope.targets import Planted, mixture, random_mixture, random_planted
from tests.stat.expect import expect_mean, expect_rate

CENTROID = torch.tensor([1.2, -0.4, 0.8]).double()
X = torch.tensor([[1.0, 0.0, 0.5], [-2.0, 1.0, 0.3], [0.1, 0.2, -0.1]]).double()
LEVEL = NoiseLevel(time=0.7)


@given(log_classes=st.floats(math.log(2), 600), std=st.floats(0.1, 2))
def test_odds_density_and_mean_hang_together(log_classes: float, std: float) -> None:
    target = Planted(centroid=CENTROID, std=std, log_classes=log_classes)
    own, v = target.conditional(0), std**2 + 0.7
    rest = -(X**2).sum(1) / (2 * (v + 1)) - 1.5 * math.log(2 * math.pi * (v + 1)) + math.log1p(-math.exp(-log_classes))
    mine = own.log_prob(X, LEVEL) - log_classes
    torch.testing.assert_close(target.log_odds(X, LEVEL), mine - rest, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(target.log_prob(X, LEVEL), torch.logaddexp(mine, rest), rtol=1e-10, atol=1e-10)
    p = torch.sigmoid(mine - rest)[:, None]
    others = (std**2 + 1) / (v + 1) * X
    expected = p * own.denoised(X, LEVEL) + (1 - p) * others
    torch.testing.assert_close(target.denoised(X, LEVEL), expected, rtol=1e-9, atol=1e-12)


def test_more_classes_than_floats() -> None:
    target = Planted(centroid=CENTROID, std=0.5, log_classes=5000.0)
    assert torch.isfinite(target.denoised(X, LEVEL)).all()
    assert (target.log_odds(X, LEVEL) < -4000).all()


def test_other_classes_are_averaged_exactly(seed: int) -> None:
    # The averaged density of M - 1 random centroids, estimated from many of them.
    log_classes, n = math.log(50), 40_000
    target = Planted(centroid=CENTROID, std=0.5, log_classes=log_classes)
    others = torch.from_numpy(rng.stream(seed, "modes").standard_normal((n, 3)))
    ones = torch.exp(-(X[:, None] - others).square().sum(2) / (2 * 0.95)) / (2 * math.pi * 0.95) ** 1.5
    own = target.conditional(0).log_prob(X, LEVEL).exp() / 50
    rest = (target.log_prob(X, LEVEL).exp() - own) * 50 / 49
    for draws, mean in zip(ones.numpy(), rest.tolist(), strict=True):
        expect_mean(draws, mean, sd=float(draws.std()), detect=0.2 * mean, false_fail=1e-6 / 3)


def test_the_class_has_its_share(seed: int) -> None:
    target = Planted(centroid=100 * CENTROID, std=0.1, log_classes=math.log(4))
    x = target.sample(20_000, rng.stream(seed, "x"))
    expect_rate((x - 100 * CENTROID).norm(dim=1) < 10, 0.25, detect=0.035)


def test_random_instances_share_their_names(seed: int) -> None:
    one = random_planted(8, std=0.5, log_classes=3.0, stream=rng.stream(seed, "m"))
    assert torch.equal(one.centroid, random_planted(8, std=0.5, log_classes=3.0, stream=rng.stream(seed, "m")).centroid)
    assert one.dtype == torch.float32


def test_two_classes_planted_agree_with_a_mixture_of_one_known_and_one_averaged_class(seed: int) -> None:
    # With the spread taken away the others sit at the origin: an ordinary mixture of two modes.
    target = Planted(centroid=CENTROID, std=0.5, log_classes=math.log(3), spread=0.0)
    modes = torch.stack([CENTROID, torch.zeros(3).double()])
    same = mixture(modes, std=0.5, weights=torch.tensor([1.0, 2.0]).double())
    torch.testing.assert_close(target.score(X, LEVEL), same.score(X, LEVEL), rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(target.class_posterior(X, 0, LEVEL), same.class_posterior(X, 0, LEVEL))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"log_classes": 0.0}, "at least 2 classes, got 1"),
        ({"log_classes": math.nan}, "at least 2 classes"),
        ({"std": -1.0}, "std must be finite and >= 0"),
    ],
)
def test_unusable_settings_are_refused(setting: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Planted(**{"centroid": CENTROID, "std": 0.5, "log_classes": 2.0, **setting})


def test_the_planted_score_is_the_mean_over_drawn_mixtures_while_uncondensed(seed: int) -> None:
    # Far from condensation (high noise) many modes act like their average.
    drawn = random_mixture(6, classes=20_000, std=0.5, stream=rng.stream(seed, "modes"), dtype=torch.float64)
    planted = Planted(centroid=drawn.centroids[0].clone(), std=0.5, log_classes=math.log(20_000))
    x = torch.from_numpy(5 * rng.stream(seed, "x").standard_normal((20, 6)))
    level = NoiseLevel(time=20.0)
    torch.testing.assert_close(planted.denoised(x, level), drawn.denoised(x, level), rtol=0, atol=0.1)
