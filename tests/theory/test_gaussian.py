"""Two Gaussians: closed forms against quadrature, published numbers, limits, and the theorem on signs."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp
from scipy.special import hyp2f1

from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Interval, Linear, Step, Tabulated
from orthoscope.theory.flow import response
from orthoscope.theory.gaussian import (
    constant_gaussian,
    guided_gaussian,
    kernels,
    scheduled_gaussian,
    tilted_gaussian,
    variance_neutral_start,
)
from tests.theory.reference import TIGHT, sde_gaussian

WIDTHS = [(1.0, 2.0), (0.25, 1.25), (0.01, 3.0), (2.0, 0.5)]
STRENGTHS = [-1.0, -0.5, -0.2, 0.0, 0.3, 1.0, 6.0, 40.0]
SCHEDULES: list[GuidanceSchedule] = [
    Constant(value=1.5),
    Linear(w0=-0.4, slope=0.3),
    Linear(w0=-0.4, slope=0.5, clock="sigma"),
    Linear(w0=0.5, slope=-0.2, clock="logsnr"),
    Step(early=3.0, late=-1.0, switch=1.0),
    Interval(inside=4.0, low=0.3, high=2.0),
    Tabulated(at=(0.0, 1.0, 1.0, 4.0), strengths=(-0.5, 0.0, 2.0, 1.0)),
]


def integrated(
    c: float, u: float, schedule: GuidanceSchedule, lam: float, t_max: float, start: str
) -> tuple[float, float]:
    """Shift and variance from the moment equations themselves, in the mean and the variance."""
    k = (1 + lam**2) / 2

    def slope(time: float, state: np.ndarray) -> list[float]:
        w = float(schedule.at_time(time))
        decay = (1 + w) / (c + time) - w / (u + time)
        mean = (1 + w) * (1 - state[0]) / (c + time) + w * state[0] / (u + time)
        return [-k * mean, 2 * k * decay * state[1] - lam**2]

    state = [1.0, c + t_max] if start == "exact" else [0.0, u + t_max]  # mu_c = 1, mu_u = 0
    marks = [t_max, *(t for t in schedule.switches() if 0 < t < t_max), 0.0]
    for high, low in pairwise(marks):
        inside = 1e-13 * (high - low)
        state = solve_ivp(slope, (high - inside, low + inside), state, **TIGHT).y[:, -1]
    return state[0] - 1, state[1]


@pytest.mark.parametrize(
    ("c", "u", "w"),
    # The quadrature of the reference overflows for a wide conditional law and a large strength.
    [(c, u, w) for c, u in WIDTHS for w in STRENGTHS if c < u or w < 10],
)
def test_sde_from_infinity_is_its_integral(c: float, u: float, w: float) -> None:
    shift, variance = constant_gaussian(c, u, w)
    expected = sde_gaussian(c, u, lambda t: w)
    assert float(shift) == pytest.approx(expected[0], rel=1e-10, abs=1e-13)
    assert float(variance) == pytest.approx(expected[1], rel=1e-10)


@pytest.mark.parametrize(("c", "u"), WIDTHS)
@pytest.mark.parametrize("w", STRENGTHS)
def test_ode_from_infinity_is_its_integral(c: float, u: float, w: float) -> None:
    # H(t) = (c+t)^((1+w)/2) (u+t)^(-w/2); with t = y^2 the integrand of the mean decays like 1/y^2.
    def integrand(y: float) -> float:
        t = y * y
        log_ratio = ((1 + w) * math.log((c + t) / c) - w * math.log((u + t) / u)) / 2
        return y * w / (u + t) * math.exp(-log_ratio)

    expected = quad(integrand, 0, 1, epsabs=0, epsrel=1e-12)[0]
    expected += quad(integrand, 1, math.inf, epsabs=0, epsrel=1e-12, limit=400)[0]
    shift, variance = constant_gaussian(c, u, w, lam=0.0)
    assert float(shift) == pytest.approx(expected, rel=1e-10, abs=1e-14)
    assert float(variance) == pytest.approx(c * (c / u) ** w, rel=1e-14)


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("start", ["prior", "exact"])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize(("c", "u"), [(0.25, 1.25), (2.0, 0.5)])
def test_any_schedule_obeys_the_moment_equations(
    c: float, u: float, schedule: GuidanceSchedule, start: str, lam: float
) -> None:
    shift, variance = scheduled_gaussian(c, u, schedule, lam=lam, t_max=20.0, start=start)
    expected = integrated(c, u, schedule, lam, 20.0, start)
    # Where the strength diverges at t = 0 the reference integrates less well.
    rough = 1e-7 if schedule.clock == "logsnr" else 1e-10
    assert (float(shift), float(variance)) == pytest.approx(expected, rel=rough, abs=rough)


@pytest.mark.parametrize("schedule", SCHEDULES[:1] + SCHEDULES[4:6], ids=repr)
def test_schedules_from_infinity_are_their_integrals(schedule: GuidanceSchedule) -> None:
    breaks = tuple(sorted(t for t in schedule.switches() if t > 0))
    expected = sde_gaussian(0.25, 1.25, lambda t: float(schedule.at_time(t)), breaks)
    shift, variance = scheduled_gaussian(0.25, 1.25, schedule)
    assert (float(shift), float(variance)) == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("lam", [0.0, 0.6, 1.0])
def test_a_constant_schedule_is_the_closed_form(lam: float) -> None:
    c, u = np.array([1.0, 0.3, 2.0]), np.array([2.0, 1.3, 1.5])
    for w in (-1.0, -0.5, 0.0, 2.0):
        closed = constant_gaussian(c, u, w, lam)
        marched = scheduled_gaussian(c, u, Step(early=w, late=w, switch=0.7), lam=lam)
        np.testing.assert_allclose(marched, closed, rtol=1e-11, atol=1e-12)


@given(st.floats(-1, 60), st.floats(0.02, 0.98), st.floats(0.5, 2))
def test_response_is_its_integral(w: float, r: float, order: float) -> None:
    def integrand(s: float) -> float:
        return (r / (1 - (1 - r) * s ** (1 / order))) ** (order * (1 + w))

    assert float(response(w, r, order)) == pytest.approx(quad(integrand, 0, 1, epsabs=0, epsrel=1e-11)[0], rel=1e-8)


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_removable_cases_are_continuous(lam: float) -> None:
    small = 1e-6
    for c, u, w in [(1.0, 2.0, -0.5), (1.0, 1.0, 2.0), (1.0, 2.0, -1.0), (1.0, 2.0, 0.0)]:
        here = np.array(constant_gaussian(c, u, w, lam))
        beside = [constant_gaussian(c * (1 + a), u, w + b, lam) for a, b in [(small, small), (-small, -small)]]
        np.testing.assert_allclose(here, np.mean(beside, axis=0), rtol=1e-10, atol=1e-11)
    assert float(constant_gaussian(1.0, 2.0, -0.5)[1]) == pytest.approx(2 * math.log(2), rel=1e-15)
    assert float(constant_gaussian(3.0, 3.0, 5.0, lam)[1]) == 3.0


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_plain_and_unconditional_sampling_return_their_laws(lam: float) -> None:
    plain = guided_gaussian([1.0, 2.0], [0.3, 3.0], [-1.0, 0.5], [1.0, 2.0], 0.0, lam=lam)
    unconditional = guided_gaussian([1.0, 2.0], [0.3, 3.0], [-1.0, 0.5], [1.0, 2.0], -1.0, lam=lam)
    np.testing.assert_allclose(plain.mean, [1, 2], rtol=1e-15)
    np.testing.assert_allclose(plain.variance, [0.3, 3], rtol=1e-15)
    np.testing.assert_allclose(unconditional.mean, [-1, 0.5], rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(unconditional.variance, [1, 2], rtol=1e-13)


def test_published_variances() -> None:
    # Unconditional N(0, 2), conditional N(0, 1), scale 7: SDE, ODE and powered distribution.
    sde, ode = (guided_gaussian(0, 1, 0, 2, 6.0, lam=lam) for lam in (1.0, 0.0))
    assert float(sde.variance) == pytest.approx((2 - 2 ** (2 - 14)) / 13, rel=1e-14)
    assert float(sde.variance) == pytest.approx(0.153827, abs=5e-7)
    assert float(ode.variance) == pytest.approx(0.015625, rel=1e-14)
    assert float(ode.tilted_variance) == pytest.approx(0.25, rel=1e-14)
    assert float(guided_gaussian(0, 1, 0, 2, 2.0).variance) == pytest.approx(0.3875, rel=1e-14)
    assert float(guided_gaussian(0, 1, 0, 2, 2.0).tilted_variance) == pytest.approx(0.5, rel=1e-14)


@pytest.mark.parametrize(("scale", "mean"), [(1, 1.0), (3, 2.0), (5, 2 + 1 / 3), (9, 2.371), (21, 2.135)])
def test_published_means_of_the_ode(scale: int, mean: float) -> None:
    prediction = guided_gaussian(1, 1, 0, 2, scale - 1.0, lam=0.0)
    assert float(prediction.mean) == pytest.approx(mean, abs=5e-4)
    w, r = scale - 1, 2.0
    expected = 1 + w * r ** (-w / 2) * hyp2f1(0.5, 1 - w / 2, 1.5, 1 - r)
    assert float(prediction.mean) == pytest.approx(expected, rel=1e-12)


def test_the_ode_variance_against_the_tilted_law_is_an_exact_integral() -> None:
    # 1/V_ode = 1/V_tilted + w(1+w) int (Phi_t/Phi_0) (1/(u+t) - 1/(c+t))^2 dt = 64 for scale 7 and (c, u) = (1, 2).
    # Phi is the squared slope of the guided flow: Phi_t/Phi_0 = (c+t)^7 (u+t)^-6 / (c^7 u^-6) = 64 (1+t)^7 / (2+t)^6.
    def integrand(t: float) -> float:
        return 64 * (1 + t) ** 7 / (2 + t) ** 6 * (1 / (2 + t) - 1 / (1 + t)) ** 2

    total = 1 / float(tilted_gaussian(1, 2, 6.0)[1]) + 6 * 7 * quad(integrand, 0, math.inf, epsrel=1e-12)[0]
    assert total == pytest.approx(64, rel=1e-10)
    assert 1 / float(constant_gaussian(1, 2, 6.0, lam=0.0)[1]) == pytest.approx(total, rel=1e-10)


def test_tilted_law_exists_only_while_it_is_integrable() -> None:
    shift, variance = tilted_gaussian(2.0, 1.0, [0.5, 1.0, 2.0])
    np.testing.assert_allclose(variance, [4.0, np.nan, np.nan])
    assert np.isnan(shift[1:]).all()
    scheduled = guided_gaussian(0, 1, 1, 2, Linear(w0=0.0, slope=0.1), t_max=10.0)
    assert np.isnan(scheduled.tilted_variance)


RATIOS = [(1e-12, 1.0), (1e-6, 1.0), (0.3, 1.0), (1 - 1e-6, 1.0), (1.0, 1e-6), (1.0, 1e-12), (1e-12, 1e12)]


def digits(value: float, exact: mpmath.mpf) -> bool:
    return bool(abs(mpmath.mpf(value) - exact) <= abs(exact) * mpmath.mpf(10) ** -11)


@pytest.mark.parametrize("lam", [0.0, 1.0])
@pytest.mark.parametrize(("c", "u"), RATIOS)
def test_closed_forms_keep_every_digit(c: float, u: float, lam: float) -> None:
    with mpmath.workdps(50):
        r = mpmath.mpf(c) / mpmath.mpf(u)
        for strength in (-1.0, -1 + 1e-6, -0.4, 1e-10, 1.0, 3.0, 50.0):
            w, k = mpmath.mpf(strength), mpmath.mpf(1 + lam) / 2
            if lam:
                variance, shift = c * (1 - r ** (1 + 2 * w)) / ((1 + 2 * w) * (1 - r)), r * (1 - r**w) / (1 - r)
            else:
                power = k * (1 + w)
                variance, shift = c * r**w, w * r**power * mpmath.hyp2f1(k, power, 1 + k, 1 - r)
            found = guided_gaussian(1.0, c, 0.0, u, strength, lam=lam)
            assert abs(found.log_variance - mpmath.log(variance)) < 1e-11
            assert float(variance) in (0.0, math.inf) or digits(found.variance, variance)
            assert found.mean_shift == math.inf if shift > 1e308 else digits(found.mean_shift, shift)
            # The mean is that of the unconditional law, 0, and what is left of the way to 1.
            assert found.mean == 0 if strength == -1 else found.mean == math.inf or digits(found.mean, 1 + shift)
            marched = scheduled_gaussian(c, u, Step(early=strength, late=strength, switch=0.4), lam=lam)
            np.testing.assert_allclose(marched, (found.mean_shift, found.variance), rtol=1e-10)


@pytest.mark.parametrize("lam", [0.0, 1.0])
@pytest.mark.parametrize(("c", "u"), [(1e-12, 1.0), (1.0, 1e-6)])
@pytest.mark.parametrize(("start", "t_max"), [("prior", 10.0), ("exact", 1e-3)])
def test_runs_from_a_finite_time_keep_every_digit(c: float, u: float, start: str, t_max: float, lam: float) -> None:
    with mpmath.workdps(30):
        base, k = mpmath.mpf(min(c, u)), mpmath.mpf(1 + lam) / 2
        knots = sorted({0.0, t_max, *(t for t in (c, 10 * c, u, 10 * u, math.sqrt(c * u)) if 0 < t < t_max)})

        def over_time(f: Callable[[mpmath.mpf], mpmath.mpf]) -> mpmath.mpf:
            logs = [mpmath.log(base + t) for t in knots]
            return mpmath.quad(lambda y: f(mpmath.exp(y) - base) * mpmath.exp(y), logs)

        for w in (-0.5, 3.0, 20.0):

            def decay(t: mpmath.mpf, w: float = w) -> mpmath.mpf:
                return (c ** (1 + w) * (u + t) ** w / ((c + t) ** (1 + w) * mpmath.mpf(u) ** w)) ** k

            exact = start == "exact"
            shift = (0 if exact else -1) * decay(t_max) + over_time(lambda t: decay(t) * k * w / (u + t))  # noqa: B023
            variance = ((c if exact else u) + t_max) * decay(t_max) ** 2
            if lam:
                variance += over_time(lambda t: decay(t) ** 2)
            found = guided_gaussian(1.0, c, 0.0, u, w, lam=lam, t_max=t_max, start=start)
            assert digits(found.variance, variance)
            assert digits(found.mean_shift, shift)


def test_numbers_beyond_floating_point_have_a_logarithm() -> None:
    narrow = guided_gaussian(1.0, 1e-12, 0.0, 1e12, 50.0, lam=0.0)
    assert narrow.variance == 0
    assert narrow.log_variance == pytest.approx(math.log(1e-12) - 50 * math.log(1e24), rel=1e-13)
    assert narrow.mean_shift == pytest.approx(50 / 49 * 1e-24, rel=1e-11)  # of the ODE, to leading order in c/u
    wide = guided_gaussian([1.0, 0.0], 1e12, [0.0, 0.0], 1e-12, 50.0)
    np.testing.assert_array_equal(wide.mean, [np.inf, 0.0])
    np.testing.assert_array_equal(wide.variance, [np.inf, np.inf])
    assert np.isfinite(wide.log_variance).all()


@given(st.floats(0.05, 0.9), st.floats(-0.45, 20))
def test_fisher_separability(r: float, w: float) -> None:
    ratio = 1 / r
    closed = (2 * w + 1) * (ratio - ratio**-w) ** 2 / (ratio - ratio ** (-2 * w))
    assert float(guided_gaussian(0.3, r, 0, 1, w).fisher) == pytest.approx(closed, rel=1e-9)


def test_strong_guidance_keeps_the_mean_and_kills_the_variance() -> None:
    c, u, w = 1.0, 2.0, np.array([1e2, 1e3])
    shift, variance = constant_gaussian(c, u, w)
    np.testing.assert_allclose(shift, 1.0, rtol=1e-10)  # c/(u - c)
    np.testing.assert_allclose(variance * w, 1.0, rtol=1e-2)  # c u/(2 (u - c))
    assert np.diff(variance * w) > 0


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_first_order_kernels(lam: float) -> None:
    c, u, small = 0.4, 1.7, 1e-5
    shape = Step(early=1.0, late=-2.0, switch=0.8)
    shift, variance = (
        np.array(part)
        for part in zip(
            *(
                scheduled_gaussian(c, u, Step(early=a, late=-2 * a, switch=0.8), lam=lam, t_max=30.0, start="exact")
                for a in (small, -small)
            ),
            strict=True,
        )
    )

    def first_order(which: int) -> float:
        pieces = [(0, 0.8), (0.8, 30.0)]
        return sum(
            quad(lambda t: float(shape.at_time(t) * kernels(t, c, u, lam)[which]), a, b, epsrel=1e-11)[0]
            for a, b in pieces
        )

    assert (shift[0] - shift[1]) / (2 * small) == pytest.approx(first_order(0), rel=1e-7)
    assert (variance[1] - variance[0]) / (2 * small) == pytest.approx(first_order(1), rel=1e-7)


def test_kernels_ask_for_early_guidance_and_late_repayment() -> None:
    mean, variance = kernels(np.linspace(0, 20, 200), 0.5, 1.5)
    assert (np.diff(mean / variance) > 0).all()


@pytest.mark.parametrize(("c", "u"), [(1.0, 2.0), (0.25, 1.25), (0.1, 5.0)])
def test_neutral_windows_keep_the_variance_and_move_the_mean(c: float, u: float) -> None:
    slope = 1e-5
    w0 = float(variance_neutral_start(c, u, slope))
    shift, variance = scheduled_gaussian(c, u, Linear(w0=w0, slope=slope), t_max=1e7, start="exact")
    assert w0 < 0 < float(shift)
    # The window's tail beyond t_max and its second order are both of relative size 1e-3 here.
    guided_only = scheduled_gaussian(c, u, Linear(w0=0.0, slope=slope), t_max=1e7, start="exact")[1]
    assert abs(float(variance) - c) < 0.01 * abs(float(guided_only) - c)


@given(
    st.lists(st.floats(0, 8), min_size=2, max_size=5),
    st.floats(0.05, 3),
    st.floats(0.05, 5),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_without_a_negative_strength_the_variance_is_lost(
    strengths: list[float], c: float, gap: float, lam: float
) -> None:
    strengths[0] += 0.1
    times = tuple(0.7 * k for k in range(len(strengths)))
    schedule = Tabulated(at=times, strengths=tuple(strengths))
    shift, variance = scheduled_gaussian(c, c + gap, schedule, lam=lam, t_max=15.0, start="exact")
    assert float(variance) < c
    assert float(shift) > 0


FIELDS = ("mean", "mean_shift", "variance", "log_variance", "tilted_mean", "tilted_variance", "fisher")


def test_numbers_give_numbers_and_arrays_give_arrays() -> None:
    scalar = guided_gaussian(1, 2, np.float64(0), np.array(0.5), 2.0)  # wide enough that there is no tilted law
    assert all(type(getattr(scalar, name)) is float for name in FIELDS)
    assert [math.isnan(getattr(scalar, name)) for name in FIELDS] == [False] * 4 + [True] * 3
    arrays = guided_gaussian([[1.0, 1.0]], 2.0, 0.0, 0.5, 2.0)
    for name in FIELDS:
        assert getattr(arrays, name).shape == (1, 2)
        np.testing.assert_array_equal(getattr(arrays, name), getattr(scalar, name))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("t_max", [np.inf, 1e12])
@pytest.mark.parametrize(("c", "u"), [(1e-12, 1e12), (1e12, 1e12), (1e-12, 1e-12), (1e12, 1e-12)])
def test_the_ends_of_the_allowed_range_do_not_warn(c: float, u: float, t_max: float, lam: float) -> None:
    unconditional, plain, guided = (guided_gaussian(1.0, c, 0.0, u, w, t_max=t_max, lam=lam) for w in (-1.0, 0.0, 3.0))
    if np.isinf(t_max):
        assert (plain.mean, plain.variance) == pytest.approx((1.0, c), rel=1e-9)
        assert unconditional.mean == pytest.approx(0.0, abs=1e-9)
        assert unconditional.variance == pytest.approx(u, rel=1e-9, abs=1e-11 * c)
    assert guided.variance >= 0


def test_a_negative_window_can_return_the_variance() -> None:
    shift, variance = scheduled_gaussian(0.25, 1.25, Linear(w0=-0.4, slope=0.2), t_max=50.0, start="exact")
    assert float(shift) > 0
    assert float(variance) > 0.25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cond_var": 0.0}, "conditional variance"),
        ({"uncond_var": -1.0}, "unconditional variance"),
        ({"cond_var": 1e-13}, "conditional variance must lie between 1e-12 and 1e.12, got 1e-13"),
        ({"uncond_var": [2.0, 1e13]}, "unconditional variance must lie between 1e-12 and 1e.12, got 1e.13"),
        ({"cond_mean": np.nan}, "the conditional mean must be finite, got nan"),
        ({"uncond_mean": [0.0, np.inf]}, "the unconditional mean must be finite, got inf"),
        ({"lam": 1.5}, "`lam` must lie"),
        ({"t_max": 1e13}, "`t_max` must be at most"),
        ({"t_max": -1.0}, "t_max"),
        ({"strength": Linear(w0=0.0, slope=1.0)}, "`t_max`"),
        ({"strength": Constant(value=1e7), "t_max": 5.0}, "too large"),
    ],
)
def test_unusable_input_says_so(arguments: dict[str, object], message: str) -> None:
    usable = {"cond_mean": 0.0, "cond_var": 1.0, "uncond_mean": 0.0, "uncond_var": 2.0, "strength": 1.0}
    with pytest.raises(ConfigError, match=message):
        guided_gaussian(**(usable | arguments))
