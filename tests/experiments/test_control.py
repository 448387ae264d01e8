"""The study of control: areas under fronts, which plans a method is judged by, and that it runs."""

from __future__ import annotations

import numpy as np
import pytest

from orthoscope.experiments.control import (
    MEASURES,
    ControlStudy,
    Plan,
    _nondominated,
    front_of,
    hypervolume,
    methods_of,
)
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
    values[:, :, 0] = [1.0, 0.8, 1.25]
    values[:, :, MEASURES.index("mean_shift")] = [0.1, 0.3, 0.3]
    np.testing.assert_allclose(front_of("effect")(values), [[1, 0], [0.8, 0.2], [0.8, 0.2]])


def test_methods_are_judged_by_what_was_found_on_other_cases() -> None:
    rule = parse_rule("cfg")
    names = ("none", "constant", "constant", "step", "linear", "blind, class", "blind, effect", "fbg")
    groups = methods_of([Plan(name, "", "constant:0", rule) for name in names], "class")
    assert groups["open loop"] == [0, 1, 2, 3, 4, 5]
    assert groups["fbg"] == [0, 7]
    assert _nondominated(np.array([[1.0, 0.0], [0.9, 0.2], [0.8, 0.1], [np.nan, 1.0]]), [0, 5, 6, 7]) == [0, 5]


@pytest.mark.slow  # checks of types would take longer than the study
def test_it_runs_and_is_shown() -> None:
    small = ControlStudy(settings=("one Gaussian",), searched=1, judged=2, samples=16, steps=4, updates=1)
    assert isinstance(small, Study)
    result = small.run()
    numbers = small.summarize(result)
    told = numbers["one Gaussian"]["effect"]
    assert told["open loop"]["gain"]["value"] == 0
    assert told["constant"]["volume"]["value"] <= 1
    assert {"learned", "sees ratio", "fbg"} < told.keys()
    assert next(table.lead for table in control_tables(numbers)) == ["one Gaussian: posterior against diversity"]
    assert len(control_figure(result).axes) == 1
