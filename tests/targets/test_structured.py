from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthoscope import rng
from orthoscope.errors import ConfigError, ShapeError
from orthoscope.targets.structured import (
    Manifold,
    manifold_mixture,
    multimodal_mixture,
    random_manifold,
    random_weights,
)
from tests.stat.expect import expect_mean, expect_variance

BASE: dict[str, Any] = {"classes": 3, "std": 0.4, "spread": 0.5, "weights": (3.0, 1.0)}


# Classes of several modes


@pytest.mark.parametrize("spread", [0.0, 0.4, 1.0])
def test_centroids_have_unit_variance_whatever_their_spread(spread: float, seed: int) -> None:
    drawn = multimodal_mixture(16, classes=400, modes=4, std=0.3, spread=spread, stream=rng.stream(seed, "m"))
    assert drawn.size == 1600
    one = drawn.centroids.reshape(400, 4, 16)[:, 0]  # modes of one class are not independent
    expect_mean(one, 0, sd=1, detect=0.13, false_fail=5e-7)
    expect_variance(one, 1, detect=0.2, false_fail=5e-7)


def test_modes_spread_about_their_class_as_asked(seed: int) -> None:
    drawn = multimodal_mixture(
        16, classes=300, modes=2, std=0.3, spread=0.4, stream=rng.stream(seed, "m"), dtype=torch.float64
    )
    first, second = drawn.centroids.reshape(300, 2, 16).unbind(1)
    expect_variance(first - second, 2 * 0.4**2, detect=0.25)  # the center drops out


def test_without_spread_the_modes_of_a_class_lie_on_one_point() -> None:
    law = multimodal_mixture(5, stream=rng.stream(0, "m"), **BASE | {"spread": 0.0}).conditional(1)
    torch.testing.assert_close(law.centroids[0], law.centroids[1])


def test_given_weights_hold_in_every_class_and_classes_are_equally_likely() -> None:
    drawn = multimodal_mixture(5, stream=rng.stream(0, "m"), dtype=torch.float64, **BASE)
    np.testing.assert_allclose(drawn.log_weights.exp(), [0.25, 1 / 12] * 3, rtol=1e-12)
    assert drawn.labels.tolist() == [0, 0, 1, 1, 2, 2]
    np.testing.assert_allclose(drawn.conditional(2).log_weights.exp(), [0.75, 0.25], rtol=1e-12)


def test_drawn_weights_follow_the_dirichlet_law(seed: int) -> None:
    """The second moment of one weight is (a + 1) / (K (K a + 1)); their order is a convention."""
    weights = random_weights(4000, 3, rng.stream(seed, "w"), concentration=2.0).reshape(4000, 3) * 4000
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-12)
    assert bool((weights.diff(dim=1) <= 0).all())
    expect_mean(weights.square().mean(1), 3 / 21, sd=float(weights.square().mean(1).std()), detect=0.02)


def test_a_large_concentration_makes_weights_equal() -> None:
    np.testing.assert_allclose(random_weights(2, 5, rng.stream(0, "w"), concentration=1e9), 0.1, rtol=1e-3)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"weights": None}, ConfigError, "give modes or weights"),
        ({"concentration": 1.0}, ConfigError, "either the weights of the modes or their concentration"),
        ({"modes": 3}, ShapeError, "2 weights for 3 modes"),
        ({"spread": 1.5}, ConfigError, r"spread must lie in \[0, 1\].*got 1.5"),
        ({"classes": 0}, ConfigError, "at least 1, got 5, 0 and 2"),
        ({"weights": (1.0, 0.0)}, ConfigError, "drop modes of weight 0"),
        ({"weights": None, "modes": 2, "concentration": -1.0}, ConfigError, "concentration must be .* > 0, got -1"),
    ],
)
def test_unusable_classes_are_refused(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        multimodal_mixture(5, stream=rng.stream(0, "m"), **BASE | change)


# Manifolds


def manifold(gain: float = 3.0, dim: int = 12, latent_dim: int = 4) -> Manifold:
    return random_manifold(dim, latent_dim, gain=gain, stream=rng.stream(0, "f"))


@pytest.mark.parametrize("gain", [0.0, 0.5, 3.0])
def test_coordinates_have_unit_variance_and_no_mean(gain: float, seed: int) -> None:
    points = manifold(gain).sample(40_000, rng.stream(seed, "z")).numpy()
    np.testing.assert_allclose((points**2).mean(0), 1, atol=0.12)  # 16 384 points to calibrate, 40 000 to look
    for row in points.T:
        expect_mean(row, 0, sd=1, detect=0.06, false_fail=1e-7)


@given(gain=st.floats(0, 5), seed=st.integers(0, 100))
def test_the_map_is_odd(gain: float, seed: int) -> None:
    f = manifold(gain)
    z = torch.from_numpy(rng.stream(seed, "z").standard_normal((3, 4)))
    torch.testing.assert_close(f(-z), -f(z), rtol=1e-12, atol=1e-12)


def test_without_gain_the_map_is_linear_and_a_small_gain_comes_close() -> None:
    flat, z = manifold(0.0), torch.from_numpy(rng.stream(0, "z").standard_normal((2, 4)))
    torch.testing.assert_close(flat(z[:1] + 2 * z[1:]), flat(z[:1]) + 2 * flat(z[1:]), rtol=1e-12, atol=1e-12)
    near = Manifold(inner=flat.inner, outer=flat.outer, gain=1e-4)
    torch.testing.assert_close(near(z), flat(z), rtol=1e-6, atol=1e-6)


def test_curvature_fills_directions_that_a_flat_map_leaves_empty() -> None:
    flat, curved = (manifold(gain).spectrum(rng.stream(1, "s")) for gain in (0.0, 3.0))
    assert float(flat[4:].abs().max()) < 1e-10
    assert float(curved[4:].min()) > 0.01
    for spectrum in (flat, curved):
        assert float(spectrum.sum()) == pytest.approx(12, rel=0.03)
        assert bool((spectrum.diff() <= 1e-12).all())


def test_classes_are_exponential_in_the_intrinsic_dimension() -> None:
    target = manifold_mixture(manifold(), std=0.3, rate=1.2, stream=rng.stream(0, "m"), dtype=torch.float64)
    assert target.size == round(math.exp(1.2 * 4))
    assert target.dim == 12
    assert torch.equal(target.labels, torch.arange(target.size))
    expected = manifold().sample(target.size, rng.stream(0, "m"))
    torch.testing.assert_close(target.centroids, expected)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"dim": 3, "latent_dim": 4, "gain": 1.0}, "between 1 and dim = 3, got 4"),
        ({"dim": 3, "latent_dim": 0, "gain": 1.0}, "between 1 and dim = 3, got 0"),
        ({"dim": 3, "latent_dim": 2, "gain": -1.0}, "gain must be finite and >= 0, got -1"),
    ],
)
def test_unusable_manifolds_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        random_manifold(setting["dim"], setting["latent_dim"], gain=setting["gain"], stream=rng.stream(0, "f"))
