"""The moment engine: against closed forms, and against a second implementation at tight tolerance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Interval, Linear, Step, Tabulated
from orthoscope.theory import constant
from orthoscope.theory.energy import modes
from orthoscope.theory.moments import critical_rate, solve
from orthoscope.theory.problem import LinearStrengths, OneSchedule, Problem
from orthoscope.theory.stages import Stage
from tests.theory.reference import mean_field

SMOOTH: list[GuidanceSchedule] = [
    Constant(value=2.0),
    Linear(w0=0.2, slope=0.4),
    Linear(w0=-0.25, slope=0.3),
    Linear(w0=0.5, slope=0.3, clock="sigma"),
    Linear(w0=4.0, slope=-0.5, clock="logsnr"),
]


def one(
    schedule: GuidanceSchedule,
    *,
    rate: float = 0.9,
    std: float = 0.5,
    t_max: float = 50.0,
    exact: bool = False,
    lam: float = 1.0,
    ensemble: str = "gaussian",
) -> Problem:
    return Problem(
        rate=np.array([rate]),
        std=std,
        strengths=OneSchedule(schedule),
        t_max=t_max,
        start="exact" if exact else "prior",
        lam=lam,
        modes=modes(ensemble),
    )


@pytest.mark.parametrize("lam", [0.0, 0.4, 1.0])
def test_a_grid_of_constants_is_the_closed_forms(lam: float) -> None:
    rate, w = (plane.ravel() for plane in np.meshgrid([0.02, 0.3, 0.9, 1.3, 2.0], [0.0, 0.3, 2.0, 12.0, 60.0]))
    problem = Problem(rate=rate, std=0.5, strengths=LinearStrengths(w, np.zeros_like(w)), lam=lam)
    solved, closed = solve(problem), constant.distortion(rate, 0.5, w, lam)
    np.testing.assert_allclose(solved.mean_shift, closed.mean_shift, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(solved.variance_shift, closed.variance_shift, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(solved.speciation_time, closed.speciation_time, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(solved.stage == Stage.COMMITTED, np.isfinite(closed.speciation_time))
    assert np.isnan(solved.capture_time).all()


@pytest.mark.parametrize("rate", [0.3, 0.9])
@pytest.mark.parametrize("lam", [0.0, 1.0])
@pytest.mark.parametrize("exact", [False, True], ids=["prior", "exact"])
@pytest.mark.parametrize("schedule", SMOOTH, ids=repr)
def test_schedules_against_a_second_implementation(
    schedule: GuidanceSchedule, exact: bool, lam: float, rate: float
) -> None:
    solved = solve(one(schedule, rate=rate, exact=exact, lam=lam))
    if np.isfinite(solved.capture_time[0]):
        assert schedule == SMOOTH[2]  # the only one that turns negative; the reference knows no capture
        return
    expected = mean_field(
        rate, 0.5, lambda t: float(schedule.at_time(max(t, 1e-300))), t_max=50.0, exact=exact, lam=lam, max_step=1.0
    )
    # Where the strength diverges at t = 0 the reference integrates less well.
    rough = 1e-7 if schedule.clock == "logsnr" else 1e-9
    assert solved.mean_shift[0] == pytest.approx(expected.mean_shift, abs=rough)
    assert solved.variance_shift[0] == pytest.approx(expected.variance_shift, abs=rough)
    assert (expected.speciation_time is None) == np.isnan(solved.speciation_time[0])
    if expected.speciation_time is not None:
        assert solved.speciation_time[0] == pytest.approx(expected.speciation_time, rel=1e-9)


@pytest.mark.parametrize(("rate", "w"), [(0.9, 3.0), (0.4, 1.0), (2.0, 2.0)])
@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_the_sphere_against_a_second_implementation(rate: float, w: float, lam: float) -> None:
    solved = solve(one(Constant(value=w), rate=rate, exact=True, lam=lam, ensemble="sphere"))
    expected = mean_field(rate, 0.5, lambda t: w, t_max=50.0, exact=True, lam=lam, sphere=True)
    assert solved.mean_shift[0] == pytest.approx(expected.mean_shift, abs=1e-8)
    assert solved.variance_shift[0] == pytest.approx(expected.variance_shift, abs=1e-8)


def test_quoted_numbers_of_the_sphere() -> None:
    assert solve(one(Constant(value=3.0), ensemble="sphere")).mean_shift[0] == pytest.approx(0.305, abs=5e-4)
    far, infinite = (solve(one(Constant(value=3.0), ensemble="sphere", t_max=t)) for t in (1e7, np.inf))
    assert infinite.mean_shift[0] == pytest.approx(far.mean_shift[0], rel=1e-6)


@pytest.mark.parametrize(
    "schedule",
    [Step(early=3.0, late=0.5, switch=2.0), Interval(inside=3.0, low=0.2, high=5.0, outside=0.1)],
    ids=repr,
)
@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_infinity_is_the_limit_of_late_starts(schedule: GuidanceSchedule, lam: float) -> None:
    limit = solve(one(schedule, t_max=np.inf, lam=lam))
    gaps = [
        [late.mean_shift[0] - limit.mean_shift[0], late.variance_shift[0] - limit.variance_shift[0]]
        for late in (solve(one(schedule, t_max=t, exact=True, lam=lam)) for t in (1e4, 1e6))
    ]
    np.testing.assert_allclose(gaps[1], 0, atol=1e-5 if lam else 1e-2)
    np.testing.assert_allclose(gaps[1], np.multiply(gaps[0], 100 ** -((1 + lam**2) / 2)), rtol=0.3, atol=1e-10)


@pytest.mark.parametrize("exact", [False, True], ids=["prior", "exact"])
def test_switches_do_not_depend_on_how_they_are_written(exact: bool) -> None:
    step = Step(early=3.0, late=-0.3, switch=0.4)
    table = Tabulated(at=(0.0, 0.4, 0.4, 50.0), strengths=(-0.3, -0.3, 3.0, 3.0))
    sigma = Step(early=3.0, late=-0.3, switch=0.4**0.5, clock="sigma")
    results = [solve(one(s, rate=1.2, exact=exact)) for s in (step, table, sigma)]
    for other in results[1:]:
        assert other.mean_shift[0] == pytest.approx(results[0].mean_shift[0], rel=1e-11)
        assert other.variance_shift[0] == pytest.approx(results[0].variance_shift[0], rel=1e-10)


@given(st.floats(0.02, 2), st.floats(0.2, 1.5), st.floats(1, 200), st.sampled_from([0.0, 0.5, 1.0]))
def test_without_guidance_an_exact_start_stays_exact(rate: float, std: float, t_max: float, lam: float) -> None:
    solved = solve(one(Constant(value=0.0), rate=rate, std=std, t_max=t_max, exact=True, lam=lam))
    assert solved.mean_shift[0] == 0
    assert solved.variance_shift[0] == 0
    unguided = 1 / np.expm1(2 * rate) - std**2
    expected = min(unguided, t_max) if unguided > 0 else np.nan
    assert solved.speciation_time[0] == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)


def test_without_guidance_a_prior_start_is_left_with_its_own_error() -> None:
    base, t_max = 0.25, 50.0
    share = base / (t_max + base)
    for rate in (0.005, 0.3, 2.0):
        solved = solve(one(Constant(value=0.0), rate=rate, t_max=t_max))
        assert solved.mean_shift[0] == pytest.approx(-share, rel=1e-11)
        assert solved.variance_shift[0] == pytest.approx(share**2, rel=1e-10)
        assert not solved.lost[0]


@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_unconditional_sampling_of_infinitely_many_classes_returns_the_whole_law(lam: float) -> None:
    solved = solve(one(Constant(value=-1.0), rate=5.0, t_max=50.0, lam=lam))
    assert solved.mean_shift[0] == pytest.approx(-1, rel=1e-12)
    assert solved.variance_shift[0] == pytest.approx(1, rel=1e-12)


@given(
    st.lists(st.floats(0, 6), min_size=2, max_size=5),
    st.floats(0.05, 1.5),
    st.floats(0.3, 1),
    st.sampled_from([0.0, 1.0]),
)
def test_without_a_negative_strength_a_class_only_shrinks_and_overshoots(
    values: list[float], rate: float, std: float, lam: float
) -> None:
    values[-1] += 0.2
    schedule = Tabulated(at=tuple(2.0 * k for k in range(len(values))), strengths=tuple(values))
    solved = solve(one(schedule, rate=rate, std=std, t_max=15.0, exact=True, lam=lam))
    if solved.speciation_time[0] == 15.0:
        assert solved.mean_shift[0] == solved.variance_shift[0] == 0  # committed before the run began
    else:
        assert solved.mean_shift[0] > 0 > solved.variance_shift[0]
    assert not solved.lost[0]


def test_a_schedule_that_opens_after_speciation_does_nothing() -> None:
    plain = solve(one(Constant(value=3.0), rate=0.2, std=0.5**0.5))
    late = solve(one(Step(early=3.0, late=-1.0, switch=1.0), rate=0.2, std=0.5**0.5))
    assert late.speciation_time[0] == pytest.approx(10.100151, rel=1e-6)
    assert late.mean_shift[0] == pytest.approx(plain.mean_shift[0], rel=1e-12)
    assert late.variance_shift[0] == pytest.approx(plain.variance_shift[0], rel=1e-12)


def test_a_commitment_before_the_start_is_reported_there() -> None:
    solved = solve(one(Constant(value=5.0), rate=0.2, t_max=1.0, exact=True))
    assert solved.speciation_time[0] == 1.0
    assert solved.mean_shift[0] == 0


def test_recorded_paths_meet_their_ends() -> None:
    problem = one(Linear(w0=-0.25, slope=0.3), rate=0.5)
    times = [50.0, 10.0, 3.0, 0.5, 0.0, 3.0]
    solved = solve(problem, times)
    assert solved.overlap[0, 0] == 0
    assert solved.variance[0, 0] == 51.25
    assert solved.overlap[0, 4] - 1 == pytest.approx(solved.mean_shift[0], rel=1e-12)
    assert solved.variance[0, 4] - 0.25 == pytest.approx(solved.variance_shift[0], rel=1e-12)
    assert solved.overlap[0, 2] == solved.overlap[0, 5]
    again = solve(problem)
    assert again.mean_shift[0] == pytest.approx(solved.mean_shift[0], rel=1e-13)


def test_rows_do_not_know_each_other() -> None:
    generator = np.random.default_rng(5)
    rate, w0, slope = generator.uniform([[0.05], [-1], [0]], [[1.5], [8], [0.5]], (3, 3000))
    together = solve(Problem(rate=rate, std=0.4, strengths=LinearStrengths(w0, slope), t_max=30.0))
    for row in (0, 1500, 2999):
        window = Linear(w0=float(w0[row]), slope=float(slope[row]))
        alone = solve(one(window, rate=float(rate[row]), std=0.4, t_max=30.0))
        assert together.mean_shift[row] == pytest.approx(alone.mean_shift[0], rel=1e-11)
        assert together.variance_shift[row] == pytest.approx(alone.variance_shift[0], rel=1e-10)
        assert together.stage[row] == alone.stage[0]


@pytest.mark.parametrize("lam", [0.0, 1.0])
@pytest.mark.parametrize("w", [0.0, 1.0, 8.0])
def test_critical_rate_of_constants(w: float, lam: float) -> None:
    found = critical_rate(one(Constant(value=w), t_max=np.inf, lam=lam))
    assert found == pytest.approx(float(constant.critical_rate(0.5, w, lam)), rel=1e-9)


@pytest.mark.parametrize("exact", [False, True], ids=["prior", "exact"])
@pytest.mark.parametrize("ensemble", ["gaussian", "sphere"])
@pytest.mark.parametrize(
    "schedule",
    [
        Constant(value=0.0),
        Constant(value=2.0),
        Constant(value=-0.2),
        Linear(w0=-0.25, slope=0.3),
        Step(early=3.0, late=-1.0, switch=5.0),
        Step(early=0.1, late=6.0, switch=0.5),
    ],
    ids=repr,
)
def test_critical_rates_separate_the_phases(schedule: GuidanceSchedule, ensemble: str, exact: bool) -> None:
    problem = one(schedule, ensemble=ensemble, exact=exact)
    found = critical_rate(problem)
    assert found is not None
    stages = solve(replace(problem, rate=found * np.array([1 - 1e-7, 1 + 1e-7, 1.5, 3.0]))).stage
    assert stages[0] == Stage.COMMITTED
    assert (stages[1:] != Stage.COMMITTED).all()


def test_some_schedules_commit_at_no_rate() -> None:
    assert critical_rate(one(Constant(value=-0.8))) is None


def test_runs_from_infinity_need_a_strength_there() -> None:
    for strengths in (OneSchedule(Linear(w0=0.0, slope=0.1)), LinearStrengths(np.zeros(1), np.ones(1))):
        with pytest.raises(ConfigError, match="finite time"):
            solve(Problem(rate=np.ones(1), std=0.5, strengths=strengths))
