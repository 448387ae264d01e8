from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthoscope import rng
from orthoscope.errors import ConfigError
from orthoscope.experiments.capacity import crossing, descent, flat_rate, information, spectral_variance, subspace
from orthoscope.experiments.collapse import collapses, theory_errors
from orthoscope.experiments.manifold import ManifoldStudy
from orthoscope.guidance.schedules import Constant
from orthoscope.plots.manifold import manifold_figure
from orthoscope.settings import Setting
from orthoscope.targets.structured import random_manifold
from orthoscope.theory import predict
from orthoscope.theory.spectrum import log_capacity, predict_spectrum
from tests.stat.expect import expect_estimate

SMALL: dict[str, Any] = {
    "dims": (8,), "fractions": (0.5,), "log_classes": (3.0,), "strengths": (0.0, 0.01, 2.0), "classes": 12,
    "draws": 3, "steps": 16, "codewords": 2000,
}  # fmt: skip


# Theory of a spectrum


@given(rate=st.floats(0.05, 1.0), std=st.floats(0.1, 1.0), strength=st.floats(0.0, 5.0))
def test_equal_eigenvalues_are_flat_space(rate: float, std: float, strength: float) -> None:
    flat = predict(Setting.of(rate=rate, std=std, schedule=Constant(value=strength)))
    found = predict_spectrum(rate * 10, np.ones(10), std, strength)
    assert (found.speciation_time is None) == (flat.speciation_time is None)
    if flat.speciation_time is not None:
        assert found.speciation_time == pytest.approx(flat.speciation_time, rel=1e-7, abs=1e-9)
    assert found.mean_shift == pytest.approx(flat.mean_shift, rel=1e-6, abs=1e-12)
    assert found.variance_shift == pytest.approx(flat.variance_shift, rel=1e-6, abs=1e-12)


@given(unit=st.floats(0.1, 10), strength=st.floats(0, 5))
def test_units_of_the_data_are_a_matter_of_scale(unit: float, strength: float) -> None:
    values = np.array([3.0, 1.0, 0.2])
    one = predict_spectrum(2.0, values, 0.3, strength)
    other = predict_spectrum(2.0, unit**2 * values, unit * 0.3, strength)
    assert other.speciation_time == pytest.approx(unit**2 * one.speciation_time, rel=1e-6)
    assert other.mean_shift == pytest.approx(one.mean_shift, rel=1e-6)
    assert other.variance_shift == pytest.approx(unit**2 * one.variance_shift, rel=1e-6)


def test_empty_directions_only_dilute_the_variance() -> None:
    full, padded = (predict_spectrum(2.0, values, 0.3, 1.0) for values in ([2.0, 1.0], [2.0, 1.0, 0.0, 0.0]))
    assert padded.speciation_time == full.speciation_time
    assert padded.mean_shift == full.mean_shift
    assert padded.variance_shift == pytest.approx(full.variance_shift / 2)


def test_unguided_capacity_is_that_of_a_gaussian_channel_and_its_inverse() -> None:
    values = np.array([3.0, 1.0, 0.2])
    expected = 0.5 * np.log1p(values / (0.7 + 0.09)).sum()
    assert log_capacity(0.7, values, 0.3) == pytest.approx(expected, rel=1e-12)
    assert spectral_variance(expected, values) == pytest.approx(0.79, rel=1e-9)
    assert flat_rate(0.79) == pytest.approx(0.5 * np.log1p(1 / 0.79))
    assert subspace(8, 2).tolist() == [4, 4, 0, 0, 0, 0, 0, 0]


def test_too_many_classes_never_commit() -> None:
    assert predict_spectrum(20.0, np.ones(4), 0.5).speciation_time is None


@pytest.mark.parametrize(("size", "values"), [(2.0, [1.0, -1.0]), (2.0, [0.0]), (2.0, [math.nan]), (0.0, [1.0])])
def test_unusable_spectra_are_refused(size: float, values: list[float]) -> None:
    with pytest.raises(ConfigError):
        predict_spectrum(size, values, 0.3)


# Information


def test_the_information_of_a_flat_manifold_is_that_of_a_gaussian(seed: int) -> None:
    """Where it is far below log(codewords); the standard error is that of a sum of three log-odds of variance < 1."""
    manifold = random_manifold(6, 3, gain=0.0, stream=rng.stream(0, "f"))
    eigenvalues = torch.linalg.eigvalsh(manifold.outer @ manifold.inner @ (manifold.outer @ manifold.inner).T).numpy()
    variances, rows = np.array([1.0, 4.0]), 4000
    found = information(manifold, variances, 20_000, rng.stream(seed, "z"), rows=rows)
    for value, v in zip(found, variances, strict=True):
        expected = 0.5 * np.log1p(eigenvalues / v).sum()
        density = np.sqrt((eigenvalues / (eigenvalues + v)).sum())  # of the information density
        expect_estimate(value, density / np.sqrt(rows), expected, bias=0.03, detect=0.4)


def test_a_curved_manifold_lets_fewer_classes_through_than_its_covariance() -> None:
    manifold = random_manifold(16, 4, gain=3.0, stream=rng.stream(0, "f"))
    spectrum = manifold.spectrum(rng.stream(1, "s")).numpy()
    variances = np.array([0.2, 0.5])
    found = information(manifold, variances, 20_000, rng.stream(2, "z"), rows=400)
    gaussian = np.array([0.5 * np.log1p(spectrum / v).sum() for v in variances])
    assert (found < gaussian - 0.3).all()


def test_levels_are_met_between_points() -> None:
    log_v = np.array([3.0, 2.0, 1.0, 0.0])
    assert descent(log_v, np.array([0.0, 0.2, 0.6, 0.9]), 0.5) == pytest.approx(1.25)
    assert math.isnan(descent(log_v, np.array([0.0, 0.2, 0.3, 0.4]), 0.5))
    assert crossing(log_v[::-1], np.array([9.0, 6.0, 4.0, 1.0]), 5.0) == pytest.approx(math.exp(1.5))


# Collapse


def test_the_variable_behind_the_data_collapses_it_and_another_does_not(seed: int) -> None:
    stream = rng.stream(seed, "collapse")
    x = np.geomspace(0.1, 1, 30)
    other = x * np.tile([1.0, 2.0, 4.0], 10)
    noise = 0.02 * stream.standard_normal((30, 40))
    found = collapses((-np.log(x) + 0.2 * np.log(x) ** 2)[:, None] + noise, {"x": x, "other": other})
    assert found["x"].spread.value == pytest.approx(0.02 / np.sqrt(40), rel=0.6)
    assert found["other"].spread.value > 100 * found["x"].spread.value
    assert 0.2 < found["x"].chi2 < 3  # 27 degrees of freedom
    assert found["x"].points == 30


def test_points_without_an_answer_are_left_out() -> None:
    values = np.outer(np.arange(1.0, 7.0), [1.0, 1.01])
    values[2, 1] = np.nan
    assert collapses(values, {"x": np.arange(1.0, 7.0)})["x"].points == 5
    with pytest.raises(ConfigError, match="more than 3 points of 2 draws each, got 3"):
        collapses(values[:4], {"x": np.arange(1.0, 5.0)})


def test_errors_of_theories_are_root_mean_squares() -> None:
    values = np.array([[1.0, 1.2], [2.0, 2.2], [3.0, 3.2]])
    found = theory_errors(values, {"low": np.array([1.0, 2.0, 3.0]), "none": np.full(3, np.nan)})
    assert set(found) == {"low"}
    assert found["low"].spread.value == pytest.approx(0.1)


# The study


@pytest.mark.slow
def test_weak_guidance_shifts_the_mean_by_what_the_sample_tells_about_its_class() -> None:
    """An identity for any modes, here on a curved manifold with classes that overlap: shift * |m|^2 = 2 w std^2 I.

    Bias: second order in w = 0.01 and in the steps. With 30 draws Student's t passes the normal limit of 1e-9 at 1e-6.
    """
    many = {"strengths": (0.0, 0.01), "classes": 160, "draws": 30, "std": 0.5, "steps": 30, "codewords": 500}
    study = ManifoldStudy(**SMALL | many)
    result = study.run().isel(point=0)
    weak, free = result.sel(strength=0.01), result.sel(strength=0.0)
    told = free["class_information_draw"].values
    gap = weak["mean_shift_draw"].values * free["centroid_square_draw"].values / (2 * 0.01 * 0.25) - told
    assert float(free["class_posterior"]) < 0.95  # or log(M) would do as well as the information
    error = gap.std(ddof=1) / math.sqrt(30)
    expect_estimate(gap.mean(), error, 0.0, bias=0.06, detect=0.2 * told.mean(), false_fail=1e-9)


def test_a_study_is_reproducible_and_labelled() -> None:
    first, again = (ManifoldStudy(**SMALL).run() for _ in range(2))
    assert first.identical(again)
    assert first.sizes["point"] == 1
    assert first["point_latent_dim"].item() == 4
    assert (first["mean_shift_draw"].sel(strength=0.0) == 0).all()
    assert (first["rate_ambient"] == 3 / 8).all()
    assert (first["rate_intrinsic"] == 3 / 4).all()
    assert first["mean_shift"].attrs["long_name"] == "mean shift"
    assert float(first["flat_variance"][0]) == pytest.approx(1 / math.expm1(2 * float(first["rate"][0])))


def test_findings_answer_in_numbers_and_the_figure_draws() -> None:
    setting = SMALL | {"dims": (6, 8), "fractions": (0.5, 1.0), "log_classes": (2.5, 3.0)}
    result = ManifoldStudy(**setting).run()
    found = json.loads(json.dumps(ManifoldStudy().summarize(result)))
    assert set(found["collapse"]) == {
        "speciation_time at w = 0", "mean_shift at w = 0.01", "speciation_time at w = 2", "mean_shift at w = 2",
    }  # fmt: skip
    assert set(found["best"].values()) <= {*found["collapse"]["mean_shift at w = 2"]}
    assert all(entry["committed"] == 1 for entry in found["transition"])
    assert len(manifold_figure(result).axes) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strengths": (1.0, 2.0)}, "ascending strengths of which the first is 0"),
        ({"strengths": (0.0,)}, "at least 2 ascending"),
        ({"draws": 1}, "at least 2"),
        ({"fractions": (1.5,)}, r"must lie in \(0, 1\]"),
    ],
)
def test_unusable_studies_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ManifoldStudy(**SMALL | change)
