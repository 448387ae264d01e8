"""Captured paths: the exact answer at w = -1, extrapolation, verdicts."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
import xarray as xr

from orthoscope.experiments.captured import CapturedStudy, limit, verdict
from orthoscope.guidance.schedules import Constant
from orthoscope.plots.captured import captured_figure
from orthoscope.quantities import Estimate
from orthoscope.simulation.coupled import coupled
from orthoscope.sweeps.points import Study
from tests.stat.expect import expect_estimate

STUDY = CapturedStudy(
    schedules=("constant:-1", "step:early=3,late=-0.4,switch=15"), dims=(8, 12, 16), draws=8, samples=8, steps=10
)


@cache
def result() -> xr.Dataset:
    return STUDY.run()


def test_it_is_a_study_with_a_quick_version() -> None:
    assert isinstance(STUDY, Study)
    assert CapturedStudy.quick().draws < CapturedStudy().draws


@pytest.mark.slow
def test_strength_minus_one_samples_every_class_alike(seed: int) -> None:
    """Then the overlap is 1/M on average, exactly, for M classes. Bias: the start is Gaussian, the mixture is not."""
    setting = STUDY.simulation("constant:-1", 8).but(rate=None, classes=6, draws=100, samples=16, seed=seed)
    found = coupled(setting)
    expect_estimate(found.mean_shift.value, found.mean_shift.stderr, 1 / 6 - 1, bias=0.02, detect=0.35)
    expect_estimate(found.class_posterior.value, found.class_posterior.stderr, 1 / 6, bias=0.02, detect=0.25)


def test_coupling_answers_exactly_without_guidance(seed: int) -> None:
    setting = STUDY.simulation("constant:-1", 8).but(schedule=Constant(value=0.0), start="exact", seed=seed)
    found = coupled(setting)
    assert found.mean_shift.value == pytest.approx(0.0, abs=1e-6)
    assert found.variance_shift.value == pytest.approx(0.0, abs=1e-6)


def synthetic(values: list[float]) -> xr.Dataset:
    return xr.Dataset(
        {
            "schedule": ("point", ["a"] * 4),
            "point_dim": ("point", [40, 10, 20, 30]),
            "mean_shift": ("point", values),
            "mean_shift_stderr": ("point", [1e-4] * 4),
        }
    )


def test_the_limit_is_that_of_a_straight_line_in_the_inverse_dimension() -> None:
    found = limit(synthetic([-0.5 + 3 / d for d in (40, 10, 20, 30)]), "a", "mean_shift")
    assert found.value == pytest.approx(-0.5, abs=1e-9)
    bent = limit(synthetic([-0.5 + 30 / d**2 for d in (40, 10, 20, 30)]), "a", "mean_shift")
    assert bent.stderr > 0.05  # what a line cannot follow goes into the error


def test_verdicts_follow_the_error() -> None:
    assert verdict(Estimate(value=-0.6, stderr=0.01, n=4), -0.62) == "agrees"
    assert verdict(Estimate(value=-0.6, stderr=0.001, n=4), -0.62) == "off"


@pytest.mark.slow
def test_findings_are_plain_json_with_a_verdict_each() -> None:
    found = json.loads(json.dumps(CapturedStudy().summarize(result())))
    lost, returned = (found[schedule] for schedule in STUDY.schedules)
    assert lost["regime"] == "captured"
    assert lost["mean_shift"]["theory"] == pytest.approx(-1.0)
    assert returned["regime"] == "committed"
    assert returned["capture_time"] > 0
    assert {entry[name]["verdict"] for entry in found.values() for name in ("mean_shift", "variance_shift")} <= {
        "agrees", "off",
    }  # fmt: skip


def test_the_figure_ends_at_theory() -> None:
    figure = captured_figure(result())
    ends = [line for line in figure.axes[0].lines if list(line.get_xdata()) == [0]]
    np.testing.assert_allclose([line.get_ydata()[0] for line in ends], result()["mean_shift_mean_field"].values)
