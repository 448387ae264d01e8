"""Pipelines from Python: opened, guided, audited and calibrated, with the model that ships and a tiny one of texts."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

pytest.importorskip("diffusers")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import orthoscope as osc
from orthoscope.datasets import groups
from orthoscope.errors import ConfigError
from orthoscope.face.reports import AuditReport, CalibrationReport
from orthoscope.integrations.shipped import DIGITS
from orthoscope.integrations.source import Source
from orthoscope.reading import read_json
from orthoscope.report.audit_table import audit_tables
from orthoscope.report.tables import as_text
from tests.integrations import pipelines
from tests.report.audits import ROLES, audited

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
WINDOW = "step:early=2,late=-1,switch=0.5,clock=step"
TURNING = osc.Step(early=3, late=-1, switch=0.6, clock="step")
SMALL: dict[str, Any] = {"images_per_prompt": 4, "steps": 4, "search": False, "match": False}
TEXTS: dict[str, Any] = {"schedules": [2], "images_per_prompt": 4, "steps": 2, "size": 8, "match": False}
SHORT: dict[str, Any] = {"images_per_prompt": 4, "steps": 4, "path_steps": 4, "strengths": 2}


@pytest.fixture(scope="module")
def digits() -> Any:
    return osc.pipeline("digits")


@pytest.fixture(scope="module")
def tiny() -> Any:
    return pipelines.stable_diffusion(**pipelines.texts_of_letters())


@pytest.fixture(scope="module")
def told() -> list[tuple[int, int, str]]:
    return []


@pytest.fixture(scope="module")
def report(digits: Any, told: list[tuple[int, int, str]]) -> AuditReport:
    return osc.audit(
        digits, [3, "5"], schedules=[2, WINDOW, TURNING], progress=lambda *step: told.append(step), **SMALL
    )


@pytest.fixture(scope="module")
def calibration(digits: Any) -> CalibrationReport:
    return osc.calibrate(digits, np.array([3, 5]), **SHORT)


def same(one: xr.Dataset | None, other: xr.Dataset | None) -> None:
    """Equal to the last bit, but for what it cost and what it says of itself."""
    assert one is not None
    assert other is not None
    costs = [name for name in ("seconds", "memory") if name in one]
    xr.testing.assert_equal(one.drop_vars(costs), other.drop_vars(costs))


# Pipelines


def test_what_ships_is_a_pipeline_of_diffusers(digits: Any) -> None:
    from diffusers import DiffusionPipeline

    assert isinstance(digits, DiffusionPipeline)
    assert digits([3], num_inference_steps=2, latents=pipelines.draw(1, 1, 8, 8, seed=0)).images.shape == (1, 8, 8, 1)
    assert type(osc.pipeline(scheduler="DDIMScheduler").scheduler).__name__ == "DDIMScheduler"


def test_a_pipeline_that_is_lent_stays_as_it_is(tiny: Any) -> None:
    own = tiny.scheduler
    tiny.set_progress_bar_config(disable=False)
    again = osc.pipeline(tiny, scheduler="DDIMScheduler")
    osc.audit(tiny, ["a cat", "a dog"], pipeline_scheduler="DDIMScheduler", **TEXTS)
    assert tiny.scheduler is own
    assert tiny.config["scheduler"] == ("diffusers", type(own).__name__)
    assert type(again.scheduler).__name__ == "DDIMScheduler"
    assert again.unet is tiny.unet
    assert tiny._progress_bar_config == {"disable": False}


# Guided


def test_a_number_a_text_and_objects_guide_alike(digits: Any) -> None:
    given = [(1.5, None), ("constant:1.5", "cfg"), (osc.Constant(value=1.5), osc.LinearCFG())]
    found = []
    for schedule, rule in given:
        with osc.guided(digits, schedule, rule) as log:
            digits([3], num_inference_steps=4, guidance_scale=2, latents=pipelines.draw(1, 1, 8, 8, seed=0))
        found.append(log.dataset)
    xr.testing.assert_identical(found[0], found[1])
    xr.testing.assert_identical(found[0], found[2])
    assert found[0]["strength"].values.tolist() == [1.5] * 4


def test_a_log_is_a_short_table(digits: Any) -> None:
    with osc.guided(digits, "step:early=3,late=-1,switch=50%", "rescale") as log:
        assert repr(log).endswith("nothing ran yet")
        for steps in (4, 6):
            digits([3, 5], num_inference_steps=steps, guidance_scale=2, latents=pipelines.draw(2, 1, 8, 8, seed=0))
    title, head, first, second = str(log).splitlines()
    assert title == (
        "step:early=3,late=-1,switch=0.5,clock=step with rule rescale: ClassPipeline, DPMSolverMultistepScheduler"
    )
    assert head.split("  ")[0] == "run"
    early, late = (float(half.mean()) for half in np.split(log.datasets[0]["pair_distance"].values, 2))
    assert first.split() == ["1", "4", "1", f"{early:.3g}", f"{late:.3g}", "8"]  # 3 and -1 in equal parts
    assert second.split()[:3] == ["2", "6", "1"]
    assert max(map(len, (head, first, second))) <= 100
    assert log._repr_html_().startswith("<pre>step:")


# Audits


def test_an_audit_reads_as_other_results_do(report: AuditReport) -> None:
    ratio = report["variance_ratio"]
    assert ratio.dims == ("schedule",)
    assert ratio["schedule"].values.tolist() == ["constant:0", "constant:2", WINDOW, osc.format_schedule(TURNING)]
    assert float(ratio[0]) == 1.0
    assert "class_posterior" in list(report)
    assert report.advice["current"] == "constant:2"
    assert report.twin is not None
    assert report.search is None
    assert json.loads(report.to_json())["recommendation"]["text"] == report.advice["text"]
    assert isinstance(report.plot(), Figure)
    assert report.remarks == ("constant:0 is added: diversity and mean shift are relative to strength 0",)
    with pytest.raises(ConfigError, match="did you mean 'variance_ratio'"):
        report["variance_ration"]


def test_progress_is_told_to_the_end(report: AuditReport, told: list[tuple[int, int, str]]) -> None:
    assert told[-1] == (2 * 4 * 2 * 4, 2 * 4 * 2 * 4, "images")  # pipeline and twin, schedules, prompts, images


def test_an_audit_prints_as_a_short_table(report: AuditReport) -> None:
    title, head, *rows = str(report).splitlines()
    assert title == "audit of digits"
    assert head.split("  ")[0] == "schedule"
    assert "variance ratio" in head
    assert "class posterior" in head
    low, high = (float(report[f"variance_ratio_{end}"][1]) for end in ("low", "high"))
    assert f"[{low:.2f}, {high:.2f}]" in rows[1]
    (known,) = report.numbers["knowledge"]["text"]  # so few images that asking would be too much of the work
    assert report.advice["text"] in rows
    assert " ".join(rows).endswith(known)
    assert report._repr_html_().startswith("<pre>audit of digits")


@pytest.mark.parametrize("count", [1, 11, 40])
def test_a_table_is_never_more_than_a_screen(count: int) -> None:
    windows = {f"tabulated:at={'/'.join(map(str, range(1, 60)))},strengths={k}": "window" for k in range(count)}
    stopped = {f"constant:{k}": "not finite " * 30 for k in range(5)}
    found = audited(roles=ROLES | windows, stopped=stopped)
    found.attrs["recommendation"] = json.dumps({"text": "word " * 400, "schedule": list(windows)[-1]})
    found.attrs["knowledge"] = json.dumps({"text": ["known " * 20, "implied " * 10]})
    lines = as_text(audit_tables(found), "audit of digits", width=AuditReport.width).splitlines()
    assert len(lines) <= 25
    assert max(map(len, lines)) <= 100
    for spec in ("constant:0", found.attrs["current"], list(ROLES)[1]):
        assert any(line.split("  ")[0] == spec for line in lines)
    assert sum(line.startswith("tabulated") for line in lines) == min(count, 5)


def test_a_saved_audit_is_the_folder_of_the_command(
    report: AuditReport, tmp_path: Path, run_cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, unchecked: None
) -> None:
    monkeypatch.setattr("orthoscope.report.audit.save_figure", lambda figure, path: None)  # the page has them, too
    prompts, out = tmp_path / "prompts.txt", tmp_path / "run"
    prompts.write_text("3\n5\n")
    assert report.save(out) == out
    assert {"results.nc", "spec.json", "report.html", "cells", "twin", "lock"} == {path.name for path in out.iterdir()}
    assert sorted(groups(out / "results.nc")) == ["pipeline", "twin"]
    spec, numbers = read_json(out / "spec.json"), json.loads(report.to_json())
    page = (out / "report.html").read_text()
    assert "orthoscope.audit(&#39;digits&#39;, prompts, schedules=" in page
    monkeypatch.setattr("orthoscope.report.audit.write_report", lambda result, out, command: None)
    made = {path: path.stat().st_mtime_ns for path in out.rglob("cells/*")}
    schedules = [word for spec in spec["audit"]["schedules"] for word in ("--schedules", spec)]
    few = ("--images-per-prompt", 4, "--steps", 4, "--no-search", "--no-match", "--prompts", prompts)
    run = run_cli("audit", *schedules, *few, "--current", "constant:2", "--out", out, "--json", "--quiet")
    assert run.status == 0, run.err
    found = json.loads(run.out)
    assert {name: found[name] for name in numbers} == numbers  # costs included: nothing was made again
    assert {path: path.stat().st_mtime_ns for path in out.rglob("cells/*")} == made
    assert read_json(out / "spec.json")["audit"] | {"current": None} == spec["audit"] | {"current": None}
    with pytest.raises(ConfigError, match="belongs to `orthoscope audit`"):
        osc.calibrate("digits", [3, 5], **SHORT).save(out)


def test_cells_stay_in_a_folder_that_is_named(digits: Any, tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    first = osc.audit(digits, [3], schedules=3, out=tmp_path, quick=True, images_per_prompt=2, steps=2)
    again = osc.audit(
        digits, [3], schedules=3, out=str(tmp_path), quick=True, images_per_prompt=2, steps=2,
        progress=lambda *step: told.append(step),
    )  # fmt: skip
    xr.testing.assert_identical(again.data, first.data)
    assert told == []
    assert (tmp_path / "results.nc").exists()


def test_a_folder_that_nobody_named_goes_with_its_report(digits: Any) -> None:
    found = osc.audit(digits, [3], schedules=3, quick=True, images_per_prompt=2, steps=2)
    folder = found._made
    assert folder is not None
    assert (folder / "cells").is_dir()
    del found
    gc.collect()
    assert not folder.exists()


def test_a_loaded_pipeline_gives_the_numbers_of_its_folder(tiny: Any, tmp_path: Path) -> None:
    tiny.save_pretrained(tmp_path / "tiny")
    asked = ["a cat", "a dog"]
    loaded = osc.audit(tiny, asked, rule="rescale:phi=0.7", **TEXTS)
    opened = osc.audit(tmp_path / "tiny", asked, rule=osc.parse_rule("rescale:phi=0.7"), **TEXTS)
    same(loaded.data, opened.data)
    assert loaded.twin is None
    assert loaded.data.attrs["model"] == "StableDiffusionPipeline"
    assert Source.of(osc.pipeline(tmp_path / "tiny")).name == opened.data.attrs["model"] == str(tmp_path / "tiny")
    short = {"images_per_prompt": 4, "steps": 4}
    same(osc.calibrate(tiny, asked, **short).data, osc.calibrate(str(tmp_path / "tiny"), asked, **short).data)


def test_the_model_that_ships_is_the_same_however_it_is_named(digits: Any, report: AuditReport) -> None:
    found = osc.audit("digits", ["3", "5"], schedules=(2.0, WINDOW, TURNING), **SMALL)
    same(found.data, report.data)
    same(found.twin, report.twin)
    assert Source.of(None) == Source.of("digits") == Source()
    named = {Source.of(pipe).name for pipe in (digits, None, "digits", osc.pipeline(DIGITS.file))}
    assert named == {found.data.attrs["model"]} == {"digits"}


def read_again(made: AuditReport | CalibrationReport, out: Path) -> Any:
    """What a folder holds, which must say what was saved there; it is not rerun, in one line."""
    found = osc.read(out)
    assert type(found) is type(made)
    xr.testing.assert_identical(found.data, made.data)
    assert found.to_json() == made.to_json()
    assert repr(found) == repr(made)
    assert list(found) == list(made)
    xr.testing.assert_identical(found["variance_ratio"], made["variance_ratio"])
    with pytest.raises(ConfigError, match=r"which is not rerun: .*`orthoscope.read` reads it") as refused:
        osc.rerun(out)
    assert len(str(refused.value).splitlines()) == 1
    (out / "results.nc").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"has no results.nc.*, or a damaged one; .*`orthoscope (audit|calibrate)`"):
        osc.read(out)
    return found


def test_an_audit_is_read_from_its_folder(report: AuditReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orthoscope.report.audit.write_report", lambda result, out, command: None)
    found = read_again(report, report.save(tmp_path / "run"))
    assert found.advice == report.advice
    xr.testing.assert_identical(found.twin, report.twin)
    assert found.search is None
    found._copy(tmp_path / "moved")  # as `save` elsewhere takes along what was made
    names = [sorted(path.name for path in (tmp_path / run).rglob("cells/*")) for run in ("run", "moved")]
    assert names[0] == names[1] != []


# Calibrations


def test_a_calibration_reads_as_other_results_do(calibration: CalibrationReport, tmp_path: Path) -> None:
    assert calibration["variance_ratio"].dims == ("source", "strength")
    assert calibration.data["prompt"].values.tolist() == ["3", "5"]
    assert [osc.parse_schedule(spec) for spec in calibration.proposals]
    lines = str(calibration).splitlines()
    assert lines[0] == "calibration of digits"
    assert lines[1].split() == ["pipeline", "twin"]
    (told,) = (line.split() for line in lines if line.startswith("side"))
    assert told[1:] == calibration["side"].values.tolist()
    assert lines[-1] == calibration.proposals[-1]
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 100
    assert isinstance(calibration.plot(), Figure)
    out = calibration.save(tmp_path / "run")
    files = {"lock", "report.html", "calibrate.svg", "calibrate.png", "results.nc", "spec.json"}
    assert {path.name for path in out.iterdir()} == files
    page = (out / "report.html").read_text()
    assert "orthoscope.calibrate(&#39;digits&#39;, prompts, strengths=[2.0], steps=4)" in page
    assert json.loads(calibration.to_json())["audit_command"].startswith("orthoscope.audit(pipe, prompts, schedules=[")
    assert read_again(calibration, out).proposals == calibration.proposals


# What cannot be used


class Unknown:
    """No pipeline."""


def stranger() -> Any:
    from diffusers import DDPMPipeline

    parts = pipelines.digits()
    return DDPMPipeline(unet=parts.unet, scheduler=parts.scheduler)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda pipe: osc.audit(pipe, [3, 11], **SMALL), "digits knows the classes 0 to 9, got '11'"),
        (lambda pipe: osc.calibrate(pipe, ["three", 4]), "digits knows the classes 0 to 9, got 'three'"),
        (lambda pipe: osc.audit(pipe, [3.5]), "a prompt is a text, or the number of a class, got 3.5"),
        (lambda pipe: osc.audit(pipe, []), "`prompts` is empty"),
        (lambda pipe: osc.audit([pipe], [3]), "a pipeline is one of diffusers that is loaded, a folder, a hub id"),
        (lambda pipe: osc.calibrate(Unknown()), "a pipeline is one of diffusers that is loaded"),
        (
            lambda pipe: osc.audit(stranger(), [3]),
            "DDPMPipeline is not known here; expected one of ClassPipeline, DiTPipeline",
        ),
        (lambda pipe: osc.audit(pipe, schedules=[]), "`schedules` is empty; give at least one"),
        (lambda pipe: osc.audit(pipe, schedules=["constnat:3"]), "did you mean 'constant'"),
        (lambda pipe: osc.audit(pipe, schedules=[3, "constant:3"]), "'constant:3' is given twice"),
        (lambda pipe: osc.audit(pipe, schedules=[None]), "a `schedule` is a number"),
        (lambda pipe: osc.audit(pipe, rule="cgf"), "did you mean 'cfg'"),
        (lambda pipe: osc.audit(pipe, rule=3), "a `rule` is a text"),
        (lambda pipe: osc.guided(pipe, 3, "cgf").__enter__(), "did you mean 'cfg'"),
        (lambda pipe: osc.audit(pipe, workers=2), "other processes cannot open a pipeline that is loaded here"),
        (lambda pipe: osc.audit(pipe, scheduler="tcp://host:8786"), "other processes cannot open a pipeline"),
        (lambda pipe: osc.audit(pipe, scheduler="DDIMScheduler"), "the scheduler of the pipeline is `pipeline_sched"),
        (lambda pipe: osc.audit(pipe, dtype="float16"), "a pipeline that is loaded has its own dtype"),
        (lambda pipe: osc.audit(pipe, imags_per_prompt=3), "unknown setting 'imags_per_prompt'; did you mean 'images_"),
        (lambda pipe: osc.calibrate(pipe, schedules=[3]), "unknown setting 'schedules'"),
        (lambda pipe: osc.pipeline("no/such/folder/here"), "no such folder: no/such/folder/here"),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(
    digits: Any, call: Callable[[Any], object], said: str, unchecked: None
) -> None:
    with pytest.raises(ConfigError) as refused:
        call(digits)
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
