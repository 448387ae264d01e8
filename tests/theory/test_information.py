"""Information about the class, against densities integrated by themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from orthoscope.errors import ConfigError, ShapeError
from orthoscope.numerics import normal_grid
from orthoscope.theory import critical_rate, speciation_time
from orthoscope.theory.information import (
    class_information,
    mean_field_information,
    mean_field_time,
    quadrature_error,
    time_to_come,
)

Array = NDArray[np.float64]
Case = tuple[Array, Array, NDArray[np.int64], float]  # centroids, weights, labels, width of modes

POINTS = {
    "two in 1-d": (np.array([[-1.0], [1.0]]), np.array([0.5, 0.5]), np.array([0, 1]), 0.3),
    "three in 2-d, unequal": (
        np.array([[0.0, 1.0], [1.5, -0.5], [-1.0, -1.0]]), np.array([0.5, 0.3, 0.2]), np.array([0, 1, 2]), 0.5,
    ),
    "classes of several modes": (
        np.array([[0.0, 1.0], [1.5, -0.5], [-1.0, -1.0], [0.5, 0.5]]), np.array([0.4, 0.2, 0.2, 0.2]),
        np.array([0, 1, 0, 1]), 0.4,
    ),
}  # fmt: skip
CASES = pytest.mark.parametrize("case", POINTS.values(), ids=list(POINTS))


def log_mode_densities(x: Array, case: Case, t: float) -> Array:
    """Log of weight times density of every mode at every point, up to one constant."""
    means, weights, _, std = case
    return np.log(weights) - ((x[:, None] - means) ** 2).sum(-1) / (2 * (std**2 + t))


def over_class(label: int, case: Case, t: float) -> tuple[Array, Array]:
    """Nodes and weights for averages over the noised class."""
    means, weights, labels, std = case
    node, weight = normal_grid(61)
    axes = np.meshgrid(*[node] * means.shape[1], indexing="ij")
    offsets = np.stack([axis.ravel() for axis in axes], axis=-1) * math.sqrt(std**2 + t)
    mass = np.prod(np.meshgrid(*[weight] * means.shape[1], indexing="ij"), axis=0).ravel()
    own = labels == label
    points = np.concatenate([mean + offsets for mean in means[own]])
    shares = np.concatenate([mass * share for share in weights[own] / weights[own].sum()])
    return points, shares


def square_and_divergence(label: int, case: Case, t: float) -> tuple[float, float]:
    """Mean square of D_c - D_u, and KL(p_t(.|c) || p_t), over a noised class."""
    means, weights, labels, std = case
    x, share = over_class(label, case, t)
    logs = log_mode_densities(x, case, t)
    own = labels == label
    posterior = np.exp(logs - logs.max(1, keepdims=True))
    inside = posterior * own
    gap = (inside / inside.sum(1, keepdims=True) - posterior / posterior.sum(1, keepdims=True)) @ means
    shrunk = t / (std**2 + t) * gap
    log_own = np.log(inside.sum(1)) - np.log(posterior.sum(1)) - math.log(weights[own].sum())
    return float(share @ (shrunk**2).sum(1)), float(share @ log_own)


@CASES
def test_squared_differences_integrate_to_the_divergence_of_every_class(case: Case) -> None:
    times = np.geomspace(2e3, 1e-2, 120)
    for label in np.unique(case[2]):
        squares, divergences = np.array([square_and_divergence(label, case, t) for t in times]).T
        found = class_information(times, squares)
        bound = quadrature_error(times, squares) + squares[0] / times[0] ** 2
        assert np.all(np.abs(found - divergences) < bound)
        assert np.all(bound < 0.01 * divergences[-1])


def test_separable_classes_tell_the_entropy_of_their_shares() -> None:
    case = (np.array([[0.0, 4.0], [5.0, 0.0], [-5.0, -1.0]]), np.array([0.5, 0.3, 0.2]), np.array([0, 1, 2]), 0.3)
    times = np.geomspace(1e4, 1e-2, 100)
    squares = np.array([[square_and_divergence(label, case, t)[0] for t in times] for label in range(3)])
    told = class_information(times, squares)[:, -1]
    assert told == pytest.approx(-np.log(case[1]), rel=2e-3)  # each class: the surprise that it is this one
    assert case[1] @ told == pytest.approx(-case[1] @ np.log(case[1]), rel=2e-3)


@CASES
def test_far_above_the_data_the_information_is_the_variance_between_classes(case: Case) -> None:
    means, weights, labels, _ = case
    shares = np.array([weights[labels == label].sum() for label in np.unique(labels)])
    centers = np.array(
        [np.average(means[labels == c], axis=0, weights=weights[labels == c]) for c in np.unique(labels)]
    )
    between = shares @ ((centers - shares @ centers) ** 2).sum(1)
    times = np.geomspace(1e6, 1e5, 5)
    squares = [shares @ [square_and_divergence(c, case, t)[0] for c in np.unique(labels)] for t in times]
    assert class_information(times, squares) == pytest.approx(between / (2 * times), rel=1e-4)


def test_a_constant_square_is_integrated_exactly_and_the_rule_is_of_second_order() -> None:
    times = np.geomspace(50, 0.01, 7)
    assert class_information(times, np.full(7, 3.0)) == pytest.approx(3.0 / (2 * times), rel=1e-12)

    def exact(t: Array) -> Array:  # of q = t^2 / (1 + t)^2, whose integral of q / u^2 is 1 / (1 + t)
        return 1 / (2 * (1 + t))

    errors = []
    for count in (20, 40, 80, 160):
        t = np.geomspace(1e5, 0.01, count)
        found, true = class_information(t, (t / (1 + t)) ** 2), exact(t)
        assert np.all(np.abs(found - true) <= quadrature_error(t, (t / (1 + t)) ** 2) + 1 / t[0] ** 2)
        errors.append(np.abs(found - true).max())
    slopes = np.diff(np.log(errors)) / np.log(0.5)
    assert np.all(np.abs(slopes - 2) < 0.25), slopes


@given(st.lists(st.floats(0, 1e3), min_size=2, max_size=12), st.floats(0.1, 3))
def test_information_only_grows_towards_the_data(squares: list[float], spacing: float) -> None:
    times = np.exp(-spacing * np.arange(len(squares)))
    found = class_information(times, squares)
    assert np.all(np.diff(found) >= 0)
    assert np.all(found >= squares[0] / 2)


def test_trajectories_are_rows() -> None:
    times, squares = np.geomspace(9, 0.1, 6), np.arange(12.0).reshape(2, 6)
    assert np.array_equal(class_information(times, squares)[1], class_information(times, squares[1]))
    assert class_information(times, squares.mean(0)) == pytest.approx(class_information(times, squares).mean(0))


def test_the_level_at_which_a_share_is_to_come_is_read_between_levels() -> None:
    times = np.array([100.0, 10.0, 1.0, 0.1])
    held = np.array([0.1, 0.5, 1.5, 2.0])  # to come: 95, 75, 25, 0 %
    assert time_to_come(times, held, [0.95, 0.75, 0.25, 0]) == pytest.approx([100, 10, 1, 0.1])
    power = time_to_come([1e12, 10.0, 5.0], [1e-12, 0.1, 0.2], [0.75, 0.9])  # information as one over the time
    assert power == pytest.approx([20.0, 50.0])
    assert np.isnan(time_to_come(times, held, [0.99, 1.0, -0.1])).all()  # beyond the levels
    assert np.isnan(time_to_come([3.0, 2.0, 1.0], [0.0, 1.0, 2.0], 0.75))  # before anything was told


@pytest.mark.parametrize("std", [0.2, 1.0])
def test_mean_field_levels_are_those_of_the_theory_of_speciation(std: float) -> None:
    critical = float(critical_rate(std, 0.0))
    assert mean_field_information(0.0, 99.0, std) == pytest.approx(critical)
    rate = critical / 2
    assert mean_field_time(0.0, rate, std) == pytest.approx(speciation_time(rate, std, 0.0), rel=1e-9)
    for share in (0.25, 0.5):
        for one in (rate, 3 * critical):
            at = mean_field_time(share, one, std)
            assert mean_field_information(at, one, std) == pytest.approx((1 - share) * min(one, critical))
    assert mean_field_time(0.0, 3 * critical, std) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("times", "squares", "error", "message"),
    [
        ([2.0, 1.0], [1.0], ShapeError, "one value for each noise level"),
        ([1.0, 2.0], [1.0, 1.0], ConfigError, "descending"),
        ([1.0, 0.0], [1.0, 1.0], ConfigError, "positive"),
        ([2.0, 1.0], [1.0, math.nan], ConfigError, "NaN"),
        ([2.0, 1.0], [1.0, -1.0], ConfigError, ">= 0"),
    ],
)
def test_unusable_levels_are_refused(
    times: list[float], squares: list[float], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        class_information(times, squares)


def test_too_few_levels_and_predictions_that_never_differ_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 4 noise levels"):
        quadrature_error([3.0, 2.0, 1.0], [1.0, 1.0, 1.0])
    with pytest.raises(ConfigError, match="never differ"):
        time_to_come([2.0, 1.0], [0.0, 0.0], 0.5)
