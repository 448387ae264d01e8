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
from orthoscope.settings import Setting, check_run
from orthoscope.theory import Prediction, distortion, guided_gaussian, predict
from orthoscope.theory.finite import solve_finite
from orthoscope.theory.predict import problem_of


def setting(schedule: GuidanceSchedule | float = 1.0, **changes: object) -> Setting:
    strength = Constant(value=schedule) if isinstance(schedule, float) else schedule
    return Setting.of(**({"rate": 0.2, "std": 0.5, "schedule": strength} | changes))


def test_a_committed_class() -> None:
    prediction = predict(setting())
    closed = distortion(0.2, 0.5, 1.0)
    assert prediction.regime == "committed"
    assert prediction.speciation_time == pytest.approx(float(closed.speciation_time), rel=1e-11)
    assert prediction.mean_shift == pytest.approx(float(closed.mean_shift), rel=1e-11)
    assert prediction.variance_shift == pytest.approx(float(closed.variance_shift), rel=1e-11)
    assert prediction.variance_ratio == pytest.approx(1 + prediction.variance_shift / 0.25, rel=1e-14)
    assert prediction.critical_rate == pytest.approx(1.1353856, rel=1e-6)
    assert (prediction.condensation_time, prediction.capture_time) == (None, None)
    assert (prediction.class_posterior, prediction.lost, prediction.theory) == (None, False, "mean_field")
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
    assert prediction.condensation_time == pytest.approx(prediction.capture_time, rel=1e-12)
    assert prediction.critical_rate is None
    assert "less negative strength" in prediction.diagnosis()


def test_a_return_from_capture_is_told() -> None:
    prediction = predict(setting(-0.3, t_max=50.0))
    assert prediction.regime == "committed"
    captured, returned = prediction.capture_time, prediction.speciation_time
    assert captured is not None
    assert returned is not None
    expected = f"captured at t = {captured:.4g}, returned to its class at t = {returned:.4g}; leading order only"
    assert expected in prediction.diagnosis()


@pytest.mark.parametrize(
    ("schedule", "t_max", "blamed"),
    [
        (Constant(value=-0.8), 50.0, "this schedule and start let no class commit"),
        (Constant(value=-0.8), math.inf, "this schedule lets no class commit"),
        (Linear(w0=-0.8, slope=0.0001), 50.0, "this schedule lets no class commit"),
    ],
    ids=repr,
)
def test_what_no_rate_commits_is_blamed_on_schedule_and_start(
    schedule: GuidanceSchedule, t_max: float, blamed: str
) -> None:
    prediction = predict(setting(schedule, rate=3.0, t_max=t_max))
    assert prediction.regime == "dense"
    assert prediction.critical_rate is None
    assert blamed in prediction.diagnosis()


def test_a_useful_window_restores_the_variance() -> None:
    prediction = predict(setting(Linear(w0=-0.25, slope=0.3), rate=0.9, t_max=50.0))
    assert prediction.regime == "dense"
    assert prediction.mean_shift > 0
    assert prediction.variance_shift > 0


def test_finite_dimension_is_asked_for_by_dim() -> None:
    at = setting(dim=45, t_max=50.0)
    prediction, direct = predict(at), solve_finite(problem_of(at), 45)
    assert prediction.mean_shift == direct.mean_shift == pytest.approx(0.0379134, rel=1e-5)
    assert prediction.class_posterior == direct.class_posterior == pytest.approx(1, abs=1e-6)
    assert prediction.theory == "finite_dim"
    assert prediction.speciation_time == predict(setting(t_max=50.0)).speciation_time
    overlap, variance = prediction.path([0.0, 50.0])
    np.testing.assert_allclose(overlap, [1 + direct.mean_shift, 0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(variance, [0.25 + direct.variance_shift, 51.25], rtol=1e-9)


# A start within the condensed phase, from which the strength, never negative, wins the class back.
FROZEN = {"schedule": Constant(value=2.0), "rate": 0.3, "t_max": 0.8}


@pytest.mark.parametrize(
    "captured",
    [{"schedule": Constant(value=-0.7)}, {"schedule": Constant(value=-0.3), "t_max": 50.0}],
    ids=["lost", "returned"],
)
def test_captured_paths_keep_mean_field_moments_in_finite_dimension(captured: dict[str, object]) -> None:
    infinite, finite = predict(setting(**captured)), predict(setting(**captured, dim=45))
    assert finite.capture_time is not None
    assert (finite.mean_shift, finite.variance_shift) == (infinite.mean_shift, infinite.variance_shift)
    assert (finite.theory, finite.class_posterior) == ("mean_field", None)
    assert "in infinite dimension: no theory of captured paths knows the dimension" in finite.diagnosis()
    for found, expected in zip(finite.path([0.0, 0.5]), infinite.path([0.0, 0.5]), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("unchecked")
def test_frozen_paths_have_condensed_without_being_captured() -> None:
    prediction = predict(setting(**FROZEN))
    assert prediction.condensation_time == pytest.approx(0.8, rel=1e-12)
    assert prediction.capture_time is None
    finite = predict(setting(**FROZEN, dim=45))
    assert finite.theory == "finite_dim"
    assert finite.class_posterior == pytest.approx(1, abs=1e-6)
    assert finite.path([0.0])[0][0] - 1 == pytest.approx(finite.mean_shift, rel=1e-7)
    # Later, at a strength that turns negative, what has condensed is captured.
    # Moments and posterior tend to those of mean field, though a frozen sum is far from an annealed one.
    narrow = {"schedule": Constant(value=4.0), "std": 0.3, "t_max": 0.3}
    limit, far = predict(setting(**narrow)), predict(setting(**narrow, dim=2000))
    assert (limit.mean_shift, limit.variance_shift) == pytest.approx((-0.10682, 0.021124), abs=1e-5)
    assert (far.mean_shift, far.variance_shift) == pytest.approx((limit.mean_shift, limit.variance_shift), abs=3e-4)
    assert "the path frozen from t = 0.3 on" in far.diagnosis()
    later = predict(setting(Step(early=0.5, late=-0.9, switch=0.6), rate=0.3, t_max=0.8))
    assert later.condensation_time == pytest.approx(0.8, rel=1e-12)
    assert later.capture_time == pytest.approx(0.6, rel=1e-8)


@pytest.mark.parametrize("dim", [None, 16])
@pytest.mark.parametrize(
    ("schedule", "rate", "t_max"),
    [
        (Constant(value=3.0), 20.0, math.inf),
        (Step(early=3.0, late=6.0, switch=1e-6), 20.0, 10.0),  # dense: a pair of Gaussians in every dimension
    ],
)
def test_variance_ratios_far_below_one_keep_their_digits(
    schedule: GuidanceSchedule, rate: float, t_max: float, dim: int | None
) -> None:
    prediction = predict(setting(schedule, rate=rate, std=1e-4, t_max=t_max, lam=0.0, dim=dim))
    pair = guided_gaussian(1.0, 1e-8, 0.0, 1 + 1e-8, schedule, lam=0.0, t_max=t_max)
    assert prediction.variance_ratio < 1e-10
    assert prediction.variance_ratio == pytest.approx(pair.variance / 1e-8, rel=1e-10 if dim is None else 1e-5)
    assert prediction.mean_shift == pytest.approx(pair.mean_shift, rel=1e-10 if dim is None else 1e-5)


def test_committed_flows_keep_a_variance_that_was_nearly_lost_before() -> None:
    prediction = predict(setting(40.0, rate=1.0, std=0.5, lam=0.0))
    v = 0.25 + prediction.speciation_time
    assert prediction.variance_ratio == pytest.approx((v / (1 + v)) ** 40, rel=1e-9)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dim", [None, 16])
@pytest.mark.parametrize("lam", [0.0, 1.0])
@pytest.mark.parametrize("std", [1e-6, 0.5, 1e6])
def test_the_ends_of_the_allowed_range_do_not_overflow(std: float, lam: float, dim: int | None) -> None:
    for w, start in [(-0.3, "prior"), (2.0, "exact")]:
        prediction = predict(setting(w, std=std, t_max=1e12, lam=lam, start=start, dim=dim))
        assert math.isfinite(prediction.mean_shift)
        assert prediction.variance_ratio > 0


@pytest.mark.parametrize("dim", [None, 20])
def test_paths_keep_the_shape_of_their_times(dim: int | None) -> None:
    prediction = predict(setting(dim=dim))
    times = np.array([[0.0, 1.0, 2.0], [5.0, 20.0, 1e4]])
    overlap, variance = prediction.path(times)
    assert overlap.shape == variance.shape == times.shape
    assert overlap[0, 0] - 1 == pytest.approx(prediction.mean_shift, rel=1e-7)
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
    if prediction.capture_time is not None:
        assert prediction.condensation_time is not None
        assert prediction.condensation_time >= prediction.capture_time
    if None not in (prediction.condensation_time, prediction.speciation_time):
        assert prediction.condensation_time >= prediction.speciation_time
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
        ({"t_max": 0.0}, "`t_max` is the variance time"),
        ({"lam": 1.1}, "`lam` must lie"),
        ({"dim": 0}, "`dim` must be >= 1"),
        ({"dim": 10, "ensemble": "sphere"}, "not available for the sphere"),
        ({"dim": 3, "rate": 0.01}, "expected at least 2 classes, got 1.03: raise the rate or `dim`"),
        ({"dim": 10, "rate": 0.0693}, "expected at least 2 classes, got 1.999"),
        ({"std": 1e-7}, "std must lie between 1e-06 and 1e"),
        ({"std": 1e7}, "std must lie between 1e-06 and 1e"),
        ({"t_max": 1e13}, "`t_max` must be at most 1e"),
        ({"schedule": Step(early=1.0, late=0.0, switch=0.5, clock="step")}, "clock=step"),
    ],
)
def test_unusable_settings_say_so_in_one_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        predict(setting(**changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dim", [1, 3, 7, 10, 49, 1000])
def test_two_classes_are_enough(dim: int) -> None:
    assert setting(rate=math.log(2) / dim, dim=dim).dim == dim


def test_unknown_starts_are_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'prior'"):
        check_run(50.0, "priors", 1.0)


def test_growing_windows_need_a_finite_start() -> None:
    with pytest.raises(ConfigError, match="`t_max`"):
        predict(setting(Linear(w0=0.0, slope=0.1)))
