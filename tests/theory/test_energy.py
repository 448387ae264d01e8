"""The random-energy model of the other modes: against search, and against enumeration of drawn modes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orthoscope.errors import ConfigError
from orthoscope.theory.energy import GaussianModes, SphereModes, modes
from tests.stat.expect import expect_estimate
from tests.theory.reference import free_energy, gaussian_log_sum, gaussian_margin, sphere_log_sum, sphere_margin

GAUSSIAN, SPHERE = GaussianModes(), SphereModes()
squares, variances, rates = st.floats(0.05, 20), st.floats(0.02, 20), st.floats(0.01, 3)


def one(value: float) -> np.ndarray:
    return np.array([value])


def own_energy(shift: float, excess: float, variance: float) -> float:
    """Log-weight of the state's own mode per dimension."""
    return -(shift**2 + variance + excess) / (2 * variance)


@given(squares, variances, rates)
def test_free_energy_is_the_least_over_temperatures(square: float, v: float, rate: float) -> None:
    value = GAUSSIAN.free_energy(one(square), one(v), one(rate))[0]
    assert value == pytest.approx(free_energy(square, v, rate), rel=1e-7, abs=1e-9)


@example(19.0, 0.03125)  # the pull starts at 1 but for 1e-9
@example(30.0, 0.02)
@given(squares, variances)
def test_free_energy_is_continuous_where_it_condenses(square: float, v: float) -> None:
    edge = GAUSSIAN.condensation_rate(one(square), one(v))
    if edge[0] <= 1e-3:
        return
    below, above = (GAUSSIAN.free_energy(one(square), one(v), edge + step)[0] for step in (-1e-9, 1e-9))
    assert above - below == pytest.approx(0, abs=1e-7)
    assert GAUSSIAN.frozen_pull(one(square), edge)[0] == pytest.approx(1 / (1 + v), rel=1e-10)


@given(squares, variances)
def test_condensation_is_where_the_entropy_of_the_sum_vanishes(square: float, v: float) -> None:
    # rate + psi(n) - n psi'(n) = 0 at n = 1, with a numerical derivative.
    h = 1e-5
    slope = (gaussian_log_sum(square, v, 1 + h) - gaussian_log_sum(square, v, 1 - h)) / (2 * h)
    expected = slope - gaussian_log_sum(square, v, 1)
    assert GAUSSIAN.condensation_rate(one(square), one(v))[0] == pytest.approx(expected, rel=1e-6, abs=1e-8)


@given(squares, variances)
def test_log_sums(square: float, v: float) -> None:
    assert GAUSSIAN.log_sum(one(square), one(v))[0] == pytest.approx(gaussian_log_sum(square, v, 1), rel=1e-13)
    assert SPHERE.log_sum(one(square), one(v))[0] == pytest.approx(sphere_log_sum(square, v), rel=1e-9)


@given(st.floats(-0.9, 2), st.floats(-0.5, 0.5), st.floats(0.6, 20))
def test_speciation_rates_are_where_the_margins_vanish(shift: float, excess: float, v: float) -> None:
    arguments = (one(shift), one(excess), one(v))
    q, variance = 1 + shift, v + excess
    free = 20.0  # a rate at which no sum is condensed
    margin = gaussian_margin(q, variance, v, free) + free
    assert GAUSSIAN.speciation_rate(*arguments)[0] == pytest.approx(margin, abs=1e-13)
    assert SPHERE.speciation_rate(*arguments)[0] == pytest.approx(sphere_margin(q, variance, v, 0.0), abs=1e-9)


def test_unguided_classes_speciate_and_condense_together() -> None:
    v = np.geomspace(1e-3, 1e6, 50)
    zero = np.zeros_like(v)
    for ensemble in (GAUSSIAN, SPHERE):
        np.testing.assert_allclose(
            ensemble.speciation_rate(zero, zero, v), ensemble.condensation_rate(1 + v, v), rtol=1e-9
        )
    np.testing.assert_allclose(GAUSSIAN.speciation_rate(zero, zero, v), np.log1p(1 / v) / 2, rtol=1e-15)


@pytest.mark.parametrize("ensemble", ["gaussian", "sphere"])
@pytest.mark.parametrize(("square", "v"), [(1.5, 1.0), (3.0, 0.7)])
def test_partition_functions_average_to_the_annealed_sum(ensemble: str, square: float, v: float, seed: int) -> None:
    # The mean weight of one mode over draws is exp(d psi) exactly for Gaussian modes. On the sphere the prefactor of a
    # saddle point remains, so that only the growth between two dimensions is compared: O(1/d) there.
    generator = np.random.default_rng(seed)
    logs, errors = [], []
    sizes = (4, 8)
    for dim in sizes:
        m = generator.standard_normal((400_000, dim))
        if ensemble == "sphere":
            m *= math.sqrt(dim) / np.linalg.norm(m, axis=1, keepdims=True)
        x = np.zeros(dim)
        x[0] = math.sqrt(square * dim)
        weights = np.exp(-((x - m) ** 2).sum(1) / (2 * v))
        logs.append(math.log(weights.mean()))
        errors.append(weights.std() / weights.mean() / math.sqrt(len(weights)))
    psi = float(modes(ensemble).log_sum(one(square), one(v))[0])
    if ensemble == "gaussian":
        for dim, value, error in zip(sizes, logs, errors, strict=True):
            expect_estimate(value, error, dim * psi, detect=0.05 + 11 * error, false_fail=5e-7)
    else:
        expect_estimate((logs[1] - logs[0]) / 4, math.hypot(*errors) / 4, psi, bias=0.06, detect=0.2, false_fail=1e-6)


@pytest.mark.parametrize(("rate", "square", "v"), [(0.2, 3.0, 0.3), (0.3, 1.25, 0.25), (0.6, 1.5, 2.0)])
def test_free_energy_against_drawn_energies(rate: float, square: float, v: float, seed: int) -> None:
    # Energies of independent modes in d dimensions, at the two largest sizes that fit; condensed twice, free once. The
    # finite-size shift is log(d)/d when condensed: slack below is its predicted size, and it must shrink.
    generator = np.random.default_rng(seed)
    phi = float(GAUSSIAN.free_energy(one(square), one(v), one(rate))[0])
    condensed = rate < GAUSSIAN.condensation_rate(one(square), one(v))[0]
    gaps = []
    for dim in (round(6 / rate), round(10 / rate)):
        count = round(math.exp(rate * dim))
        x = np.zeros(dim)
        x[0] = math.sqrt(square * dim)
        values = []
        for _ in range(40):
            # Only x.m and |m|^2 matter: a normal number and an independent chi-square.
            along = generator.standard_normal(count)
            rest = generator.chisquare(dim - 1, count)
            energy = ((x[0] - along) ** 2 + rest) / (2 * v)
            values.append((np.log(np.exp(energy.min() - energy).sum()) - energy.min()) / dim)
        mean, error = float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(len(values)))
        slack = 1.5 * math.log(dim) / dim if condensed else 2 / dim
        expect_estimate(mean, error, phi, bias=slack, detect=2 * slack + 11 * error, false_fail=5e-7)
        gaps.append(abs(mean - phi))
    assert gaps[1] < gaps[0] + 0.02


def test_unknown_ensembles_are_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'sphere'"):
        modes("spheres")


@given(st.floats(-0.9, 2), st.floats(-0.5, 0.5), st.floats(0.6, 20), rates)
def test_margin_and_pull_are_those_of_the_phase_that_holds(shift: float, excess: float, v: float, rate: float) -> None:
    for ensemble in (GAUSSIAN, SPHERE):
        margin, pull = (part[0] for part in ensemble.margin(one(shift), one(excess), one(v), one(rate)))
        square = one((1 + shift) ** 2 + v + excess)
        expected = own_energy(shift, excess, v) - ensemble.free_energy(square, one(v), one(rate))
        assert margin == pytest.approx(expected[0], rel=1e-9, abs=1e-12)
        assert pull == pytest.approx(ensemble.pull(square, one(v), one(rate))[0], rel=1e-12)
        assert ensemble.rest(one(pull), one(v))[0] == pytest.approx(1 - pull, abs=1e-15)


def test_what_a_free_pull_leaves_keeps_its_digits() -> None:
    v = one(1e-12)
    assert GAUSSIAN.rest(GAUSSIAN.free_pull(one(1.0), v), v)[0] == pytest.approx(1e-12 / (1 + 1e-12), rel=1e-15)
