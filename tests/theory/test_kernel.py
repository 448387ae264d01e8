"""The weight of a denoiser's error: closed forms, quadrature, and when the ODE minds errors less than the SDE."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Linear, Step
from orthoscope.theory import error_kernel

pytestmark = pytest.mark.usefixtures("unchecked")
TIMES = np.array([[0.0, 1e-6, 0.1], [0.3, 2.0, 400.0]])


@pytest.mark.parametrize(("lam", "k"), [(1.0, 1.0), (0.0, 0.5), (0.6, 0.68)])
def test_constant_strength_has_a_closed_form(lam: float, k: float) -> None:
    v = 0.25 + TIMES
    expected = k * (0.25 / v) ** k * (0.2 * (1 + v) / v) ** (3 * k)
    np.testing.assert_allclose(error_kernel(TIMES, 0.5, 3.0, lam), expected, rtol=1e-12)
    np.testing.assert_allclose(error_kernel(TIMES, 0.5, lam=lam), k * (0.25 / v) ** k, rtol=1e-14)


@pytest.mark.parametrize("schedule", [Step(early=3.0, late=-1.0, switch=0.3), Linear(w0=-0.2, slope=0.3)], ids=repr)
def test_a_schedule_is_quadrature(schedule: Step | Linear) -> None:
    def rate(t: float) -> float:
        return float(schedule.at_time(np.array(t))) / ((0.25 + t) * (1.25 + t))

    for t in (0.2, 0.3, 7.0):
        pulled = quad(rate, 0, t, points=[0.3], epsabs=1e-13)[0]
        expected = 0.25 / (0.25 + t) * np.exp(-pulled)
        assert error_kernel(t, 0.5, schedule) == pytest.approx(expected, rel=1e-10)


def test_the_ode_minds_late_errors_half_as_much_and_early_ones_more() -> None:
    ratio = error_kernel([0.0, 0.75, 50.0], 0.5, lam=0.0) / error_kernel([0.0, 0.75, 50.0], 0.5)
    assert ratio == pytest.approx([0.5, 1.0, np.sqrt(201) / 2])  # alike at t = 3 s^2
    guided = error_kernel([0.0, 0.75], 0.5, 3.0, 0.0) / error_kernel([0.0, 0.75], 0.5, 3.0)
    assert guided == pytest.approx([0.5, 2.5**1.5])  # guidance moves that towards clean data


@pytest.mark.parametrize("time", [-0.1, np.inf, [1.0, np.nan]], ids=repr)
def test_what_is_no_time_is_refused(time: object) -> None:
    with pytest.raises(ConfigError, match="`time` must hold finite variance times"):
        error_kernel(time, 0.5)
