from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from orthoscope.errors import ConfigError
from orthoscope.metrics.away import Away, squared_distance
from orthoscope.metrics.modes import far_from_modes, is_far
from orthoscope.targets import mixture
from tests.stat.expect import expect_estimate


def test_samples_of_the_class_are_at_distance_1_and_far_as_often_as_chi_square_says(seed: int) -> None:
    source, dim = np.random.default_rng(seed), 16
    law = mixture(torch.from_numpy(30 * np.eye(2, dim)), std=0.5)
    x = law.centroids[0].numpy() + 0.5 * source.standard_normal((40_000, dim))
    far = far_from_modes(law, torch.from_numpy(x))
    squares = squared_distance(x, law.centroids[0].numpy(), 0.25 * np.eye(dim))
    found = Away(squares=squares, far=far.double().numpy()).estimates()
    expect_estimate(found["class_distance"].value, found["class_distance"].stderr, 1.0, detect=0.02)
    rare = chi2.sf(dim + 3.5 * math.sqrt(2 * dim), dim)
    expect_estimate(found["far_share"].value, found["far_share"].stderr, rare, detect=0.005)
    # Between the two modes a sample is far from both; at the other one, from its class only.
    places = torch.from_numpy(np.array([15 * np.eye(2, dim).sum(0), 30 * np.eye(2, dim)[1]]))
    assert far_from_modes(law, places).tolist() == [True, False]


def test_a_covariance_counts_in_the_directions_that_hold_all_but_a_hundredth_of_it() -> None:
    rows = np.array([[2.0, 0.0], [0.0, 3.0]])
    np.testing.assert_allclose(squared_distance(rows, np.zeros(2), np.diag([4.0, 1.0])), [0.5, 4.5])
    for narrow in (0.0, 0.04):  # of 4.04 the wider direction holds 99.01 %
        np.testing.assert_allclose(squared_distance(rows, np.zeros(2), np.diag([4.0, narrow])), [1.0, 0.0])
    np.testing.assert_allclose(squared_distance(rows, np.zeros(2), np.diag([4.0, 0.05])), [0.5, 90.0])
    with pytest.raises(ConfigError, match="images of a class do not vary"):
        squared_distance(rows, np.zeros(2), np.zeros((2, 2)))


def test_differences_on_one_noise_are_paired(seed: int) -> None:
    noise = np.random.default_rng(seed).random(500)
    one, other = (Away(squares=k * noise, far=(noise > 0.9).astype(float)) for k in (4, 1))
    gap = one.less(other)
    alone = one.estimates()["class_distance"]
    assert gap["class_distance"].value == pytest.approx(alone.value / 2, rel=1e-9)
    assert gap["class_distance"].stderr == pytest.approx(alone.stderr / 2, rel=1e-9)
    assert gap["far_share"].value == 0
    assert gap["far_share"].stderr == pytest.approx(1 / 504)  # none differed, and one may
    assert one.less(Away()) == {}


def test_far_is_said_once_for_arrays_and_tensors() -> None:
    squares = np.array([4 + 3.5 * math.sqrt(8) + 0.01, 4 + 3.5 * math.sqrt(8) - 0.01])
    assert is_far(squares, 4).tolist() == is_far(torch.from_numpy(squares), 4).tolist() == [True, False]
