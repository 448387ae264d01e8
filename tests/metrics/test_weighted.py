"""Weighted images: equal weights change nothing, others stand for another law."""

from __future__ import annotations

import numpy as np
import pytest

from orthoscope import metrics, rng

GROUPS = np.repeat([0, 1], 20)


def test_equal_weights_on_one_run_are_its_images() -> None:
    x = rng.stream(1, "weighted").standard_normal((1, 40, 3))
    rows, variance = metrics.weighted_within(x, np.full((1, 40), 0.3), GROUPS)
    assert np.allclose(rows, x[0])
    plain = metrics.variance_within(x[0], GROUPS)
    assert np.allclose(variance.values, plain.values)
    # Two equal runs are one: their rows share a seed.
    again = metrics.weighted_within(np.concatenate([x, x]), np.ones((2, 40)), GROUPS)[1]
    assert np.allclose(again.values, plain.values)


def test_likelihood_ratios_give_mean_and_variance_of_the_other_law() -> None:
    stream, shift, width = rng.stream(2, "weighted"), 0.4, 0.9
    x = stream.standard_normal((1, 40_000, 2))
    weights = np.exp((np.square(x) - np.square((x - shift) / width)).sum(2) / 2)
    groups = np.repeat(np.arange(1000), 40)
    rows, variance = metrics.weighted_within(x, weights, groups)
    for found, truth in ((rows.mean(1), shift), (variance.values, 2 * width**2)):
        means = found.reshape(1000, 40).mean(1)
        # 5 errors, and the bias of weights that are normalized by their sum: O(1/40).
        assert abs(means.mean() - truth) < 5 * means.std() / 1000**0.5 + 0.01 * truth
    assert abs(variance.value - 2) > 0.1  # which is that of the images themselves


@pytest.mark.parametrize(("weights", "counted"), [([1, 1, 1, 1], 4), ([1, 0, 0, 0], 1), ([1, 1, 0, 0], 2)])
def test_images_that_count(weights: list[float], counted: float) -> None:
    one = np.array([weights, weights], dtype=float)  # rows of one seed count once
    assert metrics.effective_images(one, np.zeros(4, dtype=int)) == pytest.approx([counted])
    assert metrics.effective_images(0 * one, np.zeros(4, dtype=int)) == pytest.approx([0])
