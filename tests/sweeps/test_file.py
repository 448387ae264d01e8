"""Study files: what they mean, and every mistake at once with its line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from orthoscope.errors import ConfigError
from orthoscope.sweeps.file import StudyFile, read_study
from orthoscope.sweeps.mistakes import StudyFileError

Read = Callable[[str], StudyFile]
THEORY = '[study]\nsource = "theory"\n'
SMALL = "[fixed]\nstd = 0.5\ndim = 8\nrate = 0.3\nstrength = 1\n"


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a study file with this text."""

    def reader(text: str) -> StudyFile:
        path = tmp_path / "study.toml"
        path.write_text(text, encoding="utf-8")
        return read_study(path)

    return reader


@pytest.fixture
def wrong(read: Read) -> Callable[[str], list[str]]:
    """The mistakes of a study file with this text, without its name."""

    def reader(text: str) -> list[str]:
        with pytest.raises(StudyFileError) as caught:
            read(text)
        assert all(line.startswith("study.toml:") for line in caught.value.mistakes)
        return [line.removeprefix("study.toml:") for line in caught.value.mistakes]

    return reader


# What a file means


def test_axes_keep_their_order_and_the_last_is_fastest(read: Read) -> None:
    plan = read(THEORY + "[axes]\nstrength = [3, 1]\nrate = [0.2, 0.1, 0.3]\n[fixed]\nstd = 0.5\n").plan
    assert dict(plan.axes) == {"strength": (3.0, 1.0), "rate": (0.2, 0.1, 0.3)}
    assert plan.shape == (2, 3)
    cells = plan.cells()
    assert [cell.index for cell in cells] == list(np.ndindex(2, 3))
    assert cells[4].coords == {"strength": 1.0, "rate": 0.1}
    assert str(cells[4]) == "strength=1.0, rate=0.1"


def test_no_axes_are_one_cell(read: Read) -> None:
    plan = read(THEORY + "[fixed]\nstd = 0.5\nrate = 0.2\nstrength = 1\n").plan
    assert [dict(cell.coords) for cell in plan.cells()] == [{}]


@pytest.mark.parametrize(
    ("span", "values"),
    [
        ("{ from = 0.1, to = 0.5, n = 5 }", (0.1, 0.2, 0.3, 0.4, 0.5)),
        ("{ from = 0.5, to = 0.1, n = 3 }", (0.5, 0.3, 0.1)),
        ("{ from = 0.01, to = 1, n = 3, log = true }", (0.01, 0.1, 1.0)),
    ],
)
def test_a_range_gives_the_numbers_one_would_write(read: Read, span: str, values: tuple[float, ...]) -> None:
    assert read(THEORY + f"[axes]\nrate = {span}\n[fixed]\nstd = 0.5\nstrength = 1\n").plan.axes["rate"] == values


def test_whole_numbers_of_a_range_stay_whole(read: Read) -> None:
    text = THEORY + "[axes]\ndim = { from = 8, to = 512, n = 4, log = true }\n[fixed]\nrate=1\nstd = 1\nstrength = 1\n"
    values = read(text).plan.axes["dim"]
    assert values == (8, 32, 128, 512)
    assert all(isinstance(value, int) for value in values)


def test_what_is_left_out_is_part_of_the_plan(read: Read) -> None:
    """So that another release with other defaults does not go on with these results."""
    plan = read(SMALL).plan
    assert {
        "seed": 0,
        "streams": "independent",
        "samples": 512,
        "draws": 4,
        "t_max": 50.0,
    }.items() <= plan.fixed.items()
    assert plan == read(SMALL + "samples = 512\ndraws = 4\n").plan
    theory = read(THEORY + "[fixed]\nstd = 0.5\nrate = 0.3\nstrength = 1\n").plan
    assert not {"t_max", "samples", "draws", "steps"} & set(theory.fixed)


def test_equal_schedules_are_equal_text(read: Read, tmp_path: Path) -> None:
    from orthoscope.guidance.grammar import write_schedule
    from orthoscope.guidance.schedules import Linear

    write_schedule(Linear(w0=-0.25, slope=0.5), tmp_path / "mine.json")
    text = '[axes]\nschedule = ["mine.json", "constant:1.0"]\n[fixed]\nstd=1\nrate=0.2\nt_max=5\n'
    plan = read(THEORY + text).plan
    assert plan.axes["schedule"] == ("linear:w0=-0.25,slope=0.5", "constant:1")


def test_results_have_their_predictions_and_effort_beside_them(read: Read) -> None:
    text = SMALL + '[measure]\nquantities = ["mean_shift", "participation_ratio"]\n'
    plan = read(text).plan
    assert plan.estimated == ("mean_shift", "participation_ratio")
    assert plan.quantities == (*plan.estimated, "mean_shift_mean_field", "mean_shift_finite_dim", "draws_used")
    bare = read(text + "theory = false\n[precision]\nmean_shift = 0.1\n").plan
    assert bare.quantities == (*plan.estimated, "draws_used", "precision_met")
    assert bare.fixed["precision"] == {"mean_shift": 0.1}
    assert "draws" not in bare.fixed


def test_name_and_folder_come_from_the_file_s_name(read: Read) -> None:
    assert (read(SMALL).plan.name, read(SMALL).out) == ("study", Path("runs/study"))
    assert read('[study]\nname = "a"\n' + SMALL).out == Path("runs/a")
    assert read('[study]\nout = "b/c"\n' + SMALL).out == Path("b/c")


# Mistakes


def test_every_mistake_is_told_at_once_with_its_line(wrong: Callable[[str], list[str]]) -> None:
    found = wrong(
        """[study]
sed = 1
[axes]
rates = [0.1]
rate = [0.2, -1,
  0.2,
  "x"]
strength = [1.0]
schedule = ["constant:1", "stp:early=1"]
dim = []
[fixed]
std = 0
rate = 0.5
planted = "yes"
[measure]
quantities = ["mean_shift", "variance_shft"]
[precision]
mean_shift = -1
[wrong]
"""
    )
    assert found == [
        "2: unknown key of [study] 'sed'; did you mean 'seed'?",
        "4: unknown axis 'rates'; did you mean 'rate'?",
        "5: rate: expected a finite number > 0, got -1",
        "6: rate: 0.2 is listed twice",
        '7: rate: expected a finite number > 0, got "x"',
        "9: give either strength or schedule, not both",
        "9: schedule: unknown schedule 'stp'; did you mean 'step'?",
        "10: dim: expected at least one value, got an empty list",
        "12: std: expected a finite number > 0, got 0",
        "13: rate: it is an axis already: leave it out here",
        '14: planted: expected true or false, got "yes"',
        "16: quantities: unknown quantity 'variance_shft'; did you mean 'variance_shift'?",
        "18: mean_shift: expected a finite number > 0, got -1",
        "19: unknown table 'wrong'; known: axes, fixed, measure, precision, study",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[axes]\nrate = [0.1", "2: not valid TOML: Unclosed array"),
        ("[axes]\nrate = [0.1]\nrate = [0.2]\n", "3: not valid TOML: a key or table is given twice"),
        ("[axes]\nrate = \n", "2: not valid TOML: Invalid value"),
        ("axes = 3\n" + SMALL, "1: expected a table [axes], got 3"),
        ("[axes]\nt_max = 3\n" + SMALL, "2: t_max: expected a list or a range, such as [3]"),
        ("[axes]\nt_max = { from = 1, to = 2 }\n" + SMALL, "2: t_max: a range needs from, to and n; missing: n"),
        ("[axes]\nt_max = { from = 1, to = 2, n = 2, lg = 1 }\n" + SMALL, "2: t_max: unknown key of a range 'lg'"),
        ("[axes]\nt_max = { from = 2, to = 2, n = 2 }\n" + SMALL, "2: t_max: expected two different ends"),
        ("[axes]\nstart = { from = 2, to = 2, n = 2 }\n" + SMALL, "2: start: a range needs numbers"),
        ("[axes]\nsteps = { from = 8, to = 9, n = 3 }\n" + SMALL, "2: steps: only 2 of 3 numbers differ: lower n"),
        ('[axes]\nstart = ["prior", "exat"]\n' + SMALL, "2: start: unknown value 'exat'; did you mean 'exact'?"),
        ("[axes]\nsteps = [2.5]\n" + SMALL, "2: steps: expected a whole number >= 1, got 2.5"),
        (SMALL + "order = 3\n", "6: order: expected a whole number from 1 to 2, got 3"),
        (SMALL + "t_max = inf\n", "6: t_max: expected a finite number > 0, got Infinity"),
        (SMALL + f"t_max = 1{400 * '0'}\n", "6: t_max: expected a finite number > 0, got 1000"),
        (SMALL + "t_max = [1, 2]\n", "6: t_max: several values make an axis"),
        (SMALL + "draws = 3\n[precision]\nmean_shift = 1\n", "6: [precision] decides how many draws there are"),
        (SMALL + "[axes]\ndraws = [3]\n[precision]\nmean_shift = 1\n", "7: [precision] decides how many draws"),
        (SMALL.replace("strength = 1", "schedule = 3"), "5: schedule: expected a schedule such as linear:w0=-0.25"),
        (SMALL + 'modes = "a.npy"\n[precision]\nmean_shift = 1\n', "6: modes on file are one draw, and [precision]"),
        (SMALL + 'modes = "a.npy"\ndraws = 1\n[precision]\nmean_shift = 1\n', "6: modes on file are one draw, and"),
        (SMALL + "[precision]\nclass_posterior = 1\n", "7: unknown quantity with a precision 'class_posterior'"),
        (SMALL + "[precision]\nmax_draws = 10\n", "7: max_draws needs a standard error to reach"),
        (SMALL + "[precision]\nmean_shift = 1\nmin_draws = 2\n", "8: min_draws: expected a whole number >= 4, got 2"),
        (SMALL + "[precision]\nmean_shift = 1\nmax_draws = 4\n", "8: max_draws: expected at least min_draws = 8"),
        (SMALL + "[measure]\nquantities = []\n", "7: quantities: expected a list of names"),
        (SMALL + '[measure]\nquantities = ["lost"]\n', "7: quantities: unknown quantity 'lost'"),
        (THEORY + SMALL + "samples = 10\n", "8: samples: it means nothing to theory"),
        (THEORY + "[fixed]\nstrength = 1\nstd = 1\nclasses = 9\n", "3: missing: dim"),
        (THEORY + SMALL + "[precision]\nmean_shift = 1\n", "8: theory has no standard errors"),
        ("[fixed]\nstd = 0.5\ndim = 8\nstrength = 1\n", "1: missing: rate or classes"),
    ],
)  # fmt: skip
def test_one_mistake_is_one_line(wrong: Callable[[str], list[str]], text: str, message: str) -> None:
    (line,) = wrong(text)
    assert line.startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[axes]\nrate=[0.1,\n 0.3]\n[fixed]\nstd=0.5\ndim=400\nstrength=1\n", "3: exp(rate * dim) = exp(120.0) modes"),
        ("[axes]\nrate=[0.1]\ndim=[\n 4, 64]\n[fixed]\nstd=0.5\nstrength=1\n", "4: expected at least 2 classes, got 1"),
        (SMALL + 'planted = true\nensemble = "sphere"\n', "6: the planted ensemble averages Gaussian centroids"),
        (SMALL + '[measure]\nquantities=["frechet_distance"]\n[axes]\nsamples=[64,\n8]\n', "10: frechet_distance"),
        (SMALL.replace("0.5", "1e-9"), "2: std must lie between 1e-06 and 1e+06"),
        (THEORY + '[axes]\nensemble=["gaussian",\n"sphere"]\n' + SMALL, "5: finite-dimension theory is not available"),
        (THEORY + '[axes]\nschedule=["constant:1",\n"linear:w0=0,slope=1"]\n[fixed]\nstd=0.5\nrate=0.3\n',
         "5: schedule: it has no strength at infinite noise, where theory starts: set a finite t_max (the cell"),
        (THEORY + '[axes]\nrate=[0.1, 0.2]\n[fixed]\nstd=0.5\nschedule="linear:w0=0,slope=1"\n', "7: schedule: it has"),
        (THEORY + '[axes]\nrate=[0.1, 0.2]\n[fixed]\nstd=0.5\nsteps=9\nschedule="linear:w0=0,slope=1,clock=step"\n',
         "8: a schedule with clock=step"),
        ("[axes]\nstd = {from=1,to=2,n=2000}\nt_max={from=1,to=2,n=2000}\n[fixed]\ndim=8\nrate=0.3\nstrength=1\n",
         "1: 4,000,000 cells; at most 1,000,000 fit"),
    ],
)  # fmt: skip
def test_cells_that_cannot_be_computed_are_told_at_the_value_they_come_from(
    wrong: Callable[[str], list[str]], text: str, message: str
) -> None:
    found = wrong(text)
    assert any(line.startswith(message) for line in found), found
    assert not any("--" in line for line in found), "the file knows no options"


def test_modes_beyond_memory_are_refused_before_anything_is_drawn(wrong: Callable[[str], list[str]]) -> None:
    (line,) = wrong("[axes]\ndim = [8,\n 100]\n[fixed]\nrate = 0.4\nstd = 0.5\nstrength = 1\n")
    assert line.startswith("3: exp(rate * dim) = exp(40.0) modes need")
    assert re.search(r"\bplanted\b", line), "the cure, in the words of the file"
    assert "the cell dim=100" in line


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^no such file: .*nowhere\.toml; expected a study file"):
        read_study(tmp_path / "nowhere.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not text in UTF-8"):
        read_study(tmp_path / "binary.toml")


VALUES = st.recursive(
    st.one_of(st.integers(-2, 20), st.booleans(), st.sampled_from(["", "prior", "constant:1", "nan:"]),
              st.floats(-1, 9), st.just(float("inf"))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["from", "to", "n"]), inner),
    max_leaves=4,
)  # fmt: skip
KEYS = st.sampled_from(
    ["rate", "classes", "dim", "std", "strength", "schedule", "t_max", "planted", "samples", "draws", "quantities",
     "theory", "mean_shift", "min_draws", "max_draws", "name", "seed", "source", "streams", "out", "rates"]
)  # fmt: skip
TABLES = st.dictionaries(
    st.sampled_from(["study", "axes", "fixed", "measure", "precision", "axis"]),
    st.dictionaries(KEYS, VALUES, max_size=5),
    max_size=5,
)


@given(TABLES, st.sampled_from(["", THEORY, SMALL]))
def test_any_file_is_a_plan_or_a_list_of_mistakes(tables: dict[str, Any], start: str) -> None:
    """Never a traceback, and never a mistake without its line."""
    text = "".join(f"[{name}]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in table.items())
                   for name, table in tables.items() if f"[{name}]" not in start)  # fmt: skip
    with TemporaryDirectory() as folder:
        path = Path(folder) / "study.toml"
        path.write_text(start + text, encoding="utf-8")
        try:
            size, mistakes = read_study(path).plan.size, ()
        except StudyFileError as error:
            size, mistakes = 0, error.mistakes
    assert (size > 0) != (len(mistakes) > 0)
    assert all(re.match(r"study\.toml:\d+: \S", line) for line in mistakes)


def toml(value: Any) -> str:
    """A value as TOML, written on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value).replace("Infinity", "inf")
