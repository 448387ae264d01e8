"""`orthoscope train` through `main(argv)`."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from orthoscope.datasets import read
from orthoscope.experiments import train as study
from orthoscope.integrations.shipped import read_class_pipeline
from tests.conftest import Finished

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
Run = Callable[..., Finished]


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Examine few images."""
    few = partial(study.ModelTraining, samples=8, strengths=(1.0,), sampler_steps=2)
    monkeypatch.setattr(study, "ModelTraining", few)


@pytest.mark.slow
def test_it_leaves_weights_log_and_sheet_and_resumes(run_cli: Run, tmp_path: Path) -> None:
    run = run_cli("train", "digits", "--steps", 2, "--seed", 5, "--out", tmp_path, "--json", "--quiet")
    assert run.status == 0, run.err
    assert run.err == ""
    found = json.loads(run.out)
    assert found["updates"] == 2
    assert 0.5 < found["held_out_loss"] < 2.0  # untrained: the size of the data and the noise
    assert found["judge_accuracy"] > 0.95
    assert set(found["strength 1"]) == {"class_share", "variance_ratio", "novelty"}
    assert read_class_pipeline(found["weights"]).null_label == 10
    assert {path.name for path in tmp_path.iterdir()} == {
        "lock", "digits.safetensors", "checkpoint.safetensors", "training.nc",
        "loss.svg", "loss.png", "sheet.svg", "sheet.png",
    }  # fmt: skip
    assert dict(read(tmp_path / "training.nc").sizes)["sample"] == 8
    before = (tmp_path / "digits.safetensors").read_bytes()
    again = run_cli("train", "digits", "--steps", 2, "--seed", 5, "--out", tmp_path, "--resume", "--json", "--quiet")
    assert again.status == 0, again.err
    assert (tmp_path / "digits.safetensors").read_bytes() == before
    other = run_cli("train", "digits", "--steps", 3, "--seed", 5, "--out", tmp_path, "--resume")
    assert other.status == 2
    assert "steps was 2, now 3" in other.err


def test_ctrl_c_says_how_to_go_on(run_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "train", interrupted)
    stopped = run_cli("train", "digits", "--out", tmp_path)
    assert stopped.status == 130
    assert f"the same command with --resume goes on from {tmp_path}" in stopped.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--steps", 0), "steps must be at least 1"),
        (("--out", __file__), "cannot write"),
        (("--resume",), "nothing to resume"),
    ],
)
def test_unusable_input_is_one_line(run_cli: Run, tmp_path: Path, arguments: tuple[object, ...], message: str) -> None:
    run = run_cli("train", "digits", "--out", tmp_path, *arguments)
    assert run.status == 2
    assert run.out == ""
    assert len(run.err.splitlines()) == 1
    assert message in run.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--classes", 1], "--classes must be at least 2"),
        (["--learning-rate", -1], "--learning-rate must be finite and > 0"),
        ([], "results.nc"),
    ],
    ids=["classes", "rate", "another's folder"],
)
def test_no_mixture_is_learned_that_could_not_be_kept(
    run_cli: Run, tmp_path: Path, arguments: list[object], message: str
) -> None:
    """Said before the first update: the default has thousands."""
    (tmp_path / "results.nc").write_text("of somebody else")
    run = run_cli("train", "mixture", "--out", tmp_path, "--quiet", *arguments)
    assert run.status == 2
    assert message in run.err
    assert run.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["results.nc"]
