"""Unusable input: one clear line on standard error that says what was expected, exit status 2, nothing on output."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orthoscope.errors import DivergenceError
from tests.conftest import Finished

Run = Callable[..., Finished]
PREDICT = ("predict", "--rate", 0.2, "--std", 0.5)
SIMULATE = ("simulate", "--dim", 8, "--rate", 0.3, "--std", 0.5, "--quiet")
GAUSSIAN = ("gaussian", "--cond-mean", 0, "--uncond-mean", 0, "--uncond-var", 1, "--strength", 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("predict", "--rate", 0.2, "--std", -0.5, "--strength", 1), "std .* > 0, got -0.5"),
        (("predict", "--rate", -0.2, "--std", 0.5, "--strength", 1), "rate .* > 0, got -0.2"),
        (("predict", "--std", 0.5, "--strength", 1), "--rate"),
        (("predict", "--classes", 1, "--dim", 8, "--std", 0.5, "--strength", 1), "at least 2 classes"),
        (("predict", "--classes", 0, "--dim", 8, "--std", 0.5, "--strength", 1), "at least 2 classes"),
        (("predict", "--classes", 9, "--std", 0.5, "--strength", 1), "--classes needs --dim"),
        ((*PREDICT,), "either --strength or --schedule"),
        ((*PREDICT, "--strength", 1, "--schedule", "constant:1"), "either --strength or --schedule"),
        ((*PREDICT, "--strength", "nan"), "finite"),
        ((*PREDICT, "--strength", "inf"), "finite"),
        ((*PREDICT, "--strength", "strong"), "--strength.*a scale such as scale:4, got 'strong'"),
        ((*PREDICT, "--strength", 1, "--t-max", 0), "--t-max .* > 0, got 0"),
        ((*PREDICT, "--strength", 1, "--t-max", -3), "--t-max .* > 0, got -3"),
        ((*PREDICT, "--schedule", "constnat:3"), "did you mean 'constant'"),
        ((*PREDICT, "--schedule", "step:early=3,lat=-1,switch=1"), "did you mean 'late'"),
        ((*PREDICT, "--schedule", "linear:w0=-0.2,slope=0.3"), "t.max"),
        ((*PREDICT, "--schedule", "interval:inside=3,low=5,high=2"), "low must be below high"),
        ((*PREDICT, "--schedule", "step:early=3,late=-1,switch=60%"), "--steps"),
        ((*PREDICT, "--schedule", "nowhere.json"), "no such file"),
        ((*PREDICT, "--strength", 1, "--start", "middle"), "middle"),
        ((*PREDICT, "--strength", 1, "--dim", 0), "dim"),
        ((*PREDICT, "--strenth", 1), "strenth"),
        (("predcit",), "predcit"),
        ((*SIMULATE, "--strength", 1, "--steps", 0), "steps must be at least 1, got 0"),
        ((*SIMULATE, "--strength", 1, "--samples", 0), "samples must be at least"),
        ((*SIMULATE, "--strength", 1, "--draws", 0), "draws must be at least 1, got 0"),
        ((*SIMULATE, "--strength", 1, "--t-max", 0), "--t-max"),
        ((*SIMULATE, "--strength", 1, "--dtype", "float16"), "dtype 'float16'"),
        (("simulate", "--dim", 8, "--classes", 1, "--std", 0.5, "--strength", 1), "at least 2 classes"),
        (("simulate", "--dim", 1, "--rate", 0.1, "--std", 0.5, "--strength", 1), "at least 2 classes"),
        (("simulate", "--dim", 200, "--rate", 0.5, "--std", 0.5, "--strength", 1), "need 10.37 GiB, .*--modes planted"),
        (("simulate", "--dim", 20000, "--rate", 0.5, "--std", 0.5, "--strength", 1), "--modes planted"),
        ((*SIMULATE, "--strength", 1, "--modes planted", "--ensemble", "sphere"), "planted"),
        ((*SIMULATE, "--strength", 1, "--device", "abacus"), "device"),
        ((*GAUSSIAN, "--cond-var", -1), "variance"),
        ((*GAUSSIAN, "--cond-var", "nan"), "variance"),
        (("phase", "window", "--rate", 0.7, "--std", 0.5, "--t-max", 10, "--w0=-1:0", "--slope", "0:1:4"), "LO:HI:N"),
        (("phase", "rate-strength", "--rate", "a:b:c", "--strength", "0:1:3", "--std", 0.5), "LO:HI:N"),
        ((*GAUSSIAN, "--cond-var", 1, "--cond-mean", "nan"), "mean"),
        ((*GAUSSIAN[:-2], "--cond-var", 1, "--schedule", "linear:w0=1,slope=1"), "t.max"),
        ((*GAUSSIAN[:-2], "--cond-var", 1, "--schedule", "step:early=1,late=0,switch=50%"), "no steps"),
        (("predict", "--rate", 0.01, "--dim", 3, "--std", 0.5, "--strength", 1), "at least 2 classes"),
        (("simulate", "--dim", 8, "--classes", 99999999999, "--std", 0.5, "--strength", 1), "lower --classes"),
        ((*SIMULATE, "--strength", 1, "--device", "meta"), "device 'meta'"),
        (
            ("phase", "window", "--rate", 0.7, "--std", 0.5, "--t-max", 9, "--w0=-1:0:100000", "--slope", "0:1:4"),
            "at most 2048",
        ),
        (
            ("phase", "rate-strength", "--rate", "0.1:1:4", "--std", 0.5, "--strength", "0:1:4", "--out", "a.svg"),
            "must end in .nc",
        ),
        (("demo", "--section", "apths"), "apths"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_one_clear_line_and_status_2(run_cli: Run, arguments: tuple[object, ...], message: str) -> None:
    run = run_cli(*arguments)
    assert run.status == 2, run.err
    assert run.out == ""
    assert run.err.startswith("error: ")
    assert len(run.err.splitlines()) == 1
    assert re.search(message, run.err)
    assert "Traceback" not in run.err


BAD_FILES = {
    "{": "line 1",
    "[1, 2]": "expected a JSON object",
    '{"type": "Constant"}': "value",
    '{"type": "Constant", "version": 99, "value": 1}': "version 99",
    '{"type": "Constnat", "value": 1}': "did you mean 'Constant'",
    '{"type": "Constant", "vaule": 1}': "did you mean 'value'",
    '{"type": "Constant", "value": "much"}': "value must be a number, got 'much'",
    '{"type": "Constant", "value": null}': "value must be a number, got None",
    '{"type": "Linear", "w0": 1, "slope": [1, 2]}': "slope must be a number",
    '{"type": ["Linear"]}': "type",
}
FRESH = """
import json, sys
from orthoscope.cli.main import main
for path in json.loads(sys.stdin.read()):
    print(main(["predict", "--rate", "0.2", "--std", "0.5", "--schedule", path]), file=sys.stderr)
"""


def test_a_bad_schedule_file_names_itself_and_its_mistake(tmp_path: Path) -> None:
    """In a fresh interpreter, where the type checker of the tests does not see the values before the program does."""
    paths = [tmp_path / f"schedule{k}.json" for k in range(len(BAD_FILES))]
    for path, text in zip(paths, BAD_FILES, strict=True):
        path.write_text(text)
    run = subprocess.run(
        [sys.executable, "-c", FRESH],
        input=json.dumps([str(p) for p in paths]),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = run.stderr.splitlines()
    assert run.stdout == ""
    assert len(lines) == 2 * len(paths)
    for path, message, error, status in zip(paths, BAD_FILES.values(), lines[::2], lines[1::2], strict=True):
        assert error.startswith("error: ")
        assert path.name in error
        assert re.search(message, error)
        assert status == "2"


def test_an_unwritable_place_is_refused_before_anything_runs(run_cli: Run, tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    run = run_cli("demo", "--out", blocker / "demo")
    assert run.status == 2
    assert "choose another --out" in run.err


def test_a_diverging_run_is_a_failed_result(run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(*args: object, **kwargs: object) -> None:
        raise DivergenceError("the state is not finite after step 3", step=3, time=1.0, last_good=None)

    monkeypatch.setattr("orthoscope.experiments.single.SimulationStudy.run", diverge)
    run = run_cli(*SIMULATE, "--strength", 1)
    assert run.status == 1
    assert run.err == "error: the state is not finite after step 3\n"


def test_a_bug_is_no_bare_traceback(run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orthoscope.experiments.single.prediction_result", lambda prediction: 1 / 0)
    run = run_cli(*PREDICT, "--strength", 1)
    assert run.status == 70
    assert run.err.startswith("internal error: ZeroDivisionError")
    assert len(run.err.splitlines()) == 1
