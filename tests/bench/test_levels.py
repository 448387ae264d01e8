"""Several step sizes on one path: the telescoping sum, its bias, its errors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest

from orthoscope.bench.levels import multilevel, step_bias
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant, Step
from orthoscope.simulation.draw import Draw, draw
from orthoscope.simulation.setting import Simulation
from tests.stat.expect import expect_estimate

SETTING = Simulation.of(dim=20, rate=0.25, std=0.5, schedule=Constant(value=1.0), draws=1, tolerance=1e-4, t_max=50.0)


def modes(seed: int = 0, changes: Mapping[str, object] | None = None) -> Draw:
    """The modes of a seed, and on them a simulation that may differ."""
    return replace(draw(SETTING.but(seed=seed)), simulation=SETTING.but(**{"seed": seed} | dict(changes or {})))


@pytest.mark.slow
@pytest.mark.parametrize("lam", [1.0, 0.0])
def test_a_sum_over_levels_is_the_finest_level_alone(lam: float, seed: int) -> None:
    """Coarse steps leave a bias that the corrections take away; a further seed gives independent paths."""
    run = {"lam": lam, "tolerance": SETTING.numerics.tolerance if lam else 0.0}
    together = multilevel(modes(seed, run), stderr=1.2e-3, steps=(3, 6, 24)).mean_shift
    alone = multilevel(modes(seed, {**run, "seed": seed + 1}), stderr=1.2e-3, steps=(24,)).mean_shift
    expect_estimate(together.value, math.hypot(together.stderr, alone.stderr), alone.value, detect=0.02)


@pytest.mark.slow
def test_the_error_wanted_is_met_and_more_rows_are_spent_on_less(seed: int) -> None:
    loose, tight = (multilevel(modes(seed), stderr=error, steps=(4, 8)) for error in (2e-3, 6e-4))
    assert tight.mean_shift.stderr < 7.2e-4
    assert loose.mean_shift.stderr < 2.4e-3
    assert sum(level.rows for level in tight.levels) > 2 * sum(level.rows for level in loose.levels)
    assert tight.levels[0].rows > tight.levels[1].rows  # the correction varies less and costs more


def test_coarse_steps_are_found_out(seed: int) -> None:
    """A single Euler step against two on the same paths is far off; 12 steps of second order are not."""
    coarse = step_bias(modes(seed, {"order": 1}), steps=1, rows=256)
    fine = step_bias(modes(seed), steps=12, rows=256)
    assert abs(coarse.value) > 4.9 * coarse.stderr
    assert abs(fine.value) < 0.1 * abs(coarse.value)


@pytest.mark.slow
def test_runs_repeat_bit_for_bit(seed: int) -> None:
    first, second = (multilevel(modes(seed), stderr=2e-3, steps=(4, 8)).mean_shift for _ in range(2))
    assert first == second


@pytest.mark.parametrize("steps", [(), (8, 4), (0, 4), (4, 4)])
def test_levels_that_do_not_ascend_are_refused(steps: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="ascending numbers of steps"):
        multilevel(modes(), stderr=1e-3, steps=steps)


def test_an_error_of_nothing_or_out_of_reach_is_refused() -> None:
    with pytest.raises(ConfigError, match="standard error > 0, got 0"):
        multilevel(modes(), stderr=0.0)
    with pytest.raises(ConfigError, match=r"an error of 1e-06 needs \de\+\d+ planted trajectories; ask for \d\.\de-05"):
        multilevel(modes(), stderr=1e-6)


def test_a_schedule_of_steps_is_refused() -> None:
    """On every level it would be another schedule."""
    schedule = Step(early=1.0, late=0.0, switch=0.6, clock="step")
    with pytest.raises(ConfigError, match="changes with the steps"):
        multilevel(modes(changes={"schedule": schedule}), stderr=1e-3)
