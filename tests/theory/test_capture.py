"""Captured paths: exact limits, a second implementation of the moments, and explicit sampling."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Linear, Step
from orthoscope.theory.energy import GaussianModes, Modes, SphereModes
from orthoscope.theory.moments import solve
from orthoscope.theory.problem import OneSchedule, Problem
from orthoscope.theory.stages import Paths, Stage
from tests.stat.expect import expect_estimate
from tests.theory.reference import TIGHT, frozen_order, simulate


def problem(
    schedule: GuidanceSchedule, *, rate: float = 0.2, lam: float = 1.0, t_max: float = 50.0, modes: Modes | None = None
) -> Problem:
    return Problem(
        rate=np.array([rate]),
        std=0.5,
        strengths=OneSchedule(schedule),
        t_max=t_max,
        lam=lam,
        modes=modes or GaussianModes(),
    )


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("modes", [GaussianModes(), SphereModes()], ids=["gaussian", "sphere"])
def test_unconditional_sampling_ends_in_another_mode(modes: Modes, lam: float) -> None:
    solved = solve(problem(Constant(value=-1.0), lam=lam, t_max=np.inf, modes=modes))
    assert solved.lost[0]
    # On the sphere the start at infinity is asymptotic only.
    assert solved.mean_shift[0] == pytest.approx(-1, rel=1e-6)
    assert solved.variance_shift[0] == pytest.approx(1, rel=1e-6)


def test_quoted_numbers() -> None:
    solved = solve(problem(Constant(value=-0.7)))
    assert solved.mean_shift[0] == pytest.approx(-0.625, abs=1e-3)
    assert solved.variance_shift[0] == pytest.approx(0.505, abs=1e-3)
    assert solved.lost[0]


@pytest.mark.parametrize("lam", [0.0, 1.0])
@pytest.mark.parametrize(
    "schedule", [Constant(value=-0.7), Linear(w0=-0.9, slope=0.1), Step(early=3.0, late=-1.0, switch=15.0)], ids=repr
)
def test_captured_moments_obey_their_equations(schedule: GuidanceSchedule, lam: float) -> None:
    # Overlap with both modes and the square, with the capturing mode as the guided centroid's other half.
    setting = problem(schedule, lam=lam)
    solved = solve(setting)
    time = float(solved.capture_time[0])
    v = 0.25 + time
    overlap, variance = (float(part[0, 0]) for part in (lambda s: (s.overlap, s.variance))(solve(setting, [time])))
    square = overlap**2 + variance
    assert 2 * 0.2 == pytest.approx(math.log1p(1 / v) - 1 / (1 + v) + square / (1 + v) ** 2, rel=1e-9)
    u, k = 1 + v, (1 + lam**2) / 2
    cross, mode = overlap / u, square / u**2 + v / u

    def slope(t: float, state: np.ndarray) -> list[float]:
        q, b, x = state
        w = float(schedule.at_time(t))
        return [
            -k * (1 + w - w * cross - q) / (0.25 + t),
            -k * ((1 + w) * cross - w * mode - b) / (0.25 + t),
            -2 * k * ((1 + w) * q - w * b - x) / (0.25 + t) - lam**2,
        ]

    q, b, x = solve_ivp(slope, (time, 0), [overlap, square / u, square], **TIGHT).y[:, -1]
    assert solved.lost[0]
    assert q - 0.5 < b - mode / 2
    assert solved.mean_shift[0] == pytest.approx(q - 1, abs=1e-9)
    assert solved.variance_shift[0] == pytest.approx(x - q * q - 0.25, abs=1e-9)


def test_weakly_negative_strengths_return_to_their_class() -> None:
    for w, returns in [(-0.1, True), (-0.3, True), (-0.5, False), (-0.9, False)]:
        solved = solve(problem(Constant(value=w)))
        assert np.isfinite(solved.capture_time[0])
        assert solved.lost[0] == (not returns)
        assert np.isfinite(solved.speciation_time[0]) == returns
        if returns:
            assert 0 < solved.speciation_time[0] < solved.capture_time[0]


def test_a_strength_that_turns_negative_captures_what_has_condensed() -> None:
    # A start so late that the weight has condensed already; the nearest mode is then at the frozen pull, not at 1/u.
    schedule = Step(early=0.5, late=-0.9, switch=0.6)
    setting = problem(schedule, rate=0.3, t_max=0.8)
    paths = Paths(setting, 0.8)
    paths.advance(0.7)
    assert paths.stage[0] == Stage.FROZEN
    paths.advance(0.5)
    assert paths.stage[0] == Stage.CAPTURED
    at = paths.captures
    assert at.variance[0] == pytest.approx(0.85, rel=1e-8)
    n = frozen_order(float(at.square[0]), float(at.variance[0]), 0.3)
    assert n < 0.95
    pull = n / (at.variance[0] + n)
    assert at.mode_overlap[0] == pytest.approx(pull * at.square[0], rel=1e-10)
    assert at.mode_square[0] == pytest.approx(pull**2 * at.square[0] + 1 - pull, rel=1e-10)
    assert at.centroid_overlap[0] == pytest.approx(pull * at.overlap[0], rel=1e-10)


def test_captured_paths_against_explicit_modes(seed: int) -> None:
    # Finite-size corrections at d = 24 are bounded by a sixth of the effect.
    sampled = simulate(0.2, 24, 0.5, lambda t: -0.7, t_max=50.0, seed=seed, draws=80, paths=40, steps=40)
    solved = solve(problem(Constant(value=-0.7)))
    for (value, error), expected in [
        (sampled.mean_shift, solved.mean_shift[0]),
        (sampled.variance_shift, solved.variance_shift[0]),
    ]:
        expect_estimate(value, error, expected, bias=0.08, detect=0.16 + 10 * error, false_fail=5e-7)
