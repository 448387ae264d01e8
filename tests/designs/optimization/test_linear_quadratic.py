"""Least effort for weak guidance: the closed form against quadrature, the moment equations and the search."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from orthoscope.designs.optimization import Goal, SpectrumLaw, design, least_effort
from orthoscope.designs.optimization.linear_quadratic import moments_of_kernels
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Linear
from orthoscope.theory.gaussian import kernels, variance_neutral_start

C, U, T = 0.25, 1.25, 30.0
LAW = SpectrumLaw(cond_mean=1.0, cond_var=C, uncond_mean=0.0, uncond_var=U, t_max=T, start="exact")


def test_integrals_of_kernels_against_quadrature() -> None:
    def integral(power: int) -> float:
        def term(y: float) -> float:
            mean, variance = (float(kernel) for kernel in kernels(np.exp(y) - C, C, U))
            return mean**power * (variance / C) ** (1 - power) * np.exp(y)

        return quad(term, np.log(C), np.log(C + T), epsabs=1e-13)[0]

    assert moments_of_kernels(C, U, T) == pytest.approx([integral(power) for power in range(3)], rel=1e-10)


def test_first_order_is_what_the_moment_equations_do() -> None:
    for size in (1e-3, 1e-4):
        window = least_effort(C, U, T, size)
        outcome = LAW.evaluate(window.schedule)
        assert outcome.mean_shift == pytest.approx(size, abs=10 * size**2)
        assert outcome.variance_ratio == pytest.approx(1, abs=10 * size**2)
        assert outcome.effort == pytest.approx(window.effort, rel=1e-9)


def test_no_line_beside_it_and_no_curve_is_cheaper() -> None:
    window = least_effort(C, U, T, 1e-3, 0.999)
    grid = np.linspace(np.log(C), np.log(C + T), 4001)
    time = np.exp(grid) - C
    mean, variance = kernels(time, C, U)
    weight = np.gradient(grid) * np.exp(grid)
    strength = window.schedule.at_time(time)
    # Any change that keeps both first-order responses is orthogonal to the optimum in the metric of the cost.
    change = np.sin(np.arange(1, 4)[:, None] * grid)
    columns = np.stack([mean * weight, variance * weight], axis=1)
    change = change - change @ columns @ np.linalg.pinv(columns)
    assert np.abs(change).max() > 0.1
    np.testing.assert_allclose(change @ (variance / C * weight * strength), 0, atol=1e-8)


def test_far_away_it_is_the_variance_neutral_window() -> None:
    window = least_effort(C, U, 1e9, 1e-3).schedule
    assert window.w0 == pytest.approx(float(variance_neutral_start(C, U, window.slope)), rel=1e-6)


def test_the_search_finds_the_line() -> None:
    found = design(LAW, Goal(objective="effort", mean_shift=1e-3, variance_ratio=1.0))
    window = least_effort(C, U, T, 1e-3)
    assert found.feasible
    assert not found.is_bang_bang
    assert isinstance(found.schedule, Linear)
    assert found.schedule.slope == pytest.approx(window.schedule.slope, rel=5e-3)
    assert found.schedule.w0 == pytest.approx(window.schedule.w0, rel=5e-3)
    assert found.outcome.effort == pytest.approx(window.effort, rel=1e-2)


@pytest.mark.parametrize(("c", "u"), [(1.0, 1.0), (2.0, 1.0), (0.0, 1.0)])
def test_a_class_that_is_not_narrower_is_refused(c: float, u: float) -> None:
    with pytest.raises(ConfigError, match="0 < conditional variance < unconditional variance"):
        least_effort(c, u, T, 0.1)


def test_an_infinite_run_is_refused() -> None:
    with pytest.raises(ConfigError, match="finite"):
        least_effort(C, U, np.inf, 0.1)
