from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from orthoscope import rng
from orthoscope.errors import ConfigError
from orthoscope.targets import class_count, random_mixture, random_planted
from orthoscope.targets.ensembles import mixture_bytes, random_centroids
from tests.stat.expect import expect_mean, expect_variance


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gaussian_centroids_are_standard_normal_and_the_same_in_every_precision(dtype: torch.dtype, seed: int) -> None:
    drawn = random_centroids(20, 2000, rng.stream(seed, "m"), dtype=dtype)
    expect_mean(drawn, 0, sd=1, detect=0.06, false_fail=5e-7)
    expect_variance(drawn, 1, detect=0.1, false_fail=5e-7)
    assert torch.equal(drawn.float(), random_centroids(20, 2000, rng.stream(seed, "m"), dtype=torch.float32))


def test_spherical_centroids_lie_on_the_sphere_of_squared_radius_dim(seed: int) -> None:
    drawn = random_centroids(20, 500, rng.stream(seed, "m"), ensemble="sphere", dtype=torch.float64)
    torch.testing.assert_close(drawn.square().sum(1), torch.full((500,), 20.0).double(), rtol=1e-12, atol=0)
    expect_mean(drawn.mean(1), 0, sd=1 / math.sqrt(20), detect=0.1)


def test_the_first_modes_do_not_depend_on_how_many_follow() -> None:
    few, many = (random_centroids(8, n, rng.stream(1, "m"), dtype=torch.float32) for n in (10, 300_000))
    assert torch.equal(few, many[:10])  # blocks are drawn one after the other


def test_every_mode_is_a_class() -> None:
    target = random_mixture(5, rate=0.5, std=0.3, stream=rng.stream(0, "m"))
    assert target.size == round(math.exp(2.5))
    assert torch.equal(target.labels, torch.arange(target.size))
    np.testing.assert_allclose(target.log_weights, -math.log(target.size), rtol=1e-6)


def test_the_number_of_classes() -> None:
    assert class_count(64, rate=0.2) == 362_217
    assert class_count(3, classes=7) == 7


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"dim": 0, "classes": 3}, "dim must be at least 1, got 0"),
        ({"dim": 3}, "not both or neither"),
        ({"dim": 3, "classes": 3, "rate": 0.1}, "not both or neither"),
        ({"dim": 3, "rate": 0.0}, "rate must be finite and > 0, got 0"),
        ({"dim": 3, "rate": math.nan}, "rate must be finite"),
        ({"dim": 3, "rate": 0.01}, "at least 2 classes, got 1; raise"),
        ({"dim": 3, "classes": 1}, "at least 2 classes, got 1"),
        ({"dim": 1000, "rate": 0.2}, r"exp\(200\) classes cannot be stored; use `modes` planted"),
    ],
)
def test_unusable_numbers_of_classes_are_refused(setting: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        class_count(**setting)


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_ensemble_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown ensemble 'spheer'; did you mean 'sphere'"):
        random_mixture(3, classes=3, std=1.0, stream=rng.stream(0, "m"), ensemble="spheer")
    with pytest.raises(ConfigError, match="dim must be at least 1"):
        random_planted(0, std=1.0, log_classes=1.0, stream=rng.stream(0, "m"))


def test_memory_is_counted_for_any_number_of_modes() -> None:
    for dim in (4, 5, 64):
        table = random_mixture(dim, classes=1000, std=1.0, stream=rng.stream(0, "m")).table
        assert mixture_bytes(dim, math.log(1000)) == pytest.approx(table.nbytes + 8 * 1000)
    assert mixture_bytes(1000, 5000.0) == math.inf
