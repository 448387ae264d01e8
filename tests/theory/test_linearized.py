"""Moments from affine branches: against those of one Gaussian, and a conditional branch that is known to be off."""

from __future__ import annotations

import math

import numpy as np
import pytest

from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Step
from orthoscope.settings import Setting
from orthoscope.theory import predict_effective
from orthoscope.theory.linearized import AffineBranches, gaussian_branches, predict_linearized

pytestmark = pytest.mark.usefixtures("unchecked")
TIMES = tuple(np.geomspace(1e-4, 60, 240).tolist())
STD = 0.5


@pytest.mark.parametrize("lam", [0.0, 1.0], ids=["ODE", "SDE"])
@pytest.mark.parametrize("schedule", [Constant(value=3.0), Step(early=3.0, late=-1.0, switch=0.3)])
def test_one_gaussian_has_the_moments_of_who_knows_nothing(schedule: GuidanceSchedule, lam: float) -> None:
    found = predict_linearized(gaussian_branches(TIMES, STD), schedule, std=STD, t_max=50.0, lam=lam)
    at = Setting.of(classes=9, std=STD, schedule=schedule, dim=16, t_max=50.0, start="exact", lam=lam)
    expected = predict_effective(at, 16, 0.0)
    assert found == pytest.approx((expected.mean_shift, expected.variance_ratio), abs=3e-5)


def test_a_conditional_branch_that_aims_beyond_its_class_moves_the_mean() -> None:
    """With a pull a and no slope, unguided: de/dlog v = e - a under the SDE, so e = a (1 - s^2/v_max); no variance."""
    none = [0.0] * len(TIMES)
    branches = AffineBranches(times=TIMES, cond_pull=[0.1] * len(TIMES), cond_slope=none, pull=none, slope=none)
    mean_shift, variance_ratio = predict_linearized(branches, Constant(value=5.0), std=STD, t_max=50.0)
    assert mean_shift == pytest.approx(0.1 * (1 - STD**2 / (50 + STD**2)), rel=1e-6)
    assert variance_ratio == pytest.approx(1, rel=1e-6)


def test_bad_tables_and_times_are_refused() -> None:
    with pytest.raises(ConfigError, match="ascending"):
        gaussian_branches((1.0, 0.5), STD)
    with pytest.raises(ConfigError, match="length"):
        AffineBranches(times=(1.0, 2.0), cond_pull=(0.0,), cond_slope=(0.0, 0.0), pull=(0.0, 0.0), slope=(0.0, 0.0))
    with pytest.raises(ConfigError, match="t_max"):
        predict_linearized(gaussian_branches(TIMES, STD), Constant(value=1.0), std=STD, t_max=math.inf)
