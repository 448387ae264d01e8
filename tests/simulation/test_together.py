"""Several schedules on common random numbers."""

from __future__ import annotations

import numpy as np
import pytest

from orthoscope.denoise import Active, Committed, FixedLabel
from orthoscope.errors import ConfigError
from orthoscope.guidance.by_row import ByRow
from orthoscope.guidance.schedules import Constant, Step
from orthoscope.simulation.control import QUANTITIES
from orthoscope.simulation.draw import draw
from orthoscope.simulation.setting import Simulation
from orthoscope.simulation.simulate import simulate
from orthoscope.simulation.together import simulate_together
from orthoscope.theory.odds import stopping_odds

SETTING = Simulation.of(
    dim=16, rate=0.3, std=0.5, schedule=Constant(value=1.0), samples=64, draws=4, steps=12, t_max=50.0
)


@pytest.mark.parametrize("tolerance", [0.0, 1e-3])
def test_each_schedule_gets_what_it_gets_alone(tolerance: float, seed: int) -> None:
    """On a grid that does not depend on the schedule; equal to rounding, since batches of another size are read."""
    setting = SETTING.but(seed=seed, grid="geometric", tolerance=tolerance)
    found = simulate_together(setting, [Constant(value=3.0)])
    for schedule, together in zip(found.schedules, found.estimates, strict=True):
        alone = simulate(setting.but(schedule=schedule)).estimates
        limit = 1e-4 if tolerance == 0 else 2e-2  # the smaller stopping odds count for both
        for name in QUANTITIES:
            assert together[name].value == pytest.approx(alone[name].value, abs=limit)


def test_differences_are_those_of_the_estimates_with_far_smaller_errors(seed: int) -> None:
    found = simulate_together(SETTING.but(seed=seed), [Constant(value=1.3)])
    first, other = found.estimates
    gap = found.differences[0]["mean_shift"]
    assert gap.value == pytest.approx(other["mean_shift"].value - first["mean_shift"].value, abs=1e-9)
    apart = np.hypot(first["mean_shift"].stderr_within, other["mean_shift"].stderr_within)
    assert gap.stderr_within < 0.3 * apart


def test_equal_schedules_do_not_differ(seed: int) -> None:
    found = simulate_together(SETTING.but(seed=seed, draws=2), [Constant(value=1.0)])
    assert all(abs(gap.value) < 1e-5 for gap in found.differences[0].values())


def test_jumps_of_every_schedule_are_on_the_grid(seed: int) -> None:
    """A window that jumps between two levels would otherwise act on the wrong part of a step."""
    window = Step(early=1.0, late=-0.5, switch=3.7)
    setting = SETTING.but(seed=seed, grid="geometric")
    together = simulate_together(setting, [window]).estimates[1]
    alone = simulate(setting.but(schedule=window)).estimates
    for name in QUANTITIES:
        assert together[name].value == pytest.approx(alone[name].value, abs=1e-4)


@pytest.mark.parametrize("modes", ["memory", "regenerated"])
def test_what_is_decided_is_not_read(modes: str, seed: int) -> None:
    setting = SETTING.but(seed=seed, modes=modes, draws=1, grid="geometric", steps=24)
    full, less = (simulate_together(setting.but(tolerance=t), [Constant(value=3.0)]) for t in (0.0, 1e-2))
    assert less.modes_read < 0.95 * full.modes_read


def test_every_sampler_gets_the_way_of_stopping_that_holds_for_it() -> None:
    """Odds of leaving promise nothing along an ODE; of several schedules the most demanding one counts."""
    schedules = Constant(value=1.0), Constant(value=3.0)
    for lam in (1.0, 0.0):
        setting = SETTING.but(lam=lam, tolerance=1e-2)
        one = draw(setting)
        both, strong = (one.denoiser(one.levels, ByRow(few)).reference for few in (schedules, schedules[1:]))
        if lam:
            assert isinstance(both, Committed)
            assert isinstance(strong, Committed)
            assert both.odds == strong.odds == pytest.approx(stopping_odds(1e-2, 3.0))
        else:
            assert isinstance(both, FixedLabel)
            assert isinstance(both.denoiser, Active)
    with pytest.raises(ConfigError, match="use a `tolerance` of 0"):
        simulate_together(SETTING.but(lam=0.0, tolerance=1e-2, modes="regenerated"), schedules[1:])


def test_one_dimension_has_nothing_across_the_centroid(seed: int) -> None:
    found = simulate_together(SETTING.but(dim=1, rate=None, classes=4, seed=seed), [Constant(value=2.0)])
    assert set(QUANTITIES) - set(found.differences[0]) == {"variance_shift_across"}


def test_schedules_that_cannot_share_a_grid_are_refused() -> None:
    with pytest.raises(ConfigError, match="noise levels, not steps"):
        simulate_together(SETTING, [Step(early=1.0, late=0.0, switch=0.6, clock="step")])
    with pytest.raises(ConfigError, match="at least one schedule"):
        simulate_together(SETTING, [])
