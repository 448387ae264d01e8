"""Variance along the centroid: limits, an independent quadrature of its definition, and sampled paths."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from orthoscope.guidance.schedules import Constant, Linear
from orthoscope.settings import Setting
from orthoscope.simulation.radial import radial
from orthoscope.simulation.setting import Simulation
from orthoscope.theory import predict
from orthoscope.theory.flow import drift_factor
from orthoscope.theory.fluctuation import along_excess, correlation
from tests.stat.expect import expect_estimate

SETTING = Setting.of(rate=0.4, std=1.0, schedule=Constant(value=1.0), t_max=50.0, start="exact")


def test_there_is_none_without_guidance_and_none_where_nothing_commits() -> None:
    assert along_excess(SETTING.but(rate=0.3, schedule=Constant(value=0.0))) == 0
    assert along_excess(SETTING.but(rate=1.5)) == 0
    assert correlation(SETTING.but(rate=1.5), 64) == 0


def test_captured_paths_have_no_answer() -> None:
    assert math.isnan(along_excess(SETTING.but(rate=0.2, std=0.5, schedule=Constant(value=-0.7))))


def brute_excess(setting: Setting, dim: float) -> float:
    """The definition without linearization: paths with their own commitment, averaged over Gaussian fluctuations.

    One path has overlap q(v) + y and |x|^2/d across of V(v) + R; both follow the free equations until its own margin
    vanishes, then the committed ones. Fluctuations at the mean moment are small for large `dim`.
    """
    w, k, beta, base = setting.schedule.value, drift_factor(setting.lam), setting.rate, setting.law.std**2
    found = predict(setting)
    q_s, width = (float(part) for part in found.path(found.speciation_time))
    v_s = base + found.speciation_time

    def free(log_v: float, state: np.ndarray) -> np.ndarray:
        v = math.exp(log_v)
        h = 1 / (1 + v)
        p, e = state
        return np.array([k * (1 + w * h) * p - k * w * (1 - h), 2 * k * (1 + w * h) * e + 2 * k * w * h * v])

    def margin(log_v: float, state: np.ndarray) -> float:
        v = math.exp(log_v)
        q, square = 1 + state[0], v + state[1]
        gap = (q**2 + square) / (1 + v) - ((q - 1) ** 2 + square) / v + math.log(1 + 1 / v)
        return gap / 2 - beta

    margin.terminal = True

    def final(y: float, r: float) -> float:
        """Overlap at t = 0, without the noise after commitment."""
        state = np.array([q_s - 1 + y, width - v_s + r])
        if margin(math.log(v_s), state) < 0:  # not committed yet: guidance goes on
            way = solve_ivp(free, (math.log(v_s), math.log(base)), state, events=margin, rtol=1e-11, atol=1e-13)
        else:  # it committed earlier: go back along its free path
            way = solve_ivp(free, (math.log(v_s), math.log(10 * v_s)), state, events=margin, rtol=1e-11, atol=1e-13)
        v_own, p_own = math.exp(way.t_events[0][0]), way.y_events[0][0][0]
        return p_own * (base / v_own) ** k

    step = 1e-3 / math.sqrt(dim)
    slope_y = (final(step, 0.0) - final(-step, 0.0)) / (2 * step)
    slope_r = (final(0.0, step) - final(0.0, -step)) / (2 * step)
    spread = slope_y**2 * width + slope_r**2 * 2 * width**2
    return spread - (base / v_s) ** (2 * k) * width


@pytest.mark.parametrize("lam", [1.0, 0.5, 0.0])
@pytest.mark.parametrize(("rate", "std", "w"), [(0.4, 1.0, 1.0), (0.2, 0.5, 3.0)])
def test_it_is_what_individual_moments_of_commitment_add_up_to(lam: float, rate: float, std: float, w: float) -> None:
    setting = SETTING.but(rate=rate, std=std, schedule=Constant(value=w), lam=lam)
    assert along_excess(setting) == pytest.approx(brute_excess(setting, 1.0), rel=1e-4)


@pytest.mark.parametrize(
    ("lam", "rate", "schedule"),
    [(1.0, 0.4, Constant(value=1.0)), (0.0, 0.3, Linear(w0=0.5, slope=0.1))],
)
def test_sampled_paths_have_it(lam: float, rate: float, schedule: Constant | Linear, seed: int) -> None:
    """At d = 16384, where what is left of order 1/d and of the steps is below a tenth of what is caught."""
    simulation = Simulation.of(
        dim=16_384, rate=rate, std=1.0, schedule=schedule, lam=lam, start="exact", modes="planted", samples=60_000,
        draws=1, steps=40, seed=seed, t_max=50.0,
    )  # fmt: skip
    found, expected = radial(simulation), along_excess(simulation.setting)
    along, across = found.variance_shift_along, found.variance_shift_across
    stderr = math.hypot(along.stderr, across.stderr)
    expect_estimate(along.value - across.value, stderr, expected, bias=0.002, detect=max(0.035, 0.15 * abs(expected)))
    assert abs(expected) > 0.04  # an excess of zero would be caught


def test_correlation_is_the_mean_square_over_pairs_of_a_rank_one_excess(seed: int) -> None:
    dim = 12
    found = predict(SETTING)
    excess = along_excess(SETTING) / (1 + found.variance_shift)
    m = np.random.default_rng(seed).standard_normal((40_000, dim))
    directions = m / np.linalg.norm(m, axis=1, keepdims=True)
    squares = (1 - (directions**4).sum(1)) / (dim * (dim - 1))
    measured, stderr = excess**2 * squares.mean(), excess**2 * squares.std() / 200
    expect_estimate(measured, stderr, correlation(SETTING, dim) ** 2, detect=0.02 * measured)
