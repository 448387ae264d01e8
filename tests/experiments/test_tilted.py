from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from orthoscope.experiments.tilted import TiltedStudy
from orthoscope.plots.tilted import tilted_figure
from orthoscope.serialize import dumps
from orthoscope.sweeps.points import Study
from orthoscope.theory import guided_gaussian
from tests.stat.expect import expect_estimate

SMALL = TiltedStudy(
    samples=1000, particles=256, islands=24, steps=40, line_points=161, plane_points=33, shown=20, t_max=100.0
)


@pytest.fixture(scope="module")
def result() -> xr.Dataset:
    return SMALL.run()


def test_it_is_a_study_with_a_reduced_version() -> None:
    assert isinstance(SMALL, Study)
    quick = TiltedStudy.quick()
    assert quick.strength == TiltedStudy().strength
    assert quick.samples < TiltedStudy().samples


def test_densities_are_normalized(result: xr.Dataset) -> None:
    cell = float(result["x"][1] - result["x"][0])
    # The ODE's density is one narrow peak: the grid resolves it less well.
    np.testing.assert_allclose(result["line_density"].sum("x") * cell, 1, atol=0.02)
    cell = float(result["a"][1] - result["a"][0]) ** 2
    np.testing.assert_allclose(result["plane_density"].sel(law=["conditional", "tilted"]).sum(["a", "b"]) * cell, 1,
                               atol=0.02)  # fmt: skip


def test_tilted_samples_meet_the_tilted_law_and_guided_ones_another(result: xr.Dataset) -> None:
    found = TiltedStudy().summarize(result)
    theory = guided_gaussian(0.0, 1.0, 0.0, 2.0, SMALL.gaussian_strength)
    for law, expected in (("tilted", theory.tilted_variance), ("guided", theory.variance)):
        measured = found[f"gaussian_variance_{law}"]
        assert found[f"gaussian_variance_{law}_theory"] == expected
        # The start at T = 100 counts for less than 1e-3.
        expect_estimate(measured["value"], 1.4 * measured["stderr"], expected, bias=1e-3, detect=0.3,
                        false_fail=1e-6 / 4)  # fmt: skip
    expected = float(result["line_variance_quadrature"].sel(law="tilted")[0])
    measured = found["line_variance_tilted"]
    expect_estimate(measured["value"], 1.4 * measured["stderr"], expected, detect=0.4, false_fail=1e-6 / 4)
    measured = found["line_variance_guided"]
    with pytest.raises(AssertionError):
        expect_estimate(measured["value"], measured["stderr"], expected, detect=0.3, false_fail=1e-6 / 4)


def test_findings_are_plain_numbers(result: xr.Dataset) -> None:
    found = TiltedStudy().summarize(result)
    assert all(isinstance(value, float | dict) for value in found.values())
    assert found["line_entropy_change"]["value"] < 0
    assert found["plane_entropy_change"]["value"] < 0
    assert '"line_tilted_largest_z"' in dumps(found)


def test_the_figure_shows_three_laws_twice(result: xr.Dataset) -> None:
    axes = tilted_figure(result).axes
    assert [ax.get_title(loc="left") for ax in axes[:3]] == ["Conditional", "Tilted", "Guided"]
    for law, ax in zip(("conditional", "tilted", "guided"), axes[3:], strict=True):
        points = next(line for line in ax.lines if len(line.get_xdata()) == SMALL.shown)
        np.testing.assert_array_equal(points.get_xdata(), result["plane_shown"].sel(law=law)[:, 0])
    curve = next(line for line in axes[1].lines if line.get_label().startswith("exact"))
    np.testing.assert_array_equal(curve.get_ydata(), result["line_density"].sel(law="tilted"))
