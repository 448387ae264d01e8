"""The effective law of a network: its two ends in closed form, a second implementation between them, and sampling."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad

from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Linear, Step
from orthoscope.settings import Setting
from orthoscope.theory import LearnedFraction, predict_effective
from orthoscope.theory.constant import dense_distortion
from orthoscope.theory.effective import learned_fraction
from orthoscope.theory.finite import solve_finite
from orthoscope.theory.predict import problem_of
from tests.theory.reference import sde_gaussian

pytestmark = pytest.mark.usefixtures("unchecked")
FOUND = ("mean_shift", "variance_shift", "variance_ratio", "class_posterior")


def setting(schedule: GuidanceSchedule, *, classes: int = 32, lam: float = 1.0, t_max: float = 50.0) -> Setting:
    return Setting.of(classes=classes, std=0.5, schedule=schedule, dim=16, t_max=t_max, start="exact", lam=lam)


@pytest.mark.parametrize(
    ("at", "learned"),
    [
        (setting(Step(early=3.0, late=-1.0, switch=0.3), lam=0.0), ((0.1, 10.0), (1.0, 1.0))),
        (setting(Constant(value=1.0), classes=40, t_max=math.inf), lambda time: 1.0),
        (setting(Linear(w0=-0.2, slope=0.3), classes=3, lam=0.5), 1.5),
    ],
    ids=["table", "function", "number"],
)
def test_who_knows_all_follows_the_exact_law_to_the_digit(at: Setting, learned: object) -> None:
    found, expected = predict_effective(at, 16, learned), solve_finite(problem_of(at), 16)
    assert [getattr(found, name) for name in FOUND] == [getattr(expected, name) for name in FOUND]
    assert np.array_equal(found.path([20.0, 0.1]), expected.path([20.0, 0.1]))


@pytest.mark.parametrize(("w", "lam"), [(-0.5, 0.0), (3.0, 0.0), (1.0, 1.0), (3.0, 1.0)])
def test_who_knows_nothing_sees_one_gaussian_from_infinity(w: float, lam: float) -> None:
    found = predict_effective(setting(Constant(value=w), lam=lam, t_max=math.inf), 16, 0.0)
    mean_shift, variance_shift = dense_distortion(0.5, w, lam)
    assert found.mean_shift == pytest.approx(float(mean_shift), abs=1e-7)
    assert found.variance_shift == pytest.approx(float(variance_shift), abs=1e-7)


@pytest.mark.parametrize(("w", "classes"), [(1.0, 2), (3.0, 5000)])
def test_who_knows_nothing_sees_one_gaussian_and_no_classes_from_a_finite_start(w: float, classes: int) -> None:
    """By the integrating factor (v r^w)^k with 1/r = U = 1 + 1/v, in which the integrals of the SDE are elementary."""
    v, top = 0.25, 50.25
    near, far = 1 + 1 / v, 1 + 1 / top
    found = predict_effective(setting(Constant(value=w), classes=classes), 16, 0.0)
    assert found.mean_shift == pytest.approx(v * (1 - (far / near) ** w), abs=1e-7)
    kept, made = far ** (2 * w) / top, (near ** (2 * w + 1) - far ** (2 * w + 1)) / (2 * w + 1)
    assert found.variance_ratio == pytest.approx(v / near ** (2 * w) * (kept + made), abs=1e-7)
    flow = predict_effective(setting(Constant(value=w), classes=classes, lam=0.0), 16, 0.0)
    assert flow.variance_ratio == pytest.approx((far / near) ** w, abs=1e-7)

    def drift(y: float) -> float:
        inverse = 1 + math.exp(-y)
        return w / 2 / inverse * math.sqrt(v / math.exp(y) * (inverse / near) ** w)

    expected, _ = quad(drift, math.log(v), math.log(top), epsabs=1e-12)
    assert flow.mean_shift == pytest.approx(expected, abs=1e-7)


def test_who_knows_nothing_under_a_schedule_is_quadrature() -> None:
    schedule = Step(early=3.0, late=-1.0, switch=0.3)
    found = predict_effective(setting(schedule, t_max=math.inf), 16, 0.0)
    shift, variance = sde_gaussian(0.25, 1.25, lambda t: 3.0 if t > 0.3 else -1.0, breaks=(0.3,))
    assert found.mean_shift == pytest.approx(shift, abs=1e-7)
    assert found.variance_shift == pytest.approx(variance - 0.25, abs=1e-7)


def test_a_table_is_linear_in_the_logarithm_of_time_and_clipped() -> None:
    table = LearnedFraction(times=(0.01, 1.0, 100.0), fractions=(1.2, 0.5, -0.3))
    assert [table(t) for t in (0.0, 0.01, 0.1, 1.0, 10.0, 1e9)] == pytest.approx([1.0, 1.0, 0.75, 0.5, 0.25, 0.0])
    unsorted = learned_fraction(([1.0, 100.0, 0.01], [0.5, -0.3, 1.2]))
    assert [unsorted(t) for t in (0.1, 10.0)] == [table(t) for t in (0.1, 10.0)]


@pytest.mark.parametrize(
    "learned",
    ["half", (1.0, 2.0), ((1.0, 2.0), (0.5,)), ((-1.0, 2.0), (0.5, 0.5)), ((1.0, 2.0), (0.5, math.nan)), math.nan],
    ids=repr,
)
def test_what_is_no_fraction_is_refused(learned: object) -> None:
    with pytest.raises(ConfigError, match="`learned`"):
        predict_effective(setting(Constant(value=2.0)), 16, learned)


def test_between_the_ends_a_decided_class_feels_what_is_not_known_and_an_undecided_one_all() -> None:
    """With p_1 = 1 guidance acts with w(1 - l) on one Gaussian, and with p_1 = 0 with w, whatever is known."""

    def moments(w: float, known: float, **law: float) -> tuple[float, float]:
        at = Setting.of(std=0.5, schedule=Constant(value=w), dim=400, t_max=2.0, start="exact", **law)
        found = predict_effective(at, 400, known)
        return found.mean_shift, found.variance_shift

    assert moments(2.0, 0.75, classes=2) == pytest.approx(moments(0.5, 0.0, classes=2), abs=1e-7)
    assert moments(2.0, 0.75, rate=3.0) == pytest.approx(moments(2.0, 0.0, rate=3.0), abs=1e-7)
