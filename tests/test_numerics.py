"""Quadrature is exact where it says so, and roots stay in their brackets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from orthoscope.numerics import (
    bracketed_root,
    columns,
    dtype_name,
    golden_maximum,
    normal_grid,
    unit_gauss,
    unit_integrals,
)


@pytest.mark.parametrize("nodes", [1, 4, 10])
def test_gauss_rules_are_exact_to_their_degree(nodes: int) -> None:
    x, weights = unit_gauss(nodes)
    for degree in range(2 * nodes):
        assert weights @ x**degree == pytest.approx(1 / (degree + 1), rel=1e-13)
    assert weights @ x ** (2 * nodes) != pytest.approx(1 / (2 * nodes + 1), rel=1e-13)


@pytest.mark.parametrize("nodes", [2, 6, 10])
def test_cumulative_integrals_are_exact_to_their_degree(nodes: int) -> None:
    x, weights = unit_gauss(nodes)
    matrix = unit_integrals(nodes)
    for degree in range(nodes):
        np.testing.assert_allclose(matrix[:-1] @ x**degree, x ** (degree + 1) / (degree + 1), rtol=0, atol=1e-14)
    np.testing.assert_array_equal(matrix[-1], weights)


def test_normal_averages() -> None:
    x, weights = normal_grid(129)
    for degree, value in {0: 1, 1: 0, 2: 1, 4: 3}.items():
        assert weights @ x**degree == pytest.approx(value, abs=1e-6)
    assert weights @ np.exp(x) == pytest.approx(np.exp(0.5), abs=1e-6)
    assert weights @ np.cos(3 * x) == pytest.approx(np.exp(-4.5), abs=1e-9)
    # A step is known to half a weight of the grid.
    assert weights @ (x > 0.33) == pytest.approx(norm.sf(0.33), abs=0.02)


def test_rules_cannot_be_changed_by_their_users() -> None:
    with pytest.raises(ValueError, match="read-only"):
        unit_gauss(5)[0][0] = 1.0


def test_columns_gives_arrays_back_in_the_shape_they_came_in() -> None:
    shape, (a, b) = columns(1.0, 2.0)
    assert shape == ()
    assert (a + b).reshape(shape) == 3
    shape, (a, b) = columns([[1.0], [2.0]], [3.0, 4.0, 5.0])
    assert shape == a.shape == b.shape == (2, 3)


@given(st.lists(st.floats(0.01, 50), min_size=1, max_size=20), st.booleans())
def test_roots_of_a_smooth_function(targets: list[float], flip: bool) -> None:
    y = np.array(targets)
    low, high = np.full(y.shape, -6.0), np.full(y.shape, 6.0)
    root = bracketed_root(lambda z: np.exp(z) - y, *((high, low) if flip else (low, high)))
    np.testing.assert_allclose(root, np.log(y), rtol=0, atol=1e-14)


def test_roots_of_awkward_functions() -> None:
    step = bracketed_root(lambda z: np.sign(z - 0.3), np.zeros(1), np.ones(1))
    flat = bracketed_root(lambda z: (z - 0.3) ** 9, np.zeros(1), np.ones(1))
    assert step == pytest.approx(0.3, abs=1e-12)
    assert flat == pytest.approx(0.3, abs=1e-12)


def test_a_smooth_root_costs_few_evaluations() -> None:
    calls = []

    def function(z: np.ndarray) -> np.ndarray:
        calls.append(z)
        return np.cos(z) - z

    assert bracketed_root(function, np.zeros(1), np.ones(1)) == pytest.approx(0.7390851332151607, abs=1e-15)
    assert len(calls) < 12  # bisection alone would take 50


def test_without_a_change_of_sign_the_nearer_end_is_returned() -> None:
    root = bracketed_root(lambda z: z + 1, np.array([0.0, 0.0]), np.array([1.0, 2.0]))
    np.testing.assert_array_equal(root, [0, 0])


def test_maxima() -> None:
    centers = np.array([0.1, 0.5, 2.0])
    best = golden_maximum(lambda z: 3 - (z - centers) ** 2, np.zeros(3), np.ones(3))
    np.testing.assert_allclose(best, [3, 3, 2], rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("float32", "float32"), (np.float64, "float64"), (np.dtype("float32"), "float32"), (torch.float32, "float32"),
        (torch.bfloat16, "bfloat16"), ("double", "double"),
    ],
)  # fmt: skip
def test_floating_point_types_go_by_their_names(given: Any, name: str) -> None:
    assert dtype_name(given) == name
