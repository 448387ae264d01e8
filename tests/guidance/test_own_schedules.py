"""Schedules of one's own: functions of the level, asked for numbers and arrays, named, written down and read back."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import orthoscope as osc
from orthoscope import registered, serialize
from orthoscope.errors import ConfigError
from orthoscope.guidance.given import as_schedule
from orthoscope.guidance.grammar import format_schedule, parse_schedule, read_schedule, schedule_of, write_schedule
from orthoscope.guidance.own import SCHEDULE_TYPES, FunctionSchedule
from orthoscope.guidance.schedules import Constant, Linear, Step, Tabulated
from orthoscope.process import NoiseLevel
from orthoscope.settings import Setting
from orthoscope.theory import guided_gaussian, predict
from tests.guidance import mine

HERE = "tests.guidance.mine"
TIMES = np.array([[0.0, 0.3], [1.0, 40.0]])


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Names of this test only."""
    monkeypatch.setattr(registered.SCHEDULES, "_things", {})
    monkeypatch.setattr(registered.SCHEDULES, "_options", {})
    return


# Numbers and arrays


@pytest.mark.parametrize(
    ("call", "like"),
    [
        (lambda level: -0.25 + 0.3 * level.time, Linear(w0=-0.25, slope=0.3)),
        (lambda level: -0.25 + 0.3 * level.sigma, Linear(w0=-0.25, slope=0.3, clock="sigma")),
        (lambda level: 3, Constant(value=3.0)),
        (mine.stepped, Step(early=3.0, late=-1.0, switch=1.0)),
        (lambda level: max(min(level.time, 2.0), 0.5), Tabulated(at=(0.5, 2.0), strengths=(0.5, 2.0))),
    ],
)
def test_a_function_has_the_strengths_of_the_schedule_that_it_writes_out(call: Any, like: Any) -> None:
    own = as_schedule(call)
    np.testing.assert_array_equal(own.at_time(TIMES), like.at_time(TIMES))
    for time in TIMES.ravel():
        assert own.strength(NoiseLevel(time=float(time))) == like.strength(NoiseLevel(time=float(time)))
    assert own.limit() == like.limit() or like.limit() is None


def test_rows_have_their_own_clocks() -> None:
    level = osc.OrnsteinUhlenbeck().level(np.array([0.1, 0.5, 2.0]))
    own = as_schedule(lambda level: 1.0 if level.t > 0.3 else level.alpha)
    np.testing.assert_array_equal(own.strength(level), [np.exp(-0.1), 1.0, 1.0])


@pytest.mark.parametrize(
    ("call", "limit"),
    [
        (mine.fading, 0.0),
        (mine.stepped, 3.0),
        (lambda level: level.time / (1 + level.time), None),
        (lambda level: level.time, None),
        (lambda level: 1 / (level.time - level.time), None),
    ],
)
def test_the_limit_is_what_the_function_says_of_infinite_noise(call: Any, limit: float | None) -> None:
    assert as_schedule(call).limit() == limit


def test_jumps_are_where_they_are_said_to_be() -> None:
    assert FunctionSchedule(call=mine.stepped).switches() == ()
    assert FunctionSchedule(call=mine.stepped, jumps=(1, 4)).switches() == (4.0, 1.0)
    assert FunctionSchedule(call=mine.stepped, jumps=(1, 4), clock="sigma").switches() == (16.0, 1.0)
    with pytest.raises(ConfigError, match="`switches` is a noise level and must be >= 0"):
        FunctionSchedule(call=mine.stepped, jumps=(-1.0,))


def test_a_function_of_the_step_is_resolved_on_a_grid() -> None:
    own = FunctionSchedule(call=mine.counted, clock="step")
    times = [9.0, 4.0, 1.0, 0.5, 0.0]
    assert own.resolved(times).at_time(TIMES).tolist() == Step(early=3.0, late=0.0, switch=1.0).at_time(TIMES).tolist()
    for step, strength in ((1, 3.0), (2, 0.0)):
        assert own.strength(NoiseLevel(time=4.0, step=step, steps=4)) == strength


def test_theory_follows_a_function_as_it_does_the_schedule() -> None:
    kwargs: dict[str, Any] = {"rate": 0.2, "std": 0.5, "t_max": 20.0}
    own = predict(Setting.of(schedule=lambda level: 0.5 + 0.1 * level.time, **kwargs))
    like = predict(Setting.of(schedule=Linear(w0=0.5, slope=0.1), **kwargs))
    assert own.mean_shift == pytest.approx(like.mean_shift, rel=1e-8)
    assert own.variance_shift == pytest.approx(like.variance_shift, rel=1e-8)
    jump = FunctionSchedule(call=mine.stepped, jumps=(1.0,))
    both = [predict(Setting.of(schedule=one, **kwargs)) for one in (jump, Step(early=3.0, late=-1.0, switch=1.0))]
    assert both[0].mean_shift == pytest.approx(both[1].mean_shift, rel=1e-8)
    laws: dict[str, Any] = {"cond_mean": 1.0, "cond_var": 0.5, "uncond_mean": 0.0, "uncond_var": 2.0, "t_max": 50.0}
    rising = Linear(w0=0.2, slope=0.1, clock="sigma")
    gauss = [guided_gaussian(strength=one, **laws) for one in (as_schedule(lambda at: 0.2 + 0.1 * at.sigma), rising)]
    assert gauss[0].mean == pytest.approx(gauss[1].mean, rel=1e-9)
    assert gauss[0].variance == pytest.approx(gauss[1].variance, rel=1e-9)


def test_numbers_texts_and_functions_are_schedules_of_a_setting() -> None:
    settings = [Setting.of(rate=0.2, std=0.5, schedule=one) for one in (2, "constant:2", Constant(value=2.0))]
    assert settings[0] == settings[1] == settings[2]


# Refused


def nan(level: Any) -> float:
    return float("nan")


def text(level: Any) -> Any:
    return "much"


def failing(level: Any) -> float:
    return [][0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (nan, "the schedule nan gives NaN at variance time 2"),
        (text, "the schedule text gives no strength at variance time 2: ValueError"),
        (failing, "the schedule failing gives no strength at variance time 2: IndexError"),
    ],
)
def test_what_is_no_strength_is_refused_in_one_line_that_names_the_schedule(call: Any, message: str) -> None:
    for time in (2.0, np.array([2.0, 2.0])):
        with pytest.raises(ConfigError, match=message) as caught:
            as_schedule(call).strength(NoiseLevel(time=time))
        assert "\n" not in str(caught.value)


# Named, written down and read back


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (f"{HERE}:fading", f"{HERE}:fading"),
        (f"{HERE}:stepped:switches=1", f"{HERE}:stepped:switches=1"),
        (f"{HERE}:stepped:switches=1/2,clock=sigma", f"{HERE}:stepped:clock=sigma,switches=1/2"),
        (f"{HERE}:Decay", f"{HERE}:Decay:rate=1"),
        (f"{HERE}:Decay:rate=300%", f"{HERE}:Decay:rate=3"),
        (f"{HERE}:Sloped:height=2", f"{HERE}:Sloped:height=2"),
        (f"{HERE}:Sloped:height=2,clock=sigma", f"{HERE}:Sloped:height=2,clock=sigma"),
    ],
)
def test_places_are_texts(given: str, written: str, tmp_path: Path) -> None:
    schedule = parse_schedule(given)
    assert format_schedule(schedule) == written
    assert parse_schedule(written) == schedule
    assert serialize.from_dict(serialize.to_dict(schedule), SCHEDULE_TYPES) == schedule
    write_schedule(schedule, tmp_path / "mine.json")
    assert read_schedule(tmp_path / "mine.json") == parse_schedule(str(tmp_path / "mine.json")) == schedule
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    setting = Setting.of(rate=0.2, std=0.5, schedule=schedule)
    assert hash(setting) == hash(Setting.of(rate=0.2, std=0.5, schedule=parse_schedule(written)))


def test_what_stands_in_a_file() -> None:
    assert serialize.to_dict(FunctionSchedule(call=mine.Decay(rate=3.0), jumps=(1.0,))) == {
        "type": "FunctionSchedule", "version": 1, "place": f"{HERE}:Decay", "settings": {"rate": 3.0},
        "clock": "variance", "switches": [1.0],
    }  # fmt: skip


def test_registered_names_are_texts() -> None:
    assert osc.schedule("halt", switches=[1])(mine.stepped) is mine.stepped
    assert osc.schedule(mine.Decay) is mine.Decay
    assert osc.schedule()(mine.fading) is mine.fading
    assert parse_schedule("halt") == FunctionSchedule(call=mine.stepped, jumps=(1.0,))
    assert parse_schedule("decay:rate=2") == as_schedule(mine.Decay(rate=2.0))
    assert parse_schedule("Fading") == as_schedule(mine.fading)
    assert format_schedule(as_schedule(mine.stepped)) == f"{HERE}:stepped"  # its jumps go without saying
    with pytest.raises(ConfigError, match="unknown schedule 'decoy'; did you mean 'decay'"):
        parse_schedule("decoy:rate=2")


def test_what_cannot_be_found_again_is_refused_where_it_is_written() -> None:
    for write in (format_schedule, serialize.dumps):
        with pytest.raises(ConfigError, match=r"<lambda> has no text: .* put it in a module, or register it"):
            write(as_schedule(lambda level: 3.0))


def test_a_file_imports_no_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "unseen_schedules.py").write_text("def calm(level):\n    return 1.0\n")
    (tmp_path / "calm.json").write_text('{"type": "FunctionSchedule", "place": "unseen_schedules:calm"}')
    with pytest.raises(ConfigError, match="a file may not import: import unseen_schedules first"):
        read_schedule(tmp_path / "calm.json")
    with pytest.raises(ConfigError, match="a file may not import: import unseen_schedules first"):
        schedule_of("unseen_schedules:calm", imports=False)
    assert parse_schedule("unseen_schedules:calm") == read_schedule(tmp_path / "calm.json")


# Changes in place


class Spoiling(mine.Sloped):
    """A schedule of the package's own kind that changes its inputs."""

    def _strength(self, at: Any, noisiness: Any) -> Any:
        at *= 2
        return at + 0.0


def spoiling(level: Any) -> Any:
    time = level.time
    time *= 2
    return time + 0.0


@pytest.mark.parametrize("schedule", [spoiling, Spoiling(height=1.0)])
def test_a_schedule_that_changes_times_in_place_changes_only_its_own(schedule: Any) -> None:
    times = np.array([0.5, 1.0, 4.0])
    np.testing.assert_array_equal(as_schedule(schedule).at_time(times), [1.0, 2.0, 8.0])
    np.testing.assert_array_equal(times, [0.5, 1.0, 4.0])


# Files


@dataclass(frozen=True)
class Listed:
    """A schedule with a setting that JSON cannot hold."""

    levels: Any = frozenset({1.0})

    def __call__(self, level: Any) -> float:
        return 1.0


@pytest.mark.parametrize(
    "given",
    [3, "3", "step:early=3,late=-1,switch=1", mine.Decay(rate=2.0), mine.Decay, mine.fading, mine.Sloped(height=2)],
)
def test_whatever_is_a_schedule_is_written_and_read_back(given: Any, tmp_path: Path, unchecked: None) -> None:
    path = str(tmp_path / "mine.json")
    write_schedule(given, path)
    assert read_schedule(path) == as_schedule(path) == as_schedule(given)


@pytest.mark.parametrize("given", [Listed(), lambda level: 1.0, object(), None, "nothing"])
def test_what_cannot_be_read_back_is_not_written(given: Any, tmp_path: Path, unchecked: None) -> None:
    with pytest.raises(ConfigError, match=r"^this schedule cannot be written down: ") as told:
        write_schedule(given, tmp_path / "mine.json")
    assert "\n" not in str(told.value)
    assert not (tmp_path / "mine.json").exists()


# Texts


@pytest.mark.parametrize("text", ["3", " 3.0 ", "3e0", "constant:3"])
def test_a_plain_number_is_a_constant_strength(text: str) -> None:
    assert parse_schedule(text) == as_schedule(text) == Constant(value=3.0)


@pytest.mark.parametrize("given", [5, None, Constant(value=3.0)])
def test_what_is_no_text_is_told_in_one_line(given: Any, unchecked: None) -> None:
    with pytest.raises(ConfigError, match=rf"^a schedule as text is expected.* got {type(given).__name__}$"):
        parse_schedule(given)


@pytest.mark.parametrize("text", ["nan", "inf", ""])
def test_what_is_no_finite_number_is_no_schedule(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^expected a schedule such as"):
        parse_schedule(text)


# What decorators refuse where they are written


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"clock": "hour"}, r"^unknown clock 'hour'"),
        ({"switches": [-1]}, r"`switches` is a noise level and must be >= 0, got -1\.0$"),
        ({"switches": [float("nan")]}, r"`switches` must be finite, got nan$"),
        ({"switches": [2.0], "clock": "step"}, r"`switches` is a share of the steps and must be <= 1, got 2\.0$"),
        ({"switches": "x"}, r"^`switches` is a list of positions on the clock, got 'x'$"),
        ({"switches": ["x"]}, r"`switches` must be a list of numbers, got \('x',\)$"),
        ({"switches": 1.0}, r"^`switches` is a list of positions on the clock, got 1\.0$"),
    ],
)
def test_options_that_cannot_be_are_refused_by_the_decorator(options: Any, told: str, unchecked: None) -> None:
    with pytest.raises(ConfigError, match=told):
        osc.schedule("mine", **options)


class Uncallable:
    """Its objects cannot be called."""


class Wide:
    """Its objects take too much."""

    def __call__(self, level: Any, step: Any) -> float:
        return 1.0


@pytest.mark.parametrize(
    ("thing", "told"),
    [
        (lambda: 1.0, r"^a schedule is called with \(level\); .*<lambda> takes \(\)$"),
        (lambda level, step: 1.0, r"takes \(level, step\)$"),
        (Wide, r"; Wide takes \(level: 'Any', step: 'Any'\) -> 'float'$"),
        (Wide(), r"; Wide takes \(level: 'Any', step: 'Any'\) -> 'float'$"),
        (Uncallable, r"^Uncallable is no schedule: its objects cannot be called$"),
    ],
)
def test_what_takes_no_level_is_refused_by_the_decorator(thing: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        osc.schedule("mine")(thing)
    assert "mine" not in registered.SCHEDULES


@pytest.mark.parametrize("thing", [np.exp, mine.fading, mine.Decay, mine.Decay(), mine.Sloped, lambda *level: 1.0])
def test_what_takes_a_level_is_registered(thing: Any) -> None:
    assert osc.schedule("mine", switches=iter([1, 2.0]))(thing) is thing
    assert registered.SCHEDULES.options(thing) == {"clock": "variance", "switches": (1.0, 2.0)}


# One line


def test_an_error_of_several_lines_is_told_in_one() -> None:
    def failing(level: Any) -> float:
        raise RuntimeError("one\ntwo\n  three")

    with pytest.raises(ConfigError, match=r"gives no strength at variance time 2: RuntimeError: one two three$"):
        as_schedule(failing).strength(NoiseLevel(time=2.0))


def test_objects_are_told_by_their_type(unchecked: None) -> None:
    with pytest.raises(ConfigError, match=r"or a schedule, got ndarray$"):
        as_schedule(np.ones((40, 40)))


def test_a_strength_too_large_for_theory_is_told_in_few_digits() -> None:
    with pytest.raises(ConfigError, match=r"too large for the theory: \S{1,9} panels; use a smaller one$"):
        osc.predict(osc.RandomMixture(rate=0.7, std=0.5), 1e300)
