"""The front door: what it answers, in which regime, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthoscope import serialize
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Linear, Step
from orthoscope.theory import Prediction, Setting, distortion, predict
from orthoscope.theory.finite import solve_finite
from orthoscope.theory.flow import check_run


def setting(schedule: GuidanceSchedule | float = 1.0, **changes: object) -> Setting:
    strength = Constant(value=schedule) if isinstance(schedule, float) else schedule
    return Setting(**({"rate": 0.2, "std": 0.5, "schedule": strength} | changes))


def test_a_committed_class() -> None:
    prediction = predict(setting())
    closed = distortion(0.2, 0.5, 1.0)
    assert prediction.regime == "committed"
    assert prediction.speciation_time == pytest.approx(float(closed.speciation_time), rel=1e-11)
    assert prediction.mean_shift == pytest.approx(float(closed.mean_shift), rel=1e-11)
    assert prediction.variance_shift == pytest.approx(float(closed.variance_shift), rel=1e-11)
    assert prediction.variance_ratio == pytest.approx(1 + prediction.variance_shift / 0.25, rel=1e-14)
    assert prediction.critical_rate == pytest.approx(1.1353856, rel=1e-6)
    assert (prediction.capture_time, prediction.class_posterior, prediction.lost) == (None, None, False)
    assert "committed: the class is decided at t = 5.768" in prediction.diagnosis()


def test_no_speciation_names_the_side() -> None:
    prediction = predict(setting(0.0, rate=0.9))
    assert prediction.regime == "dense"
    assert prediction.speciation_time is None
    assert prediction.mean_shift == prediction.variance_shift == 0
    assert "the rate 0.9 is above the critical rate 0.8047" in prediction.diagnosis()
    assert predict(setting(1.0, rate=0.9)).regime == "committed"


def test_capture_names_the_cure() -> None:
    prediction = predict(setting(-0.7))
    assert prediction.regime == "captured"
    assert prediction.lost
    assert prediction.speciation_time is None
    assert prediction.capture_time == pytest.approx(1.6135549, rel=1e-6)
    assert prediction.critical_rate is None
    assert "less negative strength" in prediction.diagnosis()


def test_a_dense_window_that_no_rate_commits() -> None:
    prediction = predict(setting(-0.8, rate=3.0, t_max=50.0))
    assert prediction.regime == "dense"
    assert "lets no class commit" in prediction.diagnosis()


def test_a_useful_window_restores_the_variance() -> None:
    prediction = predict(setting(Linear(w0=-0.25, slope=0.3), rate=0.9, t_max=50.0))
    assert prediction.regime == "dense"
    assert prediction.mean_shift > 0
    assert prediction.variance_shift > 0


def test_finite_dimension_is_asked_for_by_dim() -> None:
    at = setting(dim=45, t_max=50.0)
    prediction, direct = predict(at), solve_finite(at.problem(), 45)
    assert prediction.mean_shift == direct.mean_shift == pytest.approx(0.0382887, rel=1e-5)
    assert prediction.class_posterior == direct.class_posterior == pytest.approx(1, abs=1e-6)
    assert prediction.speciation_time == predict(setting(t_max=50.0)).speciation_time
    overlap, variance = prediction.path([0.0, 50.0])
    np.testing.assert_allclose(overlap, [1 + direct.mean_shift, 0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(variance, [0.25 + direct.variance_shift, 51.25], rtol=1e-9)


def test_captured_paths_keep_mean_field_moments_in_finite_dimension() -> None:
    infinite, finite = predict(setting(-0.7)), predict(setting(-0.7, dim=45))
    assert (finite.mean_shift, finite.variance_shift) == (infinite.mean_shift, infinite.variance_shift)
    assert finite.class_posterior == 0


@pytest.mark.parametrize("dim", [None, 20])
def test_paths_keep_the_shape_of_their_times(dim: int | None) -> None:
    prediction = predict(setting(dim=dim))
    times = np.array([[0.0, 1.0, 2.0], [5.0, 20.0, 1e4]])
    overlap, variance = prediction.path(times)
    assert overlap.shape == variance.shape == times.shape
    assert overlap[0, 0] - 1 == pytest.approx(prediction.mean_shift, rel=1e-9)
    # Far out the overlap tends to 1 + w, with w less the prior weight of the own mode.
    assert overlap[1, 2] == pytest.approx(2 - (math.exp(-4) if dim else 0), abs=1e-3)
    with pytest.raises(ConfigError, match="between 0 and t_max"):
        prediction.path([-1.0])


@given(
    st.floats(0.02, 2),
    st.floats(0.2, 1.5),
    st.floats(-1, 3),
    st.floats(0, 0.5),
    st.sampled_from(["prior", "exact"]),
    st.sampled_from([0.0, 1.0]),
)
def test_every_window_gives_a_consistent_answer(
    rate: float, std: float, w0: float, slope: float, start: str, lam: float
) -> None:
    schedule = Linear(w0=w0, slope=slope)
    prediction = predict(setting(schedule, rate=rate, std=std, start=start, lam=lam, t_max=20.0))
    assert math.isfinite(prediction.mean_shift)
    assert prediction.variance_ratio > 0
    assert (prediction.regime == "committed") == (prediction.speciation_time is not None)
    assert (prediction.regime == "captured") == prediction.lost
    if prediction.speciation_time is not None:
        assert 0 <= prediction.speciation_time <= 20
        assert prediction.critical_rate is not None
        assert rate <= prediction.critical_rate * (1 + 1e-8)
    if prediction.lost:
        assert prediction.capture_time is not None
    if prediction.regime == "dense" and prediction.critical_rate is not None:
        assert rate >= prediction.critical_rate * (1 - 1e-8)


def test_predictions_are_written_as_strict_json() -> None:
    prediction = predict(setting(0.0, rate=0.9))
    data = json.loads(serialize.dumps(prediction))
    assert data["speciation_time"] is None
    assert data["setting"]["schedule"]["type"] == "Constant"
    assert {f.name for f in dataclasses.fields(Prediction)} <= data.keys()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"std": 0.0}, "std is the width of a class"),
        ({"rate": -0.1}, "rate = log"),
        ({"rate": math.inf}, "rate = log"),
        ({"t_max": 0.0}, "t_max is the variance time"),
        ({"lam": 1.1}, "lam must lie"),
        ({"dim": 0}, "dim must be >= 1"),
        ({"dim": 10, "ensemble": "sphere"}, "not available for the sphere"),
        ({"schedule": Step(early=1.0, late=0.0, switch=0.5, clock="step")}, "clock=step"),
    ],
)
def test_unusable_settings_say_so_in_one_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        setting(**changes)
    assert "\n" not in str(caught.value)


def test_unknown_starts_are_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'prior'"):
        check_run(50.0, "priors", 1.0)


def test_growing_windows_need_a_finite_start() -> None:
    with pytest.raises(ConfigError, match="--t-max"):
        predict(setting(Linear(w0=0.0, slope=0.1)))
