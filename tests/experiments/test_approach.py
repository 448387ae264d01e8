"""The approach to mean field: 1/d in the committed regime, none in the dense one, and honest bounds."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
import xarray as xr

from orthoscope.experiments.approach import (
    ApproachStudy,
    approach_law,
    disagreement,
    gaps,
    shares,
    smallest_dim,
)
from orthoscope.plots.approach import approach_figure
from orthoscope.sweeps.points import Points, Study
from tests.stat.expect import expect_estimate

STUDY = ApproachStudy(
    rates=(0.2, 2.0), strengths=(1.0,), dims=(64, 128, 256, 1024), brute_dims=(6, 10), most_classes=10,
    trajectories=16_384, brute_draws=8, steps=40, brute_steps=12,
)  # fmt: skip


@cache
def result() -> xr.Dataset:
    ticks: list[tuple[int, int]] = []
    found = STUDY.run(Points(progress=lambda done, total: ticks.append((done, total))))
    assert {total for _, total in ticks} == {12}  # two limits, eight planted points, two by brute force
    assert sorted({done for done, _ in ticks}) == list(range(13))
    return found


def test_it_is_a_study_with_a_quick_version() -> None:
    assert isinstance(STUDY, Study)
    assert ApproachStudy.quick().trajectories < ApproachStudy().trajectories


@pytest.mark.slow
def test_mean_shifts_approach_mean_field_like_one_over_d_from_above() -> None:
    found = approach_law(result(), "mean_shift", 0.2, 1.0)
    assert found is not None
    law = found.law
    expect_estimate(law.exponent.value, law.exponent.stderr, 1.0, detect=0.8)
    assert all(gap.value > 0 for gap in gaps(result(), "mean_shift", 0.2, 1.0))
    assert law.goodness > 0.01


@pytest.mark.parametrize("name", ["mean_shift", "variance_shift"])
def test_dense_classes_know_no_dimension(name: str) -> None:
    """The slack is the bias of 40 steps, which have no moment to gather round."""
    limit = abs(float(result().sel(rate=2.0, strength=1.0)[f"{name}_mean_field"]))
    for gap in gaps(result(), name, 2.0, 1.0):
        assert abs(gap.value) < 6 * gap.stderr + 0.005 * limit
    assert smallest_dim(result(), name, 2.0, 1.0) == {"at_most": 64.0}


def test_the_finite_dimension_theory_is_compared_point_by_point() -> None:
    off = disagreement(result(), "variance_shift", 0.2, 1.0)
    assert set(off) <= {"64", "128", "256", "1024"}
    assert -0.4 < off["64"] < -0.05  # known to be too small
    assert all(0.4 < share < 1 for share in shares(result(), "variance_shift", 0.2, 1.0).values())
    finite = result().sel(rate=0.2, strength=1.0)["mean_shift_finite_dim"].values
    assert (np.diff(finite) < 0).all()


def synthetic(relative: list[float]) -> xr.Dataset:
    """A dataset whose shift lies at given relative distances from mean field, without noise."""
    values = 0.1 * (1 + np.array(relative))
    plane = ["rate", "strength"]
    return xr.Dataset(
        {
            "mean_shift": ([*plane, "dim"], values[None, None]),
            "mean_shift_stderr": ([*plane, "dim"], np.full((1, 1, values.size), 1e-9)),
            "mean_shift_mean_field": (plane, [[0.1]]),
            "mean_shift_step_error": (plane, [[0.0]]),
            "mean_shift_step_error_stderr": (plane, [[0.0]]),
        },
        coords={"rate": [0.2], "strength": [1.0], "dim": [32 * 2**k for k in range(values.size)]},
    )


def test_the_smallest_close_dimension_is_interpolated_or_bounded() -> None:
    one_over_d = synthetic([0.4, 0.2, 0.1, 0.05 / 1.28])
    assert smallest_dim(one_over_d, "mean_shift", 0.2, 1.0)["value"] == pytest.approx(
        128 * 2 ** (np.log(2) / np.log(2.56))
    )
    assert smallest_dim(synthetic([0.4, 0.2, 0.1]), "mean_shift", 0.2, 1.0) == {"above": 128.0}
    assert smallest_dim(synthetic([0.04, 0.02]), "mean_shift", 0.2, 1.0) == {"at_most": 32.0}
    back = synthetic([0.01, -0.2, 0.025])  # close by accident does not count
    assert smallest_dim(back, "mean_shift", 0.2, 1.0)["value"] > 64


def test_findings_are_plain_json_and_say_where_the_ensemble_holds() -> None:
    found = json.loads(json.dumps(ApproachStudy().summarize(result())))
    committed = found["rate 0.2, w = 1"]
    assert committed["regime"] == "committed"
    assert committed["planted_valid"] is True
    low, high = committed["mean_shift"]["exponent"]["interval_95"]
    assert low < committed["mean_shift"]["exponent"]["value"] < high
    assert found["rate 2, w = 1"]["mean_shift"]["exponent"] is None


def test_brute_force_points_have_planted_ones_beside_them() -> None:
    points = result()
    assert points["point_dim"].values.tolist() == [6, 10]
    planted, real = points["planted_mean_shift"].values, points["brute_mean_shift"].values
    assert (np.abs(planted / real - 1) < 2).all()


def test_the_figure_shows_clear_gaps_only() -> None:
    figure = approach_figure(result())
    left = figure.axes[0]
    assert left.get_xscale() == left.get_yscale() == "log"
    counts = [len(container.lines[0].get_xdata()) for container in left.containers]
    assert counts[0] == 4
    assert counts[1] < 4
