"""Correlations of guided samples: none without guidance, one direction with it, and O(1/d)."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
import xarray as xr

from orthoscope.datasets import stored
from orthoscope.experiments.correlations import CorrelationStudy, decay, select
from orthoscope.plots.correlations import correlations_figure
from orthoscope.quantities import Estimate
from orthoscope.sweeps.points import Study
from tests.stat.expect import expect_estimate

STUDY = CorrelationStudy(
    dims=(8, 16), brute_dims=(6,), real_dims=(8, 14), reduced_dims=(16, 128, 256, 512, 1024), samples=1024, draws=3,
    reduced=8192, steps=8, reduced_steps=32,
)  # fmt: skip


@cache
def result() -> xr.Dataset:
    return STUDY.run()


def estimates(sampler: str, strength: float, kind: str, name: str) -> list[Estimate]:
    return stored(select(result(), sampler, strength, kind), name)


def test_it_is_a_study_with_a_quick_version() -> None:
    assert isinstance(STUDY, Study)
    assert CorrelationStudy.quick().samples < CorrelationStudy().samples


@pytest.mark.slow
def test_nothing_correlates_without_guidance() -> None:
    """What guidance is predicted to cause would stand out of these errors, or the control would show nothing."""
    for sampler in ("SDE", "ODE"):
        for kind in ("planted", "brute force"):
            for found in estimates(sampler, 0.0, kind, "mean_square_correlation"):
                assert abs(found.z(0.0)) < found.limit(1e-6) + 1
    predicted = select(result(), "ODE", 1.0, "planted")["mean_square_correlation_mean_field"].values
    null = estimates("ODE", 0.0, "planted", "mean_square_correlation")
    assert predicted[0] > 5 * null[0].stderr


def test_correlations_fall_like_one_over_d() -> None:
    law = decay(result(), "ODE", 1.0, "reduced")
    expect_estimate(law.exponent.value / 2, law.exponent.stderr / 2, 1.0, detect=0.5)


def test_the_excess_along_the_centroid_is_the_predicted_one() -> None:
    points = select(result(), "ODE", 1.0, "reduced")
    excess = stored(points, "along_excess")[-1]
    expected = float(points["along_excess_mean_field"][-1])
    assert expected < -0.2
    expect_estimate(excess.value, excess.stderr, expected, bias=0.003, detect=0.1)


def test_real_modes_have_an_excess_of_their_own_beside_their_planted_twin() -> None:
    """What the blind estimate would need thousands of rows for, and as large as that of one direction."""
    for sampler in ("SDE", "ODE"):
        excess = estimates(sampler, 1.0, "real modes", "along_excess")[-1]
        assert excess.value < -0.1
        assert excess.stderr < 0.03
    assert set(CorrelationStudy().summarize(result())["SDE, w = 1"]["real_modes"]["along_excess"]) == {"8", "14"}


def test_theory_and_measurement_have_no_excess_without_guidance() -> None:
    points = select(result(), "SDE", 0.0, "planted")
    assert (points["along_excess_mean_field"].values == 0).all()
    assert (points["mean_square_correlation_mean_field"].values == 0).all()


def test_findings_are_plain_json() -> None:
    found = json.loads(json.dumps(CorrelationStudy().summarize(result())))
    assert set(found["SDE, w = 1"]["exponent"]) == {"planted", "reduced"}
    assert set(found["ODE, w = 1"]["planted_against_one_direction_z"]) == {"16"}
    assert len(found["w = 0: mean square correlation in standard errors"]) == 6


def test_the_figure_has_one_panel_per_sampler() -> None:
    figure = correlations_figure(result())
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["SDE", "ODE"]
    heights = figure.axes[0].containers[0].lines[0].get_ydata()
    np.testing.assert_allclose(
        np.array(heights, dtype=float), [e.value for e in estimates("SDE", 1.0, "planted", "mean_square_correlation")]
    )
