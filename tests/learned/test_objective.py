"""What a network learns, against the formulas written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from orthoscope import rng
from orthoscope.errors import ConfigError, ShapeError
from orthoscope.learned import Labelled
from orthoscope.learned.objective import denoised, lesson
from tests.learned.cases import points
from tests.stat.expect import expect_rate


def in_double(n: int, seed: int) -> Labelled:
    data = points(n, seed)
    return Labelled(x=data.x.double(), labels=data.labels, classes=data.classes)


def test_the_true_velocity_gives_back_the_data(seed: int) -> None:
    data = in_double(50, seed)
    one = lesson(data, rng.stream(seed, "noise"))
    torch.testing.assert_close(denoised(one.state, one.target, one.sigma), data.x, rtol=1e-9, atol=1e-12)


def test_the_denoised_mean_is_that_of_the_published_preconditioning(seed: int) -> None:
    """Karras et al. write D = c_skip x + c_out F; here the data have unit size and F is minus the velocity."""
    generator = rng.stream(seed, "any")
    x, velocity = (torch.from_numpy(generator.standard_normal((20, 3))) for _ in range(2))
    sigma = torch.from_numpy(np.exp(generator.uniform(-4, 4, 20)))
    c_skip, c_out, c_in = 1 / (1 + sigma**2), sigma / (1 + sigma**2).sqrt(), 1 / (1 + sigma**2).sqrt()
    expected = c_skip[:, None] * x - c_out[:, None] * velocity
    torch.testing.assert_close(denoised(c_in[:, None] * x, velocity, sigma), expected)


def test_every_part_of_the_quarter_circle_gets_one_angle(seed: int) -> None:
    n = 64
    sigma = lesson(points(n, seed), rng.stream(seed, "angles")).sigma
    assert bool((sigma > 0).all())
    parts = (sigma.double().atan() / (math.pi / 2) * n + 1e-4).floor().sort().values
    assert parts.int().tolist() == list(range(n))


def test_labels_are_forgotten_at_the_share_asked_for(seed: int) -> None:
    data = points(4000, seed)
    forgotten = lesson(data, rng.stream(seed, "labels"), null_share=0.15).labels == data.classes
    expect_rate(forgotten.numpy(), 0.15, detect=0.06)
    kept = lesson(data, rng.stream(seed, "labels")).labels
    assert torch.equal(kept, data.labels)


@pytest.mark.usefixtures("unchecked")
def test_unusable_data_are_refused() -> None:
    x = torch.zeros(3, 2)
    with pytest.raises(ShapeError, match="one label each"):
        Labelled(x=x, labels=torch.zeros(2, dtype=torch.long), classes=2)
    with pytest.raises(ConfigError, match="labels must be 0 to 1"):
        Labelled(x=x, labels=torch.tensor([0, 1, 2]), classes=2)
