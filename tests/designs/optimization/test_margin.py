"""Designs that may be off a little, and the edge that they keep away from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orthoscope.designs.optimization import Goal, Margin, MixtureLaw, SpectrumLaw, design, judged
from orthoscope.designs.optimization.commitment import climb_committed
from orthoscope.designs.optimization.families import Family, simple_families
from orthoscope.designs.optimization.margin import Corner, corners
from orthoscope.designs.optimization.search import Found, Task, best_of, climb
from orthoscope.designs.optimization.survey import surveyed
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Interval, Linear, Step
from orthoscope.settings import Setting
from orthoscope.theory.predict import predict

LAW = MixtureLaw(rate=0.5, std=0.5, t_max=20.0)
GOAL = Goal(variance_ratio=1.0, high=5.0)
EDGE = Step(early=5.0, late=-0.49998406228276415, switch=3.6370678712526834)  # keeps the variance to 1e-12
NEAR = Step(early=4.5, late=-0.4, switch=3.7)
MARGIN = Margin(strength=0.01, switch=0.01)


def family(task: Task, name: str = "step") -> Family:
    run = task.family
    return next(each for each in simple_families(run.top, run.bottom, run.low, run.high) if each.name == name)


def found(task: Task, schedule: GuidanceSchedule, name: str = "step") -> Found:
    point = family(task, name).embedded(task.law.pieces(schedule))
    assert point is not None
    return task.found(family(task, name), point)


def off(schedule: Step, margin: Margin, count: int, seed: int) -> list[Step]:
    """The schedule with every number off at random: half of them in corners."""
    signs = np.random.default_rng(seed).uniform(-1, 1, (count, 3))
    signs[::2] = np.sign(signs[::2])
    signs[:, 2] = np.round(signs[:, 2], 1)  # few switches: a batch with many takes long
    return [
        Step(
            early=schedule.early + margin.strength * a,
            late=schedule.late + margin.strength * b,
            switch=schedule.switch * (1 + margin.switch * c),
        )
        for a, b, c in signs.tolist()
    ]


# Many schedules at once


@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_schedules_followed_together_do_what_each_does_alone(lam: float) -> None:
    law = replace(LAW, lam=lam)
    many = [EDGE, NEAR, Step(early=3, late=-1, switch=15), Linear(w0=-0.3, slope=0.2), Constant(value=1.0)]
    many.append(Interval(inside=3, low=1, high=5))
    together = law.outcomes([law.pieces(one) for one in many])
    for one, values, regime in zip(many, together.values, together.regimes, strict=True):
        alone = law.evaluate(one)
        assert values[0] == pytest.approx(alone.mean_shift, abs=1e-10)
        assert values[1] == pytest.approx(alone.variance_ratio, abs=1e-10)
        assert regime == alone.regime


# The edge


def test_the_lead_of_the_own_mode_vanishes_at_commitment_and_has_exact_slopes() -> None:
    pieces = LAW.pieces(NEAR)
    time = LAW.evaluate(NEAR).speciation_time
    assert time is not None
    y = float(np.log(LAW.base + time))
    lead, gradient, slope = LAW.lead(pieces, y)
    assert lead == pytest.approx(0.0, abs=1e-11)
    h = 1e-6
    assert slope == pytest.approx((LAW.lead(pieces, y + h)[0] - LAW.lead(pieces, y - h)[0]) / (2 * h), abs=1e-8)
    for which, name in ((1, "late"), (0, "early")):
        sides = [LAW.lead(LAW.pieces(replace(NEAR, **{name: getattr(NEAR, name) + way * h})), y)[0] for way in (1, -1)]
        assert gradient.high[which] + gradient.low[which] == pytest.approx((sides[0] - sides[1]) / (2 * h), abs=1e-8)


@pytest.mark.slow
def test_a_search_that_holds_the_moment_of_commitment_reaches_the_edge(ladder: dict[float, Found]) -> None:
    edge = predict(Setting.of(rate=LAW.rate, std=LAW.std, t_max=LAW.t_max, schedule=EDGE))
    assert edge.capture_time is None
    assert edge.variance_ratio >= 1
    outcome = LAW.evaluate(ladder[0.0].pieces.schedule())
    assert outcome.variance_ratio >= 1
    assert outcome.mean_shift >= edge.mean_shift


# The margin


def test_slopes_of_a_schedule_that_is_off_are_those_of_its_numbers() -> None:
    pieces = LAW.pieces(Interval(inside=3, low=1, high=5))
    corner = Corner(np.array([1.0, -1.0]), np.array([1.0, -1.0, 1.0]), np.array([1.0, -1.0, 1.0]))
    margin = Margin(strength=0.1, switch=0.05)
    np.testing.assert_allclose(np.exp(corner.moved(pieces, margin).edges[1:-1]) - pieces.base, [5.25, 0.95])
    gradient = corner.pullback(pieces, margin, LAW.respond(corner.moved(pieces, margin)).gradient)
    for j in (1, 2):
        values = []
        for h in (1e-6, -1e-6):
            edges = pieces.edges.copy()
            edges[j] += h
            values.append(LAW.respond(corner.moved(replace(pieces, edges=edges), margin)).values[:2])
        np.testing.assert_allclose(gradient.edges[:2, j], (values[0] - values[1]) / 2e-6, atol=1e-7)


def test_few_numbers_have_all_their_corners() -> None:
    counts = [len(corners(LAW.pieces(one))) for one in (Constant(value=1.0), Linear(w0=0, slope=0.1), NEAR)]
    assert counts == [2, 4, 8]


@pytest.fixture(scope="module")
def ladder() -> dict[float, Found]:
    """The best step window at rising margins; without one, from a search that holds the moment of commitment."""
    best = {0.0: climb_committed(Task.of(LAW, GOAL), found(Task.of(LAW, GOAL), NEAR))}
    for size in (0.01, 0.02):
        task = Task.of(LAW, replace(GOAL, margin=Margin(strength=size, switch=0.01)))
        best[size] = climb(task, family(task), found(task, Step(early=4, late=-0.21, switch=4.5)).point)
    return best


@pytest.mark.slow
def test_a_larger_margin_never_gains(ladder: dict[float, Found]) -> None:
    gains = [one.response.value("mean_shift") for one in ladder.values()]
    assert all(one.missed <= 1e-7 for one in ladder.values())
    assert gains == sorted(gains, reverse=True)
    assert gains[-1] > 0.1  # but it costs less than a fifth


@pytest.mark.slow
def test_all_schedules_within_the_margin_keep_the_floor_and_the_regime(ladder: dict[float, Found]) -> None:
    size = 0.01
    schedule = ladder[size].pieces.schedule()
    step = Step(early=schedule.strengths[-1], late=schedule.strengths[0], switch=schedule.at[1])
    many = off(step, Margin(strength=size, switch=0.01), 400, seed=3)
    outcomes = LAW.outcomes([LAW.pieces(one) for one in many])
    assert set(outcomes.regimes) == {"committed"}
    assert outcomes.values[:, 1].min() >= 1
    assert outcomes.values[:, 1].min() < 1 + 2e-3  # and no more margin than that


def test_the_edge_has_no_margin() -> None:
    outcomes = LAW.outcomes([LAW.pieces(one) for one in off(EDGE, Margin(strength=1e-3), 20, seed=4)])
    assert "captured" in outcomes.regimes
    assert outcomes.values[:, 1].min() < 0.97
    within = judged(LAW, replace(GOAL, margin=MARGIN), EDGE).within
    assert within is not None
    assert "captured" in within.regimes
    assert judged(LAW, replace(GOAL, margin=MARGIN), EDGE).violation(GOAL) == np.inf
    assert judged(LAW, GOAL, EDGE).within is None


@pytest.mark.slow
def test_a_smooth_law_keeps_its_floor_within_the_margin() -> None:
    law = SpectrumLaw(cond_mean=1.0, cond_var=0.5, uncond_mean=0.0, uncond_var=2.0, t_max=10.0)
    margin = Margin(strength=0.05, switch=0.05)
    best = design(law, Goal(variance_ratio=0.95, high=3.0, margin=margin))
    assert best.feasible
    assert isinstance(best.schedule, Step)
    ratios = [law.evaluate(one).variance_ratio for one in off(best.schedule, margin, 60, seed=5)]
    assert 0.95 <= min(ratios) < 0.952
    assert best.bound is not None
    assert best.bound.outcome.mean_shift > best.outcome.mean_shift
    assert best.bound.outcome.within is not None
    assert best.bound.outcome.within.least["variance_ratio"] < 0.95
    alone = design(law, Goal(variance_ratio=0.95, high=3.0))
    assert alone.bound is None
    assert alone.schedule == best.bound.schedule


@pytest.mark.slow
def test_the_lower_of_two_climbs_may_be_polished_to_more() -> None:
    task = Task.of(MixtureLaw(rate=0.3, std=0.7, t_max=20.0), Goal(variance_ratio=0.98, high=3.0))
    step = family(task)
    best = best_of(task, step, surveyed(task, step), most=2, polish=climb_committed)
    assert best is not None
    assert best.missed <= 1e-7
    assert best.response.value("mean_shift") > 0.108
    schedule = best.pieces.schedule()
    again = predict(Setting.of(rate=0.3, std=0.7, t_max=20.0, schedule=schedule))
    assert (again.mean_shift, again.regime) == (pytest.approx(best.response.value("mean_shift"), rel=1e-9), "committed")


@pytest.mark.slow
def test_a_design_leads_its_families_and_names_what_lies_beyond_its_margin() -> None:
    best = design(LAW, replace(GOAL, margin=MARGIN))
    assert best.feasible
    assert best.bound is not None
    assert best.bound.outcome.mean_shift >= LAW.evaluate(EDGE).mean_shift
    for each in (best, best.bound):
        kept = [one.outcome.mean_shift for one in each.candidates if one.feasible]
        assert each.outcome.mean_shift >= max(kept) - 1e-7
    assert best.bound.outcome.mean_shift > best.outcome.mean_shift > 0.11
    again = predict(Setting.of(rate=LAW.rate, std=LAW.std, t_max=LAW.t_max, schedule=best.schedule))
    assert (again.mean_shift, again.regime) == (best.outcome.mean_shift, "committed")
    assert judged(LAW, replace(GOAL, margin=MARGIN), best.schedule, probes=200).violation(GOAL) <= 1e-6


@pytest.mark.parametrize("wrong", [{"strength": -0.1}, {"strength": np.inf}, {"switch": 1.0}, {"switch": -0.01}])
def test_a_margin_is_a_size(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="margin"):
        Margin(**wrong)
