from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from orthoscope import rng
from orthoscope.errors import ConfigError
from orthoscope.experiments.stages import PROBLEMS, WINDOWS, StagesStudy, at_level, flow_times, stage_times
from orthoscope.guidance.schedules import Constant, Interval, Linear, Step
from orthoscope.plots.stages import stages_figure
from orthoscope.theory.gaussian import scheduled_gaussian
from orthoscope.theory.separation import separate
from tests.stat.expect import expect_estimate

SMALL: dict[str, Any] = {
    "dim": 6, "classes": 8, "weights": (0.7, 0.3), "strengths": (1.0,), "samples": 48, "draws": 2, "steps": 8,
}  # fmt: skip
PAIR: dict[str, Any] = {"positions": [2.0, -2.0], "weights": [0.75, 0.25], "std": 0.4, "total": 1.16, "t_max": 400.0}


# Theory on a line


def test_unguided_paths_share_out_the_modes_as_they_should() -> None:
    found = separate(**PAIR, schedule=Constant(value=0.0))
    np.testing.assert_allclose(found.shares, [0.75, 0.25], atol=2e-4)
    assert found.mean == pytest.approx(1.0, abs=1e-3)
    assert found.spread_along == pytest.approx(1, abs=2e-3)
    assert found.spread_across == pytest.approx(1)
    assert found.shift_across == pytest.approx(0)


@given(strength=st.floats(-0.4, 3.0), position=st.floats(-2.0, 2.0))
def test_one_mode_is_a_pair_of_gaussians(strength: float, position: float) -> None:
    schedule = Step(early=strength, late=0.5, switch=3.0)
    found = separate([position], [1.0], 0.4, schedule, total=1.16, t_max=100.0)
    shift, variance = scheduled_gaussian(0.16, 1.16, schedule, lam=0.0, t_max=100.0, start="exact")
    assert found.shares == pytest.approx([1.0])
    assert found.mean == pytest.approx(position * (1 + float(shift)), abs=1e-5)
    assert found.spread_along == pytest.approx(float(variance) / 0.16, rel=1e-4)
    assert found.spread_across == pytest.approx(float(variance) / 0.16, rel=1e-9)


@pytest.mark.parametrize("schedule", [Constant(value=3.0), Linear(w0=-0.3, slope=0.01)])
def test_equal_modes_stay_equal(schedule: Any) -> None:
    found = separate(**PAIR | {"weights": [1.0, 1.0]}, schedule=schedule)
    assert found.shares == pytest.approx([0.5, 0.5], abs=1e-4)
    assert found.mean == pytest.approx(0, abs=1e-3)


def test_order_is_kept_so_that_the_boundary_decides_the_share() -> None:
    """The share of the weak mode is the mass of starts below one point: bisect for it with single paths."""
    schedule = Constant(value=1.0)
    share = separate(**PAIR, schedule=schedule).shares[1]
    sd = np.sqrt(0.16 + 400.0)
    start = stats.norm
    low, high = -60.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        mass = 0.75 * start.cdf(middle, 2, sd) + 0.25 * start.cdf(middle, -2, sd)
        low, high = (middle, high) if mass < share else (low, middle)
    assert abs(end_of(low - 0.1, schedule) + 2) < 2 < abs(end_of(low + 0.1, schedule) + 2)


def end_of(y: float, schedule: Constant) -> float:
    """One path of the flow by many small Euler steps in log v."""
    w = schedule.value
    log_v = np.linspace(np.log(400.16), np.log(0.16), 20_001)
    for here, after in itertools.pairwise(log_v):
        v = np.exp(here)
        odds = np.log(3.0) + 4 * y / v
        mean = 2 * np.tanh(odds / 2)
        y -= (after - here) * ((1 + w) * (mean - y) + w * y * v / (1 + v)) / 2
    return y


def test_early_guidance_kills_the_weak_mode_and_late_guidance_narrows_it() -> None:
    early = separate(**PAIR, schedule=Step(early=3.0, late=0.0, switch=10.0))
    late = separate(**PAIR, schedule=Step(early=0.0, late=3.0, switch=0.3))
    assert early.shares[1] < 0.15
    assert late.shares[1] > 0.24
    assert early.spread_across > 0.7
    assert late.spread_across < 0.2


@pytest.mark.parametrize(
    ("change", "message"),
    [({"weights": [1.0]}, "one positive weight per mode"), ({"weights": [1.0, 0.0]}, "one positive weight per mode"),
     ({"std": 0.0}, "positive std"), ({"t_max": np.inf}, "finite t_max")],
)  # fmt: skip
def test_unusable_lines_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        separate(**PAIR | change, schedule=Constant(value=1.0))


# Stages


def test_stages_tile_the_run() -> None:
    study, times = StagesStudy(**SMALL), np.array([50.0, 4.1, 3.9, 0.6, 0.4, 0.0])
    parts = [study.schedule(name, 3.0, 4.0, 0.5).at_time(times) for name in ("early", "middle", "late")]
    np.testing.assert_array_equal(sum(parts), 3.0)
    assert [int(part.sum()) for part in parts] == [6, 6, 6]
    assert isinstance(study.schedule("middle", 3.0, 4.0, 0.5), Interval)
    np.testing.assert_array_equal(study.schedule("early, then negative", 3.0, 4.0, 0.5).at_time(times)[2:], -0.5)


def test_the_triangle_has_the_mean_of_the_constant_on_the_flow_clock() -> None:
    times = np.array(flow_times(400.0))
    assert times[0] == pytest.approx(400.0)
    assert times[-1] == 0
    middles = (times[:-1] + times[1:]) / 2
    strengths = StagesStudy(**SMALL).schedule("triangle", 3.0, 4.0, 0.5).at_time(middles)
    assert strengths.mean() == pytest.approx(3.0, abs=0.15)
    assert strengths[0] == pytest.approx(0.0, abs=0.01)
    assert strengths.max() == pytest.approx(6.0, abs=0.01)


def test_stages_are_cut_at_shares_of_the_information(seed: int) -> None:
    """The binary channel of two modes, by quadrature; the entropy of a posterior deviates by less than 0.6 nats."""
    problem = StagesStudy(**SMALL).problem("gaussian", 0)
    rows = 4000
    cuts = stage_times(problem, 400.0, rng.stream(seed, "x"), rows=rows)
    (first, second), weights = problem.law.centroids.numpy(), problem.law.log_weights.exp().numpy()
    half = np.linalg.norm(first - second) / 2
    whole = stats.entropy(weights)
    for cut, share in zip(cuts, (0.1, 0.9), strict=True):
        sd = np.sqrt(0.16 + cut)
        y = np.linspace(-half - 8 * sd, half + 8 * sd, 20_001)
        joint = weights[:, None] * stats.norm.pdf(y, np.array([[half], [-half]]), sd)
        density = joint.sum(0)
        remaining = (density * stats.entropy(joint)).sum() * (y[1] - y[0])
        expect_estimate(1 - remaining / whole, 0.6 / whole / np.sqrt(rows), share, bias=0.01, detect=0.25)


def test_values_between_levels() -> None:
    log_v, values = np.array([2.0, 1.0, 0.0]), np.array([[0.0, 5.0], [1.0, 6.0], [4.0, 6.0]])
    assert at_level(log_v, values, 1.5).tolist() == [0.5, 5.5]
    assert at_level(log_v, values, 0.0).tolist() == [4.0, 6.0]


# The study


def test_simulation_meets_theory_for_two_modes_beside_a_gaussian() -> None:
    """Changes to the unguided class, whose starts are shared; steps bias spreads by less than 0.02."""
    study = StagesStudy(**SMALL | {"samples": 400, "draws": 2, "steps": 60})
    problem = study.problem("gaussian", 0)
    cuts = stage_times(problem, study.t_max, rng.stream(0, "cuts"))
    theory = study._theory(cuts)
    free = study._measure(problem, study.schedule("unguided", 1.0, *cuts), "gaussian", 0, cuts[0])
    for window in ("constant", "early", "late"):
        found = study._measure(problem, study.schedule(window, 1.0, *cuts), "gaussian", 0, cuts[0])
        for name, detect in (("mean_shift", 0.2), ("weak_weight", 0.4), ("mode_spread", 0.6)):
            change = theory[name][WINDOWS.index(window), 0] - theory[name][0, 0]
            error = max(found[name].stderr, free[name].stderr)  # more than that of a difference of coupled runs
            expect_estimate(found[name].value - free[name].value, error, change, bias=0.02, detect=detect)


def test_a_measurement_is_reproducible() -> None:
    study = StagesStudy(**SMALL)
    problem, schedule = study.problem("modes", 1), Constant(value=1.0)
    first, again = (study._measure(problem, schedule, "modes", 1, 4.0) for _ in range(2))
    assert first == again


def test_a_study_is_labelled_reported_and_drawn() -> None:
    result = StagesStudy(**SMALL).run()
    assert result.sizes == {"problem": 3, "window": len(WINDOWS), "strength": 1, "cut": 2}
    assert (result["mean_shift_change"].sel(window="unguided") == 0).all()
    assert (result["stage_time"][:, 0] > result["stage_time"][:, 1]).all()
    assert np.isnan(result["class_posterior"].sel(problem="gaussian")).all()
    assert np.isnan(result["mode_entropy"].sel(problem="classes")).all()
    found = json.loads(json.dumps(StagesStudy().summarize(result)))
    assert set(found["changes"]) == {f"{problem}, w = 1" for problem in PROBLEMS}
    assert "mode_entropy" not in found["changes"]["classes, w = 1"]["early"]
    assert len(stages_figure(result).axes) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [({"weights": (1.0,)}, "at least 2 modes"), ({"strengths": (0.0,)}, "strengths > 0"), ({"draws": 1}, "2 draws")],
)
def test_unusable_studies_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        StagesStudy(**SMALL | change)
