from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthoscope.errors import ConfigError
from orthoscope.guidance.grammar import format_schedule, parse_schedule, read_schedule, write_schedule
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Interval, Linear, Step, Tabulated
from tests.guidance.cases import schedules


@given(schedule=schedules())
def test_what_is_written_is_read_back_as_the_same_schedule(schedule: GuidanceSchedule) -> None:
    assert parse_schedule(format_schedule(schedule)) == schedule


@given(schedule=schedules())
def test_files_hold_the_same_schedule(schedule: GuidanceSchedule, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("schedules") / "window.json"
    write_schedule(schedule, path)
    assert read_schedule(path) == schedule
    assert parse_schedule(str(path)) == schedule


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("constant:3", Constant(value=3)),
        ("Constant: -0.5", Constant(value=-0.5)),
        ("scale:7.5", Constant(value=6.5)),
        (" Scale: 1.1", Constant(value=0.1)),
        ("constant:scale:4,clock=sigma", Constant(value=3, clock="sigma")),
        ("step:early=scale:7.5,late=scale:0,switch=1", Step(early=6.5, late=-1, switch=1)),
        ("constant:value=3,clock=sigma", Constant(value=3, clock="sigma")),
        ("linear:w0=-0.25,slope=0.3", Linear(w0=-0.25, slope=0.3)),
        ("step:early=3,late=-1,switch=1", Step(early=3, late=-1, switch=1)),
        ("step:early=3,late=-1,switch=60%", Step(early=3, late=-1, switch=0.6, clock="step")),
        ("step: early = 3 , late = -1 , switch = 60% , clock = step", Step(early=3, late=-1, switch=0.6, clock="step")),
        ("interval:inside=3,low=0.2,high=5", Interval(inside=3, low=0.2, high=5)),
        ("interval:inside=3,low=20%,high=50%", Interval(inside=3, low=0.2, high=0.5, clock="step")),
        ("tabulated:at=0/1/4,strengths=-1/0/3", Tabulated(at=(0, 1, 4), strengths=(-1, 0, 3))),
        ("tabulated:at=0/50%/1,strengths=-1/0/3", Tabulated(at=(0, 0.5, 1), strengths=(-1, 0, 3), clock="step")),
        ("tabulated:at=1,strengths=2", Tabulated(at=(1,), strengths=(2,))),
    ],
)
def test_the_grammar(text: str, schedule: GuidanceSchedule) -> None:
    assert parse_schedule(text) == schedule


@given(share=st.integers(0, 1000))
def test_a_percentage_is_the_same_number_as_its_step(share: int) -> None:
    schedule = parse_schedule(f"step:early=1,late=0,switch={share // 10}.{share % 10}%")
    assert schedule.switch == share / 1000


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("linaer:w0=1,slope=2", "unknown schedule 'linaer'; did you mean 'linear'?"),
        ("step:early=3,late=-1,swich=1", "unknown key of schedule 'step' 'swich'; did you mean 'switch'?"),
        ("step:early=3,late=-1", "missing switch; for example constant:3"),
        ("constant:", "missing value"),
        ("constant:3,4", "expected key=value, got '4'"),
        ("step:3", "expected key=value, got '3'"),
        ("step:early=3,early=4", "early is given twice"),
        ("scale:much", "unknown schedule 'scale'"),
        ("step:early=3,late=-1,switch=scale:2", "switch must be a number, got 'scale:2'"),
        ("linear:w0=3,slope=scale:2", "slope must be a number, got 'scale:2'"),
        ("constant:much", "value must be a number, got 'much'"),
        ("constant:nan", "value must be finite"),
        ("constant:1/2", "value must be a number"),
        ("step:early=3,late=-1,switch=x%", "switch must be a number, got 'x%'"),
        ("step:early=3,late=-1,switch=130%", "share of the steps and must be <= 1"),
        ("step:early=3,late=-1,switch=60%,clock=sigma", "in % means clock=step, but clock=sigma"),
        ("step:early=300%,late=-1,switch=60%", "early=300% is no position on the clock"),
        ("step:early=3,late=-1,switch=1,clock=time", "unknown clock 'time'"),
        ("3:", "unknown schedule '3'"),
        ("window.json", "schedule file window.json: no such file"),
        ("linaer:" + 5000 * "x", "unknown schedule 'linaer'"),
        ("tabulated:at=0/1,strengths=1", "equally long and not empty, got 2 and 1"),
    ],
)
def test_mistakes_are_explained_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_schedule(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"type": "Constant", "value": 3', "not valid JSON: line 1"),
        ('{"type": "Constnat", "value": 3}', "unknown type 'Constnat'; did you mean 'Constant'?"),
        ('{"type": "Constant", "vlaue": 3}', "unknown key of Constant 'vlaue'; did you mean 'value'?"),
        ('{"type": "Constant"}', "keys not given: clock, value"),
        ('{"type": "Constant", "value": NaN}', "value must be finite"),
        ('{"type": "Constant", "value": 3, "version": 2}', "format version 2 is not supported"),
        ("[1, 2]", "expected a JSON object with a 'type'"),
        ('{"type": ["Constant"]}', "unknown type"),
    ],
)
def test_mistakes_in_files_name_the_file(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        parse_schedule(str(path))
    assert message in str(caught.value)
    assert "mine.json" in str(caught.value)
