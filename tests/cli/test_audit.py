"""`orthoscope audit` through `main(argv)`."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from orthoscope.audits.plan import Audit
from orthoscope.audits.presets import planned, preset_settings
from orthoscope.audits.result import AuditResult
from orthoscope.audits.run import Job
from orthoscope.errors import ConfigError
from orthoscope.guidance.grammar import parse_schedule
from orthoscope.guidance.rules import Rescaled
from orthoscope.guidance.schedules import Constant
from orthoscope.integrations.source import Source
from orthoscope.progress import LOG, Progress
from orthoscope.report import audit as report
from tests.conftest import Finished
from tests.report.audits import ROLES, WINDOW, audited

os.environ.setdefault("HF_HUB_OFFLINE", "1")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
Run = Callable[..., Finished]
SMALL = {spec: ROLES[spec] for spec in ("constant:0", "constant:3", WINDOW)}


@dataclass
class Asked:
    """What was asked for: the job, and the command that its page shows."""

    job: Job
    command: str = ""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """Jobs that were run; nothing is generated."""
    calls: list[Asked] = []

    def run(self: Job, out: Path, *, progress: Progress) -> AuditResult:
        calls.append(Asked(self))
        LOG.warning("a remark")
        progress(1, 2)
        is_stopped = self.plan.seed == 9
        bare = audited(roles=SMALL, stopped={"constant:9": "images are not finite"} if is_stopped else None)
        return AuditResult(pipeline=bare)

    def write_report(result: AuditResult, out: Path, *, command: str) -> Path:
        calls[-1].command = command
        return out / "report.html"

    monkeypatch.setattr(Job, "run", run)
    monkeypatch.setattr(report, "write_report", write_report)
    return calls


# Values of options


def test_a_list_option_needs_a_value(run_cli: Run) -> None:
    run = run_cli("audit", "--quick", "--schedules")
    assert run.status == 2
    assert run.err.strip() == "error: Option '--schedules' requires an argument."


def test_schedules_are_repeated(run_cli: Run, tmp_path: Path, asked: list[Asked]) -> None:
    specs = ("constant:0", "constant:6.5", "step:early=6.5,late=-1,switch=60%")
    words = [word for spec in specs for word in ("--schedules", spec)]
    assert run_cli("audit", *words, "--out", tmp_path, "--json", "--quiet").status == 0
    assert asked[0].job.plan == Audit(schedules=tuple(map(parse_schedule, specs)))
    assert asked[0].command == f"orthoscope audit {shlex.join(words)} --out {tmp_path} --json --quiet"


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("audit", "--schedules", "constant:0", "constant:1"), "--schedules"),
        (("audit", "--schedules=constant:0", "constant:1", "--seed", 1), "--schedules"),
        (("calibrate", "--strengths", 1, 3, "--quiet"), "--strengths"),
        (("claims", "--quick", "--only", "boundary", "condensation"), "--only"),
    ],
)
def test_further_values_after_one_option_are_refused_with_the_cure(
    run_cli: Run, arguments: tuple[object, ...], option: str
) -> None:
    run = run_cli(*arguments)
    assert run.status == 2
    (line,) = run.err.splitlines()
    assert line.startswith("error: Got unexpected extra argument")
    assert line.endswith(f"; for several values repeat the option: {option} A {option} B")


def test_every_option_reaches_the_plan(run_cli: Run, tmp_path: Path, asked: list[Asked]) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a cat\n\n# no prompt\na dog\n")
    settings = {
        "model": "some/model", "images_per_prompt": 7, "current": "constant:2", "rule": "rescale:phi=0.7", "steps": 9,
        "pipeline_scheduler": "DDIMScheduler", "features": "clip", "features_model": "some/clip",
        "classifier": "some/vit", "reference": "photos", "size": 64, "seed": 3,
    }  # fmt: skip
    words = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]
    how = ("--batch", 3, "--device", "cpu", "--dtype", "float16", "--allow-pickle", "--images", "--workers", 2)
    flags = ("--prompts", prompts, "--schedules", "constant:2", "--search", "--no-match", *how, "--out", tmp_path)
    run = run_cli("audit", *words, *flags)
    assert run.status == 0, run.err
    job = asked[0].job
    expected = {"prompts": ("a cat", "a dog"), "schedules": (Constant(value=2),), "search": True, "match": False}
    settings["scheduler"] = settings.pop("pipeline_scheduler")
    settings |= {"current": Constant(value=2), "rule": Rescaled(phi=0.7)}
    assert job.plan == Audit(**settings | expected)
    assert job.source == Source(
        model="some/model", scheduler="DDIMScheduler", device="cpu", dtype="float16", allow_pickle=True
    )
    assert (job.batch, job.images, job.executor.workers, job.executor.scheduler) == (3, True, 2, None)
    assert "a remark" in run.err
    assert run_cli("audit", "--scheduler", "tcp://host:8786", "--out", tmp_path, "--quiet").status == 0
    assert asked[1].job.executor.scheduler == "tcp://host:8786"


# What it prints


def test_json_is_all_there_is_on_output(run_cli: Run, tmp_path: Path, asked: list[Asked]) -> None:
    run = run_cli("audit", "--quick", "--out", tmp_path, "--json", "--quiet")
    assert run.status == 0
    assert run.err == ""
    found = json.loads(run.out)
    assert found.keys() == {
        "schedules", "recommendation", "knowledge", "twin", "stopped", "report", "results", "real", "distances_from",
    }  # fmt: skip
    assert found["schedules"][2]["variance_ratio"].keys() == {"value", "low", "high"}
    assert found["schedules"][0]["gain"] is None
    assert found["recommendation"]["schedule"] is None
    assert found["report"] == str(tmp_path / "report.html")
    assert asked[0].command == f"orthoscope audit --quick --out {tmp_path} --json --quiet"


def test_people_get_a_table_and_the_advice(run_cli: Run, tmp_path: Path, asked: list[Asked]) -> None:
    run = run_cli("audit", "--quick", "--out", tmp_path, "--quiet")
    lines = run.out.splitlines()
    assert any(line.startswith("variance kept") or "variance kept" in line for line in lines)
    row = next(k for k, line in enumerate(lines) if line.startswith("step:early=3,late=-1,"))
    assert "0.030" in lines[row]
    assert lines[row + 1].startswith("switch=60%")
    assert "[0.028" in lines[row + 1]
    assert max(map(len, lines[: row + 2])) <= 120
    assert "…" not in run.out
    assert "None does." in lines
    assert "- gain 0.03 [0.01, 0.05]" in lines
    assert "note: recall: too few images" in lines
    assert f"report: {tmp_path}/report.html" in lines


def test_a_narrow_terminal_gets_a_list_and_whole_words(
    run_cli: Run, tmp_path: Path, asked: list[Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    *lines, last = run_cli("audit", "--quick", "--out", tmp_path, "--quiet").out.splitlines()
    assert max(map(len, lines)) <= 80
    assert last == f"report: {tmp_path}/report.html"  # a path stays whole
    assert any("gain at equal mean shift" in line and "0.0300 [0.0284, 0.0316]" in line for line in lines)


def test_a_place_that_cannot_be_written_is_found_before_anything_is_made(
    run_cli: Run, tmp_path: Path, asked: list[Asked]
) -> None:
    (tmp_path / "report.html").mkdir()
    run = run_cli("audit", "--quick", "--out", tmp_path, "--quiet")
    assert (run.status, asked) == (2, [])
    assert "report.html" in run.err


def test_a_stopped_schedule_is_told_and_fails(run_cli: Run, tmp_path: Path, asked: list[Asked]) -> None:
    run = run_cli("audit", "--seed", 9, "--out", tmp_path, "--json", "--quiet")
    assert run.status == 1
    assert json.loads(run.out)["stopped"] == {"constant:9": "images are not finite"}
    assert run.err.strip() == "stopped: constant:9: images are not finite"


def test_ctrl_c_says_how_to_go_on(run_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Job, "run", interrupted)
    run = run_cli("audit", "--out", tmp_path)
    assert run.status == 130
    assert f"the same command goes on from {tmp_path}" in run.err


# Presets


def test_a_preset_is_an_audit_whose_every_setting_can_be_replaced() -> None:
    settings = preset_settings("ventura", model="some/model")
    assert len(set(settings["prompts"])) == 50
    given = {"model": "some/model", "images_per_prompt": 2, "steps": 4}
    plan = planned(given, preset="ventura")
    assert plan == Audit(**settings | given)
    assert plan.schedules[:2] == (Constant(value=0), Constant(value=6.5))
    assert planned(given, quick=True) == Audit.quick(**given)


def test_a_preset_of_texts_needs_a_pipeline_of_texts() -> None:
    with pytest.raises(ConfigError, match="give `model`"):
        preset_settings("ventura", model=None)


# Unusable input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--shcedules", "constant:3"), "--schedules"),
        (("--schedules", "constnat:3"), "did you mean 'constant'"),
        (("--schedules", "constant:3", "--schedules", "constant:3.0"), "'constant:3' is given twice"),
        (("--schedules",), "--schedules"),
        (("constant:3",), "constant:3"),
        (("--images-per-prompt", 1), "at least 2"),
        (("--features", "clop"), "clop"),
        (("--features-model", "some/clip"), "latent"),
        (("--rule", "cgf"), "did you mean 'cfg'"),
        (("--current", "constant:x"), "must be a number"),
        (("--prompts", "nowhere.txt"), "no such file"),
        (("--preset", "ventura"), "give --model"),
        (("--preset", "ventura", "--quick", "--model", "some/model"), "either --preset or --quick"),
        (("--preset", "venture", "--model", "some/model"), "venture"),
        (("--out", __file__), "cannot write"),
        (("--workers", 0), "must be at least 1, got 0"),
        (("--workers", 2, "--scheduler", "tcp://host:8786"), "leave out --workers 2"),
        (("--scheduler", "DDIMScheduler"), "the scheduler of the pipeline is --pipeline-scheduler"),
    ],
)
def test_unusable_input_is_one_line(
    run_cli: Run, tmp_path: Path, arguments: tuple[object, ...], message: str, unchecked: None
) -> None:
    run = run_cli("audit", "--out", tmp_path / "run", *arguments)
    assert run.status == 2
    assert message in run.err
    assert len(run.err.strip().splitlines()) == 1
    assert run.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "some/where/else"), "some/where/else"),
        (("--features", "clip"), "clip"),
        (("--prompts", "PROMPTS"), "a cat"),
    ],
)
def test_what_the_pipeline_cannot_do_is_one_line(
    run_cli: Run, tmp_path: Path, arguments: tuple[str, ...], message: str, unchecked: None
) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a cat\n")
    words = [str(prompts) if word == "PROMPTS" else word for word in arguments]
    run = run_cli("audit", "--quick", "--steps", 2, "--out", tmp_path / "run", "--quiet", *words)
    assert run.status == 2, run.err
    assert message in run.err
    assert len(run.err.strip().splitlines()) == 1


# The real thing, small


@pytest.mark.slow
def test_the_model_that_ships_is_audited_beside_its_twin(
    run_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "save_figure", lambda figure, path: None)  # the page has them, too
    prompts = tmp_path / "few.txt"
    prompts.write_text("3\n8\n")
    few = ("--prompts", prompts, "--images-per-prompt", 4, "--steps", 4)
    run = run_cli("audit", "--quick", *few, "--out", tmp_path, "--json", "--quiet")
    assert run.status == 0, run.err
    found = json.loads(run.out)
    assert [entry["role"] for entry in found["schedules"]] == ["reference", "constant", *["window"] * 3]
    plain, strong = found["schedules"][:2]
    assert plain["variance_ratio"]["value"] == 1.0
    assert strong["network_calls"] == found["twin"][1]["network_calls"] == 2 * 4 * 4 * 2  # images, steps, the pair
    assert {"results.nc", "spec.json", "report.html"} <= {path.name for path in tmp_path.iterdir()}
    assert f"--out {tmp_path} --json --quiet</pre>" in Path(found["report"]).read_text()


@pytest.mark.slow
def test_the_preset_runs_on_a_pipeline_of_texts(run_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.integrations.pipelines import stable_diffusion, texts_of_letters

    monkeypatch.setattr(report, "write_report", lambda result, out, command: out / "report.html")
    stable_diffusion(**texts_of_letters()).save_pretrained(tmp_path / "tiny")
    prompts = tmp_path / "few.txt"
    prompts.write_text("a cat\na dog\n")
    words = ("--prompts", prompts, "--images-per-prompt", 2, "--steps", 4, "--no-match", "--size", 8)
    run = run_cli("audit", "--preset", "ventura", "--model", tmp_path / "tiny", *words, "--out", tmp_path, "--json")
    assert run.status == 0, run.err
    found = json.loads(run.out)
    assert [entry["spec"] for entry in found["schedules"]][:2] == ["constant:0", "constant:6.5"]
    assert [entry["role"] for entry in found["schedules"]][2:] == ["window"] * 3
    assert json.loads((tmp_path / "spec.json").read_text())["audit"]["scheduler"] == "EulerAncestralDiscreteScheduler"
