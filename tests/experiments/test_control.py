"""The study of control: areas under fronts, what samples are measured by, which plans a method is judged by."""

from __future__ import annotations

import numpy as np
import pytest

from orthoscope.experiments.control.fronts import front_of, hypervolume, nondominated
from orthoscope.experiments.control.judging import contest
from orthoscope.experiments.control.laws import designed
from orthoscope.experiments.control.methods import Plan, methods_for, thinned
from orthoscope.experiments.control.settings import Size, subject_of
from orthoscope.experiments.control.study import ControlStudy
from orthoscope.experiments.control.truth import DIVERSITIES, MEASURES
from orthoscope.guidance.grammar import parse_schedule
from orthoscope.guidance.rules import parse_rule
from orthoscope.plots.control import control_figure
from orthoscope.report.tables import control_tables
from orthoscope.sweeps.points import Study


def test_the_area_under_a_front_is_that_of_its_staircase() -> None:
    assert hypervolume(np.array([[1.0, 0.2]])) == pytest.approx(0.1)
    assert hypervolume(np.array([[0.75, 0.4], [1.0, 0.2]])) == pytest.approx(0.1 + 0.25 * 0.2)
    assert hypervolume(np.array([[0.75, 0.4], [1.0, 0.2], [0.7, 0.3], [0.5, 9.0], [np.nan, 9.0], [0.9, -1.0]])) == (
        pytest.approx(0.15)
    )


def test_a_batch_that_is_thrown_off_is_not_diverse() -> None:
    values = np.zeros((2, 3, len(MEASURES)))
    values[:, :, MEASURES.index("vendi")] = [1.0, 0.8, 1.25]
    values[:, :, MEASURES.index("mean_shift")] = [0.1, 0.3, 0.3]
    np.testing.assert_allclose(front_of("mean_shift", "vendi")(values), [[1, 0], [0.8, 0.2], [0.8, 0.2]])


def test_less_distance_is_a_gain() -> None:
    values = np.ones((2, 2, len(MEASURES)))
    values[:, :, MEASURES.index("frechet")] = [0.3, 0.1]
    np.testing.assert_allclose(front_of("frechet", "recall")(values), [[1, 0], [1, 0.2]])


def test_methods_are_judged_by_what_was_found_on_other_cases() -> None:
    names = "none", "constant", "constant", "step", "design", "blind, truth", "blind, effect", "fbg", "sees odds, truth"
    groups = methods_for(names, "class_posterior")
    assert groups["open loop"] == [0, 1, 2, 3, 4, 5]
    assert groups["fbg"] == [0, 7]
    assert groups["feedback"] == [0, 7, 8]
    assert methods_for(names, "mean_shift")["open loop"] == [0, 1, 2, 3, 4, 6]
    assert nondominated(np.array([[1.0, 0.0], [0.9, 0.2], [0.8, 0.1], [np.nan, 1.0]]), [0, 5, 6, 7]) == [0, 5]


def test_what_throws_samples_off_where_knobs_are_chosen_is_left_out() -> None:
    values = np.ones((6, 4, len(MEASURES)))
    values[:, :, MEASURES.index("mean_shift")] = [0.0, 0.2, 0.5, 0.3]
    values[:, :, MEASURES.index("far_share")] = [0.3, 0.05, 0.2, 0.05]
    values[3:, 3, MEASURES.index("mean_shift")] += np.array([-0.1, 0, 0.1])
    found = contest(values[:3], values[3:], ("none", "blind, effect", "fbg", "pmc"), "mean_shift", "recall").outcomes()
    assert found["open loop"]["area"].value == pytest.approx(0.1)
    assert found["fbg"]["area"].value == 0
    assert found["fbg"]["ahead_freely"].value == pytest.approx(0.25 - 0.1)
    assert found["feedback"]["ahead"].value == pytest.approx(0.05)
    assert found["feedback"]["ahead"].stderr == pytest.approx(0.05 / 3**0.5)  # of 0.1, 0.15 and 0.2
    assert found["feedback"]["over_blind"] == found["feedback"]["ahead"]
    assert found["feedback"]["far"].value == pytest.approx(0.05)


def test_what_takes_long_is_run_with_every_second_value_of_a_knob() -> None:
    rule = parse_rule("cfg")
    plans = thinned([Plan(name, "", "constant:1", rule) for name in ("none", "step", "step", "step", "linear")])
    assert [plan.schedule is not None for plan in plans] == [True, True, False, True, True]


def test_a_design_keeps_its_floor_where_it_is_run() -> None:
    subject = subject_of("one Gaussian", 0, Size(256, 32), seed=3)
    found = dict(
        zip(
            MEASURES,
            subject.truth.measured(subject.run(parse_schedule(designed("one Gaussian", 0.8)), parse_rule("cfg"))),
            strict=True,
        )
    )
    assert found["variance_ratio"] == pytest.approx(0.8, abs=0.12)  # 0.025 for 256 samples in 16 dimensions
    assert found["mean_shift"] > 0.2


@pytest.mark.parametrize("setting", ["many modes", "digits"])
def test_samples_of_the_class_are_as_diverse_as_it_is(setting: str) -> None:
    subject = subject_of(setting, 1, Size(40, 4), seed=0)
    truth = subject.truth
    found = [dict(zip(MEASURES, truth.measured(batch), strict=True)) for batch in truth.batches[1:]]
    for name in DIVERSITIES:
        assert np.mean([one[name] for one in found]) == pytest.approx(1, abs=0.15), name
    assert np.mean([one["class_posterior"] for one in found]) > 0.8
    assert abs(np.mean([one["mean_shift"] for one in found])) < 0.15
    narrow = dict(zip(MEASURES, truth.measured(truth.batches[1] * 0.5 + truth.moments.mean * 0.5), strict=True))
    assert narrow["variance_ratio"] < 0.4
    assert narrow["vendi"] < 0.7
    assert narrow["recall"] < 0.7
    assert narrow["frechet"] > 0.1


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
def test_images_are_steered_in_their_pipeline_on_common_noise() -> None:
    subject = subject_of("digits", 3, Size(8, 4), seed=0)
    schedule, none = parse_schedule("constant:3"), parse_schedule("constant:0")
    held, free = (subject.run(schedule, parse_rule(text)) for text in ("set-point:ratio=0.9", "cfg"))
    assert held.shape == (8, 64)
    np.testing.assert_array_equal(held, subject.run(schedule, parse_rule("set-point:ratio=0.9,lam=0")))
    assert np.abs(held - free).max() > 0.01
    np.testing.assert_allclose(subject.run(none, parse_rule("cfg")), subject.run(none, parse_rule("fbg")), atol=1e-6)


@pytest.mark.slow  # checks of types would take longer than the study
def test_it_runs_and_is_shown() -> None:
    small = ControlStudy(settings=("one Gaussian",), searched=1, judged=2, samples=16, steps=4, updates=1)
    assert isinstance(small, Study)
    result = small.run()
    numbers = small.summarize(result)
    told = numbers["one Gaussian"]["mean_shift"]["variance_ratio"]
    assert told["open loop"]["ahead"]["value"] == 0
    assert told["constant"]["area"]["value"] <= 1
    assert {"learned", "sees ratio", "fbg", "design", "feedback"} < told.keys()
    tables = list(control_tables(numbers))
    assert tables[0].lead == ["one Gaussian: mean shift against variance"]
    assert len(tables) == 1 + 3
    assert len(control_figure(result).axes) == 1
