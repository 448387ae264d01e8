"""Estimators of one simulation: same expectation as the plain one, smaller errors. d = 24, rate 0.2: 122 classes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant, Step
from orthoscope.quantities import Estimate
from orthoscope.simulation.completion import Completion
from orthoscope.simulation.control import QUANTITIES, planted_law, row_values
from orthoscope.simulation.draw import draw
from orthoscope.simulation.estimators import choose
from orthoscope.simulation.setting import Simulation
from orthoscope.simulation.simulate import simulate
from orthoscope.targets import Mixture
from tests.stat.expect import expect_estimate

SETTING = Simulation.of(
    dim=24, rate=0.2, std=0.5, schedule=Constant(value=1.0), samples=96, draws=24, steps=12, tolerance=1e-3, t_max=50.0
)
DETECT = {"mean_shift": 0.035, "variance_shift": 0.012, "variance_shift_along": 0.06, "variance_shift_across": 0.012}


def expect_equal(a: Estimate, b: Estimate, *, detect: float) -> None:
    expect_estimate(a.value, math.hypot(a.stderr, b.stderr), b.value, detect=detect, false_fail=1e-6 / len(DETECT))


@pytest.mark.slow
@pytest.mark.parametrize("w", [1.0, -0.3])
@pytest.mark.parametrize("name", ["controlled", "completed"])
def test_expectations_are_those_of_plain_estimates(name: str, w: float, seed: int) -> None:
    """Against other modes and other noise, so that nothing but the law is shared."""
    setting = SETTING.but(seed=seed, schedule=Constant(value=w))
    plain = simulate(setting.but(seed=seed + 1, tolerance=0.0, draws=64)).estimates
    better = simulate(setting, estimator=choose(name, setting)).estimates
    for quantity, detect in DETECT.items():
        expect_equal(better[quantity], plain[quantity], detect=(1 if w > 0 else 4) * detect)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "gain"), [("controlled", 40.0), ("completed", 2.5)])
def test_errors_from_trajectories_are_far_smaller(name: str, gain: float, seed: int) -> None:
    """Variance of the mean shift of one trajectory; 150 and 4.7 were measured for these modes."""
    setting = SETTING.but(seed=seed)
    plain, better = simulate(setting), simulate(setting, estimator=choose(name, setting))
    errors = [one.estimates["mean_shift"].stderr_within for one in (plain, better)]
    assert (errors[0] / errors[1]) ** 2 > gain


def test_the_ratio_is_that_of_the_better_variance(seed: int) -> None:
    setting = SETTING.but(draws=2, seed=seed)
    found = simulate(setting, estimator=choose("controlled", setting)).estimates
    assert found["variance_ratio"].value == pytest.approx(1 + found["variance_shift"].value / 0.25, abs=1e-12)


def test_row_values_average_to_the_plain_estimates(seed: int) -> None:
    one = replace(draw(SETTING), simulation=SETTING.but(seed=seed))
    run = one.run()
    plain, values = one.estimates(run), row_values(run.x.double().numpy(), one.centroid)
    for name in QUANTITIES:
        less = 0.25 if name.startswith("variance") else 1.0
        assert values[name].mean() - less == pytest.approx(plain[name].value, abs=1e-9)


def test_the_twin_has_the_class_and_the_number_of_classes_of_the_modes() -> None:
    target, twin = draw(SETTING).target, draw(SETTING).planted().target
    assert isinstance(target, Mixture)
    assert torch.equal(twin.centroid, target.centroids[0])
    assert math.exp(twin.log_classes) == pytest.approx(target.size)


@pytest.mark.slow
def test_the_planted_law_is_what_planted_runs_measure(seed: int) -> None:
    """For the same centroid: reduced coordinates against the full sampler, and a longer centroid is noticed."""
    setting = SETTING.but(seed=seed, modes="planted", tolerance=0.0, samples=4000, steps=30)
    one = draw(setting)
    length, plain = float(np.linalg.norm(one.centroid)), one.estimates(one.run())
    law = planted_law(SETTING.but(seed=seed), length=length)
    for name, detect in DETECT.items():
        expect_equal(plain[name], law[name], detect=detect)
    other = planted_law(SETTING.but(seed=seed), length=1.5 * length)["mean_shift"]
    assert abs(other.value - law["mean_shift"].value) > 0.01


def test_the_law_of_a_schedule_of_steps_is_on_the_grid_of_the_runs() -> None:
    """On 8 steps switches at 45 % and at 50 % are one and the same; on a finer grid they are not."""
    early, late = (Step(early=4.0, late=-0.5, switch=switch, clock="step") for switch in (0.45, 0.5))
    law = planted_law(SETTING.but(schedule=early, steps=8))
    assert law == planted_law(SETTING.but(schedule=late, steps=8))
    assert law != planted_law(SETTING.but(schedule=early, steps=20))


def test_one_dimension_can_be_completed(seed: int) -> None:
    setting = SETTING.but(dim=1, rate=None, classes=4, draws=2, seed=seed, tolerance=1e-2)
    found = simulate(setting, estimator=choose("completed", setting)).estimates
    assert "variance_shift_across" not in found
    assert found["variance_shift"].stderr > 0


def test_completed_rows_are_decided_rows_carried_on(seed: int) -> None:
    """Without guidance every end has the same mean overlap, whatever the row: exactly what completion must return."""
    setting = SETTING.but(seed=seed, schedule=Constant(value=0.0), start="exact", samples=200)
    one, watcher = draw(setting), Completion()
    guided = setting.but(schedule=Constant(value=1e-12))  # strength 0 would not ask which class a row is in
    run = replace(one, simulation=guided).run(one.levels, watchers=[watcher.watch])
    means, variances = watcher.rows(one, run)
    assert (variances > 0).mean() > 0.9  # nearly all were decided before the end
    assert (variances < 0.25).all()
    # Law of total variance: what lies between the means and what each has left add up to the class's own.
    spread = means.var(0, ddof=1).mean() + variances.mean()
    assert spread == pytest.approx(0.25, rel=0.05)
    ends = run.x.double().numpy()
    z = (ends - means)[variances > 0] / np.sqrt(variances[variances > 0])[:, None]
    expect_estimate(z.mean(), 1 / math.sqrt(z.size), 0.0, detect=0.2)


def test_rows_that_are_never_decided_stay_as_they_end(seed: int) -> None:
    setting = SETTING.but(seed=seed, tolerance=1e-15, samples=32)
    one, watcher = draw(setting), Completion()
    run = one.run(watchers=[watcher.watch])
    means, variances = watcher.rows(one, run)
    open_rows = variances == 0
    assert open_rows.any()
    np.testing.assert_array_equal(means[open_rows], run.x.double().numpy()[open_rows])


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("controled", {}, "did you mean 'controlled'"),
        ("controlled", {"modes": "planted"}, "modes held in memory"),
        ("controlled", {"dim": 3, "rate": 1.0}, "at least 4 dimensions, got 3"),
        ("completed", {"tolerance": 0.0}, "`tolerance` > 0"),
        ("completed", {"lam": 0.0}, "the reverse SDE"),
    ],
)
def test_what_cannot_be_estimated_so_is_refused(name: str, change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose(name, SETTING.but(**change))
