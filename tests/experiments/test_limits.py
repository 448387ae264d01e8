"""Closed limits against simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orthoscope.errors import ConfigError
from orthoscope.experiments.limits import crossing, dense_shifts, few_classes, planted, speciation
from orthoscope.guidance.schedules import Constant
from orthoscope.quantities import Estimate
from orthoscope.simulation.radial import RadialResult, radial
from orthoscope.simulation.setting import Simulation
from tests.stat.expect import expect_estimate

SMALL = Simulation.of(
    dim=16,
    rate=0.2,
    std=0.5,
    schedule=Constant(value=1.0),
    modes="planted",
    start="exact",
    samples=64,
    draws=1,
    steps=8,
    t_max=50.0,
)


def path(times: np.ndarray, posterior: np.ndarray) -> RadialResult:
    """A result with a given mean posterior."""
    return replace(
        radial(SMALL),
        times=tuple(times.tolist()),
        posterior=tuple(Estimate(value=float(p), stderr=0.01, n=100) for p in posterior),
    )


def test_a_crossing_is_interpolated_where_the_logit_is_straight_in_log_v() -> None:
    times = np.array([20.0, 9.0, 4.0, 1.0, 0.0])
    posterior = 1 / (1 + np.exp(3 * np.log((times + 0.25) / (5.75 + 0.25))))
    found = crossing(path(times, posterior))
    assert found.value == pytest.approx(5.75, rel=1e-9)
    near = posterior[2]  # the level next to the crossing, where the logit has slope 3 in log v
    assert found.stderr == pytest.approx(0.01 / (near * (1 - near)) / 3 * 6.0, rel=1e-6)


@pytest.mark.parametrize("posterior", [np.linspace(0.6, 1, 5), np.linspace(0, 0.4, 5)])
def test_a_posterior_that_does_not_cross_is_refused(posterior: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="does not cross 1/2"):
        crossing(path(np.array([20.0, 9.0, 4.0, 1.0, 0.0]), posterior))


@pytest.mark.slow
def test_speciation_happens_where_the_implicit_equation_says() -> None:
    found = speciation(planted(rate=0.2, trajectories=16_384, steps=60), (256, 512, 1024, 4096))
    expect_estimate(found.limit.value, found.limit.stderr, found.theory, bias=0.005, detect=0.25)
    lowest = found.rows[0].measured  # finite dimension alone would be off
    assert lowest.differs(found.theory, false_alarm=1e-6)


def test_there_is_no_speciation_to_measure_above_the_critical_rate() -> None:
    with pytest.raises(ConfigError, match="above the critical one"):
        speciation(planted(rate=1.5, trajectories=64, steps=8), (64, 128))


@pytest.mark.parametrize("rate", [2.0, 1e4])
def test_dense_shifts_are_constant_from_the_lowest_dimension_on(rate: float) -> None:
    """At a very large rate they are those of infinitely many classes. Bias: 120 steps."""
    found = dense_shifts(planted(rate=rate, trajectories=8192, steps=120), (8, 32))
    for name, detect in (("mean_shift", 0.02), ("variance_shift", 0.015)):
        for row in found[name]:
            expect_estimate(row.measured.value, row.measured.stderr, row.theory, bias=0.002, detect=1.5 * detect)


@pytest.mark.slow
def test_a_fixed_number_of_classes_is_forgotten_like_one_over_d() -> None:
    real = Simulation.of(
        dim=8, classes=16, std=0.5, schedule=Constant(value=1.0), t_max=1.0, start="exact", draws=8, samples=24,
        steps=16, grid="geometric",
    )  # fmt: skip
    found = few_classes(real, (8, 16, 32, 64))
    expect_estimate(found.law.exponent.value, found.law.exponent.stderr, 1.0, detect=2.5)
    values = [row.measured.value for row in found.rows]
    assert values[0] > 3 * values[-1] > 0
    ratios = [row.measured.value / row.theory for row in found.rows]
    assert 0.8 < ratios[-1] < 2.5
