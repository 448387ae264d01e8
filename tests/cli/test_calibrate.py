"""`orthoscope calibrate` through `main(argv)`."""

from __future__ import annotations

import html
import json
import os
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("diffusers")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from orthoscope import calibration as study
from orthoscope.datasets import read
from tests.conftest import Finished
from tests.integrations import pipelines

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
Run = Callable[..., Finished]
FILES = {"lock", "report.html", "calibrate.svg", "calibrate.png", "results.nc", "spec.json"}


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Stable Diffusion in a folder."""
    folder = tmp_path_factory.mktemp("model")
    pipelines.stable_diffusion(**pipelines.texts_of_letters()).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_a_text_model_is_calibrated_by_its_pair_beside_a_twin(run_cli: Run, tmp_path: Path, text_model: Path) -> None:
    prompts, data, out = tmp_path / "prompts.txt", tmp_path / "latents.npz", tmp_path / "run"
    prompts.write_text("a b c\n\nd e f\n")
    stream = np.random.Generator(np.random.Philox(key=1))
    np.savez(data, x=stream.standard_normal((40, 4, 8, 8)), labels=np.arange(40) % 2)
    words = ("--model", text_model, "--prompts", prompts, "--data", data, "--images-per-prompt", 4, "--steps", 6)
    run = run_cli("calibrate", *words, "--strengths", 2, "--strengths", 5, "--out", out, "--json", "--quiet")
    assert run.status == 0, run.err
    assert run.err == ""
    found = json.loads(run.out)
    assert found["profile"] == "pair"
    assert found["prompts"] == 2
    assert set(found["pipeline"]["variance_ratio"]) == {"strength 2", "strength 5"}
    assert "paths" not in found["pipeline"]  # classes of texts cannot be counted
    pipeline, twin = (found[name]["information"]["value"] for name in ("pipeline", "twin"))
    assert pipeline > 0
    assert twin > 0
    assert all(spec.startswith(("step:early=5,", "tabulated:", "step:early=0,late=5,")) for spec in found["proposals"])
    asked = shlex.split(found["audit_command"])[1:]
    assert asked[0] == "audit"
    assert asked[asked.index("--model") + 1] == str(text_model)
    assert asked[asked.index("--prompts") + 1] == str(prompts)
    assert {path.name for path in out.iterdir()} == FILES
    stored = read(out / "results.nc")
    assert stored["prompt"].values.tolist() == ["a b c", "d e f"]
    assert stored.sizes["level"] == 6
    page = (out / "report.html").read_text()
    assert "take the low end as a bound" in page
    assert f"orthoscope calibrate --model {text_model}" in page
    assert html.escape(found["audit_command"]) in page.replace("&#39;", "&#x27;")
    assert json.loads((out / "spec.json").read_text())["strengths"] == [2, 5]


@pytest.mark.slow
def test_people_read_a_table_and_the_command_to_go_on_with(
    run_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = study.calibrate
    monkeypatch.setattr(
        study, "calibrate", lambda asked, *where, **how: run(replace(asked, path_steps=4), *where, **how)
    )
    points = np.random.Generator(np.random.Philox(key=2)).uniform(-1, 1, (60, 8, 8))
    np.savez(tmp_path / "data.npz", x=points, labels=np.arange(60) % 10)
    words = ("--data", tmp_path / "data.npz", "--images-per-prompt", 3, "--steps", 4, "--strengths", 2)
    shown = run_cli("calibrate", *words, "--out", tmp_path / "run")
    assert shown.status == 0, shown.err
    for text in ("pipeline: windows act at variance times", "twin: side", "excess of the pair", "report"):
        assert text in shown.out
    line = "orthoscope audit --steps 4 --schedules constant:0 --schedules constant:2 --schedules step:early=0,late=2,"
    assert line in shown.err
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Along reverse paths the pair tells" in page
    assert "step:early=2,<wbr>late=-0.5" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--images-per-prompt", 2), "at least 3"),
        (("--strengths", 0), "above 0"),
        (("--steps", 2), "steps must be at least 4"),
        (("--prompts", "absent.txt"), "no such file"),
        (("--data", "absent.npz"), "no such file"),
        (("--model", "absent/folder/here"), "absent/folder/here"),
        (("--out", __file__), "cannot write"),
        (("--prompts", Path(__file__).parents[2] / "LICENSE"), "knows the classes 0 to 9"),
    ],
)
def test_unusable_input_is_one_line(run_cli: Run, tmp_path: Path, arguments: tuple[object, ...], message: str) -> None:
    run = run_cli("calibrate", "--out", tmp_path, *arguments)
    assert run.status == 2
    assert run.out == ""
    assert len(run.err.splitlines()) == 1, run.err
    assert message in run.err
