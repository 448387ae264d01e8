from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from orthoscope import rng
from orthoscope.errors import ConfigError, ShapeError
from orthoscope.targets import bandwidth, empirical, empirical_mixture
from orthoscope.targets.empirical import leave_one_out


def data(seed: int, n: int = 60, dim: int = 4) -> torch.Tensor:
    return torch.from_numpy(rng.stream(seed, "data").standard_normal((n, dim)))


@pytest.mark.parametrize("std", [0.2, 1.0])
def test_leave_one_out_is_what_naive_loops_say(std: float, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    points = data(seed).numpy()
    total = 0.0
    for i, x in enumerate(points):
        kernels = [
            math.exp(-float((x - y) @ (x - y)) / (2 * std**2)) / (2 * math.pi * std**2) ** 2
            for j, y in enumerate(points)
            if j != i
        ]
        total += math.log(sum(kernels) / len(kernels))
    assert leave_one_out(torch.from_numpy(points), std) == pytest.approx(total / len(points), rel=1e-10)
    monkeypatch.setattr(empirical, "_BLOCK_ROWS", 7)
    assert leave_one_out(torch.from_numpy(points), std) == pytest.approx(total / len(points), rel=1e-10)


def test_the_bandwidth_is_a_maximum(seed: int) -> None:
    points = data(seed)
    best = bandwidth(points)
    at_best = leave_one_out(points, best)
    for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2.0):
        assert leave_one_out(points, factor * best) < at_best


def test_the_bandwidth_moves_and_scales_with_the_data(seed: int) -> None:
    points = data(seed)
    assert bandwidth(points + 1e5) == pytest.approx(bandwidth(points), rel=1e-3)
    assert bandwidth(7 * points) == pytest.approx(7 * bandwidth(points), rel=1e-3)


def test_every_point_is_a_mode_of_its_class(seed: int) -> None:
    points, labels = data(seed), torch.arange(60) % 3
    target = empirical_mixture(points, labels)
    torch.testing.assert_close(target.centroids, points, rtol=1e-14, atol=1e-14)
    assert target.std == bandwidth(points)
    torch.testing.assert_close(target.conditional(2).centroids, points[labels == 2], rtol=1e-14, atol=1e-14)
    assert empirical_mixture(points, labels, std=0.3).std == 0.3


def test_single_precision_data_has_the_same_bandwidth(seed: int) -> None:
    assert bandwidth(data(seed).float()) == pytest.approx(bandwidth(data(seed)), rel=1e-3)


def test_duplicates_have_no_bandwidth(seed: int) -> None:
    with pytest.raises(ConfigError, match="exact duplicates make the leave-one-out bandwidth zero"):
        bandwidth(data(seed, 20).repeat(2, 1))
    with pytest.raises(ConfigError, match="all points coincide"):
        bandwidth(torch.ones(5, 2))
    with pytest.raises(ConfigError, match="at least 3 points to choose a bandwidth from, got 2"):
        bandwidth(data(seed, 2))


@pytest.mark.parametrize(
    ("points", "labels", "error", "message"),
    [
        (np.zeros((4, 2)), [0, 1, 1], ShapeError, "got 3 labels for 4 rows"),
        (np.array([[0, 1], [np.nan, 0], [0, np.inf]]), [0, 1, 1], ConfigError, "2 of 3 rows hold NaN or infinity"),
        (np.zeros((3, 2)), [1, 1, 1], ConfigError, "at least 2 classes, got 1"),
        (np.zeros((0, 2)), [], ConfigError, "at least 2 classes, got 0"),
    ],
)
def test_unusable_data_is_refused(points: np.ndarray, labels: list[int], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        empirical_mixture(torch.from_numpy(points).double(), torch.tensor(labels, dtype=torch.int64))
