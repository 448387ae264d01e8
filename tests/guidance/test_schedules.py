from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthoscope import serialize
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import (
    CLOCKS,
    SCHEDULES,
    Clock,
    Constant,
    GuidanceSchedule,
    Interval,
    Linear,
    Step,
    Tabulated,
)
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.sampling import grid
from tests.guidance.cases import knots, schedules

NOISE_CLOCKS = ("variance", "sigma", "logsnr")


def position(time: float, clock: Clock) -> float:
    return {"variance": time, "sigma": math.sqrt(time), "logsnr": -math.log(time)}[clock]


def at(time: float, **where: int) -> NoiseLevel:
    return NoiseLevel(time=time, **where)


# Values


@pytest.mark.parametrize("time", [0.3, 1.0, 7.0])
@pytest.mark.parametrize("clock", NOISE_CLOCKS)
def test_a_linear_schedule_is_linear_on_its_clock(time: float, clock: Clock) -> None:
    schedule = Linear(w0=-0.25, slope=0.3, clock=clock)
    assert schedule.strength(at(time)) == pytest.approx(-0.25 + 0.3 * position(time, clock), rel=1e-14)
    assert Constant(value=2, clock=clock).strength(at(time)) == 2.0


def test_early_is_the_noise_side_on_every_clock() -> None:
    for clock in NOISE_CLOCKS:
        step = Step(early=3, late=-1, switch=position(1.5, clock), clock=clock)
        assert [step.strength(at(t)) for t in (50.0, 2.0, 1.0, 0.0)] == [3, 3, -1, -1]
        ends = sorted(position(t, clock) for t in (0.2, 5.0))
        interval = Interval(inside=3, low=ends[0], high=ends[1], outside=0.5, clock=clock)
        assert [interval.strength(at(t)) for t in (50.0, 4.0, 0.3, 0.1, 0.0)] == [0.5, 3, 3, 0.5, 0.5]


def test_a_share_of_the_steps_counts_from_the_noise_side() -> None:
    step = Step(early=3, late=-1, switch=0.6, clock="step")
    assert [step.strength(at(1.0, step=k, steps=5)) for k in range(5)] == [3, 3, 3, -1, -1]
    interval = Interval(inside=2, low=0.2, high=0.6, clock="step")
    assert [interval.strength(at(1.0, step=k, steps=5)) for k in range(5)] == [0, 2, 2, 0, 0]
    assert Linear(w0=1, slope=2, clock="step").strength(at(1.0, step=3, steps=4)) == 2.5
    table = Tabulated(at=(0, 0.5, 1), strengths=(1, 3, -1), clock="step")
    assert [table.strength(at(1.0, step=k, steps=4)) for k in range(5)] == [1, 2, 3, 1, -1]


@given(switch=st.integers(0, 1000))
def test_a_share_falls_on_exactly_one_step(switch: int) -> None:
    step = Step(early=1, late=0, switch=switch / 1000, clock="step")
    around = range(max(switch - 2, 0), min(switch + 2, 1000))
    assert [step.strength(at(1.0, step=k, steps=1000)) for k in around] == [float(k < switch) for k in around]


@pytest.mark.parametrize("clock", NOISE_CLOCKS)
def test_a_table_is_straight_between_points_and_constant_beyond(clock: Clock) -> None:
    marks = sorted(position(t, clock) for t in (0.5, 2.0, 8.0))
    table = Tabulated(at=tuple(marks), strengths=(1.0, 3.0, -2.0), clock=clock)
    for p in np.linspace(marks[0] - 1, marks[2] + 1, 23):
        time = {"variance": p, "sigma": p * abs(p), "logsnr": math.exp(-p)}[clock]
        if time > 0:
            assert table.strength(at(time)) == pytest.approx(np.interp(p, marks, table.strengths), abs=1e-12)
    assert table.strength(at(0.0)) == (table.strengths[-1] if clock == "logsnr" else 1.0)


# Jumps


@given(clock=st.sampled_from(NOISE_CLOCKS), data=st.data())
def test_a_jump_belongs_to_the_step_that_starts_there(clock: Clock, data: st.DataObject) -> None:
    low, high = data.draw(knots(clock, 2))
    for schedule in (
        Step(early=3, late=-1, switch=low, clock=clock),
        Interval(inside=3, low=low, high=high, outside=-1, clock=clock),
        Tabulated(at=(low, low, high, high), strengths=(1, 2, 3, 4), clock=clock),
    ):
        for time in schedule.switches():
            level = VarianceExploding().at(time)
            above, below = (schedule.strength(at(time * factor)) for factor in (1 + 1e-9, 1 - 1e-9))
            assert schedule.strength(level) == pytest.approx(below, abs=1e-5)
            assert schedule.strength(level.from_noise_side(0)) == pytest.approx(above, abs=1e-5)


@given(schedule=schedules())
def test_switches_are_the_times_between_which_nothing_jumps(schedule: GuidanceSchedule) -> None:
    if schedule.clock == "step" and not isinstance(schedule, Constant | Linear):
        with pytest.raises(ConfigError, match="no times before it meets a grid"):
            schedule.switches()
        return
    times = schedule.switches()
    assert list(times) == sorted(set(times), reverse=True)
    if schedule.clock == "step" or isinstance(schedule, Linear):
        return
    edges = [1e6, *times, 1e-9]
    for high, low in itertools.pairwise(edges):
        inside = np.geomspace(high, low, 7)[1:-1]
        jumps = np.abs(np.diff(schedule.at_time(inside)))
        near = np.abs(schedule.at_time(inside * (1 + 1e-9)) - schedule.at_time(inside))
        assert (near <= 1e-4 * (1 + jumps.max())).all()


def test_a_level_approached_from_the_noise_side_is_otherwise_the_same() -> None:
    level = VarianceExploding(offset=0.3).at(1.0).from_noise_side(4)
    assert (level.variance, level.step) == (pytest.approx(1.3, rel=1e-15), 4)


# Rows


@given(schedule=schedules(), times=st.lists(st.floats(1e-4, 60), min_size=1, max_size=5))
def test_one_strength_per_row_equals_strengths_one_by_one(schedule: GuidanceSchedule, times: list[float]) -> None:
    if schedule.clock != "step":
        rows = schedule.strength(at(np.array(times)))
        # Vectorized roots and logarithms may round differently.
        np.testing.assert_allclose(rows, [schedule.strength(at(t)) for t in times], rtol=1e-12, atol=1e-12)
        assert rows.shape == (len(times),)


def test_a_share_of_the_steps_needs_a_run() -> None:
    with pytest.raises(ConfigError, match="give `steps`"):
        Linear(w0=0, slope=1, clock="step").strength(at(1.0))


# Resolution


@given(schedule=schedules(), steps=st.integers(1, 12))
def test_resolved_holds_the_same_strengths_in_the_variance_clock(schedule: GuidanceSchedule, steps: int) -> None:
    levels = grid(VarianceExploding(), [*np.geomspace(50, 0.1, steps), 0.0])
    resolved = schedule.resolved(levels.times)
    if schedule.clock != "step":
        assert resolved is schedule
        return
    assert resolved.clock == "variance"
    for level, after in itertools.pairwise(levels.levels):
        expected = schedule.strength(level)
        assert resolved.strength(level) == expected
        assert resolved.strength(after.from_noise_side(level.step)) == expected
        assert resolved.strength(at((level.time + after.time) / 2)) == pytest.approx(expected, abs=1e-12)


@given(schedule=schedules())
def test_the_limit_is_the_strength_at_large_noise(schedule: GuidanceSchedule) -> None:
    limit = schedule.limit()
    if limit is None:
        assert isinstance(schedule, Linear)
    elif schedule.clock == "step":
        start = schedule.strength(at(1.0, step=0, steps=1000))
        assert limit == start or isinstance(schedule, Interval | Linear | Tabulated) or schedule.switch == 0
    else:
        assert schedule.strength(at(1e30)) == limit


# Files


@given(schedule=schedules())
def test_round_trip_through_a_dictionary_and_json(schedule: GuidanceSchedule) -> None:
    data = json.loads(serialize.dumps(schedule))
    assert data["version"] == 1
    assert serialize.from_dict(data, SCHEDULES) == schedule
    assert serialize.from_dict(serialize.to_dict(schedule), SCHEDULES) == schedule


@pytest.mark.usefixtures("unchecked")
def test_equal_schedules_have_equal_fingerprints() -> None:
    assert Constant(value=3) == Constant(value=np.float32(3))
    assert serialize.content_hash(Constant(value=3)) == serialize.content_hash(Constant(value=np.float64(3)))
    tables = [Tabulated(at=at, strengths=[1, 2]) for at in ([0, 1], (0.0, 1.0), np.array([0.0, 1.0]))]
    assert len({serialize.content_hash(table) for table in tables}) == 1
    assert tables[0] == tables[1] == tables[2]


NONSENSE: list[tuple[type[GuidanceSchedule], dict[str, Any], str]] = [
    (Constant, {"value": math.nan}, "value must be finite, got nan"),
    (Constant, {"value": math.inf}, "value must be finite, got inf"),
    (Constant, {"value": True}, "`value` must be a number, got True"),
    (Constant, {"value": "3"}, "`value` must be a number, got '3'"),
    (Constant, {"value": None}, "`value` must be a number, got None"),
    (Constant, {"value": (1.0, 2.0)}, "`value` must be a number, got"),
    (Constant, {"value": 1.0, "clock": "sigmoid"}, "unknown clock 'sigmoid'; did you mean 'sigma'"),
    (Linear, {"w0": 0.0, "slope": "x"}, "`slope` must be a number"),
    (Step, {"early": 1, "late": 0, "switch": -1}, "switch is a noise level and must be >= 0, got -1"),
    (Step, {"early": 1, "late": 0, "switch": 1.2, "clock": "step"}, "share of the steps and must be <= 1, got 1.2"),
    (Step, {"early": 1, "late": 0, "switch": -0.1, "clock": "step"}, "must be >= 0"),
    (Interval, {"inside": 1, "low": 2, "high": 2}, "low must be below high, got low=2.0, high=2.0"),
    (Interval, {"inside": 1, "low": 3, "high": 2}, "low must be below high"),
    (Interval, {"inside": 1, "low": -1, "high": 2}, "low is a noise level"),
    (Tabulated, {"at": (0, 1), "strengths": (1,)}, "equally long and not empty, got 2 and 1"),
    (Tabulated, {"at": (), "strengths": ()}, "not empty, got 0 and 0"),
    (Tabulated, {"at": (1, 0), "strengths": (1, 2)}, "at must be ascending"),
    (Tabulated, {"at": (0, math.nan), "strengths": (1, 2)}, "at must be finite, got 0.0, nan"),
    (Tabulated, {"at": "01", "strengths": (1, 2)}, "`at` must be a list, got '01'"),
    (Tabulated, {"at": (0, True), "strengths": (1, 2)}, "`at` must be a number, got True"),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("cls", "setting", "message"), NONSENSE)
def test_nonsense_is_refused_in_one_line(cls: type[GuidanceSchedule], setting: dict[str, Any], message: str) -> None:
    data = {"type": cls.__name__, **setting}
    with pytest.raises(ConfigError) as caught:
        serialize.from_dict(data, SCHEDULES)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_position_on_the_logsnr_clock_may_be_negative() -> None:
    assert Step(early=1, late=0, switch=-2.0, clock="logsnr").switches() == (pytest.approx(math.exp(2)),)
    assert Step(early=1, late=0, switch=-1000.0, clock="logsnr").switches() == (math.inf,)


def test_every_clock_is_tested() -> None:
    assert set(CLOCKS) == {*NOISE_CLOCKS, "step"}
