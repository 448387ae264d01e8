"""`orthoscope forecast` and `orthoscope design --from` through `main(argv)`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("diffusers")

import orthoscope as osc
from tests.conftest import Finished

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
Run = Callable[..., Finished]


def test_a_forecast_is_made_read_and_designed_from(
    run_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, out = tmp_path / "prompts.txt", tmp_path / "run"
    prompts.write_text("1\n7\n")
    words = ("--prompts", prompts, "--images-per-prompt", 4, "--steps", 5, "--out", out, "--quiet")
    run = run_cli("forecast", *words, "--schedules", "constant:1", "--schedules", "constant:8", "--json")
    assert run.status == 0, run.err
    assert run.err == ""
    found = json.loads(run.out)
    assert found["recorded"] == ["constant:0", "constant:3", "step:early=3,late=0,switch=0.5,clock=step"]
    assert [one["trust"] for one in found["schedules"].values()] == ["between", "beyond"]
    assert found["calls"] == 3 * 2 * 4 * 5 * 2
    assert osc.read(out).numbers["schedules"] == found["schedules"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "constant:8" in page
    assert "beyond" in page

    some = [osc.parse_schedule(text) for text in ("constant:1", "step:early=3,late=0,switch=60%")]
    monkeypatch.setattr("orthoscope.forecasts.propose.candidates", lambda plan: some)
    file = tmp_path / "schedule.json"
    run = run_cli("design", "--from", out, "--variance-ratio", 0.2, "--out", file, "--json", "--quiet")
    assert run.status == 0, run.err
    proposed = json.loads(run.out)
    assert osc.parse_schedule(str(file)) == osc.parse_schedule(proposed["schedule"])
    assert shlex.split(proposed["audit_command"])[-1] == proposed["schedule"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--rate", 0.2), "--from has a pipeline and --rate is a law"),
        ((), "give --variance-ratio"),
        (("--variance-ratio", 0.9), "spec.json"),
    ],
)
def test_a_design_from_nothing_is_refused(
    run_cli: Run, tmp_path: Path, words: tuple[object, ...], message: str
) -> None:
    run = run_cli("design", "--from", tmp_path, *words)
    assert run.status == 2
    assert message in run.err
    assert run.err.count("\n") == 1
