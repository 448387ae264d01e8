"""An audit from beginning to end on the model that ships, at few steps, and on a tiny pipeline of texts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image

from orthoscope.audits import studio as studio_of_audits
from orthoscope.audits.plan import Audit
from orthoscope.audits.result import AuditResult, about
from orthoscope.audits.run import Job, Session, executor_of
from orthoscope.audits.studio import Elsewhere, Recipe, Studio
from orthoscope.audits.yardstick import Yardstick
from orthoscope.datasets import groups, read
from orthoscope.errors import ConfigError, StoppedError
from orthoscope.guidance.schedules import Constant
from orthoscope.integrations import features, judge
from orthoscope.integrations.host import host_of
from orthoscope.integrations.source import Source
from orthoscope.reading import read_json
from tests.audits.cells import named, parsed
from tests.integrations import pipelines

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
WINDOW = "step:early=2,late=-1,switch=0.5,clock=step"
OVERFLOW = "constant:1e+38"
AUDIT = Audit(
    schedules=tuple(parsed(("constant:0", "constant:2", OVERFLOW, WINDOW))),
    prompts=("3", "5"),
    images_per_prompt=6,
    steps=4,
    search=False,
    match=True,
)


class Told:
    """What progress and remarks said."""

    def __init__(self) -> None:
        self.progress: list[tuple[int, int]] = []
        self.remarks: list[str] = []

    def advance(self, done: int, total: int) -> None:
        self.progress.append((done, total))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audit")


@pytest.fixture(scope="module")
def told() -> Told:
    return Told()


@pytest.fixture(scope="module")
def result(out: Path, told: Told) -> AuditResult:
    return Job(plan=AUDIT).run(out, progress=told.advance, remark=told.remarks.append)


def test_the_folder_says_what_was_done_and_found(result: AuditResult, out: Path) -> None:
    assert sorted(groups(out / "results.nc")) == ["pipeline", "twin"]
    stored = read(out / "results.nc", group="pipeline")
    assert stored is not None
    xr.testing.assert_identical(stored, result.pipeline)
    spec = read_json(out / "spec.json")
    assert spec["audit"]["schedules"] == [named(schedule) for schedule in AUDIT.schedules]
    assert spec["host"]["pipeline"] == "ClassPipeline"
    assert json.loads(result.pipeline.attrs["spec"]) == spec["audit"]


def test_a_schedule_that_is_stopped_leaves_the_rest(result: AuditResult, told: Told) -> None:
    assert result.stopped.keys() == {OVERFLOW}
    assert any(text.startswith(f"{OVERFLOW} is stopped") for text in told.remarks)
    assert OVERFLOW not in result.pipeline.schedule.values
    assert {"constant:0", "constant:2", WINDOW} <= set(result.pipeline.schedule.values)
    # It was the strongest constant strength, and the one to compare with by default.
    assert result.pipeline.attrs["current"] == "constant:2"
    assert f"constant:2 is compared with: {OVERFLOW} was stopped" in json.loads(result.pipeline.attrs["notes"])


def test_pipeline_and_twin_have_the_same_schedules(result: AuditResult) -> None:
    assert result.twin is not None
    common = set(result.pipeline.schedule.values)
    assert common == set(result.twin.schedule.values) - {OVERFLOW}
    assert result.twin.attrs["model"] != result.pipeline.attrs["model"]
    assert not np.allclose(result.twin.total_variance.values[0], result.pipeline.total_variance.values[0])


def test_cost_and_class_are_measured(result: AuditResult) -> None:
    found = result.pipeline.sel(schedule="constant:2")
    assert int(found.network_calls) == 2 * 4 * 6 * 2  # a pair, steps, images, prompts
    assert float(found.class_posterior) > 0.3
    assert result.pipeline.attrs["adherence"] == "class_posterior"
    assert result.pipeline.attrs["judge_accuracy"] > 0.95


def test_progress_ends_with_everything_done(result: AuditResult, told: Told) -> None:
    done = [one for one, _ in told.progress]
    assert done == sorted(done)
    assert told.progress[-1][0] == told.progress[-1][1]


@pytest.mark.slow
def test_the_same_command_finds_everything_made(
    result: AuditResult, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = Told()
    monkeypatch.setattr(AuditResult, "write", lambda self, path: None)
    found = Job(plan=AUDIT).run(out, progress=again.advance)
    assert len(again.progress) == 0  # but for what was stopped, which stops again before it counts
    xr.testing.assert_identical(found.pipeline, result.pipeline)


@pytest.mark.slow
def test_two_workers_find_the_same_numbers(tmp_path: Path) -> None:
    """Bit for bit: batches are of equal shape, and the digits are made on one thread everywhere."""
    audit = replace(AUDIT, images_per_prompt=4, steps=2, search=True)
    told = Told()
    alone = Job(plan=audit).run(tmp_path / "alone")
    job = Job(plan=audit, executor=executor_of(workers=2), images=True)
    together = job.run(tmp_path / "together", progress=told.advance)
    for name in ("pipeline", "twin", "search"):
        one, other = getattr(alone, name), getattr(together, name)
        dropped = [cost for cost in ("seconds", "memory") if cost in one]
        xr.testing.assert_identical(one.drop_vars(dropped), other.drop_vars(dropped))
    names = [sorted(path.name for path in (tmp_path / run / "cells").iterdir()) for run in ("alone", "together")]
    assert names[0] == names[1]
    assert told.progress[-1][0] == told.progress[-1][1]
    assert len(list((tmp_path / "together" / "images").rglob("*.png"))) == 4 * together.pipeline.sizes["schedule"] * 2


def test_a_worker_with_another_pipeline_is_refused(tmp_path: Path) -> None:
    recipe = Recipe(plan=AUDIT)
    studio = recipe.studio()
    assert Elsewhere(recipe=recipe, fingerprint=studio.fingerprint).studio().fingerprint == studio.fingerprint
    twin = Elsewhere(recipe=recipe, fingerprint=studio.twin.fingerprint, is_twin=True).studio()
    assert twin is Elsewhere(recipe=recipe, fingerprint=studio.twin.fingerprint, is_twin=True).studio()
    with pytest.raises(ConfigError, match="opened another pipeline than the one here"):
        Elsewhere(recipe=recipe, fingerprint=studio.twin.fingerprint).studio()


def test_workers_take_turns_over_accelerators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for number in range(5):
        monkeypatch.setattr(studio_of_audits, "turn", lambda number=number: number)
        assert Recipe(plan=AUDIT).here.device == f"cuda:{number % 2}"
        assert Recipe(plan=AUDIT, source=Source(device="cuda:1")).here.device == "cuda:1"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert Recipe(plan=AUDIT).here.device == "auto"


def test_a_pipeline_of_texts_has_no_twin_and_no_class(tmp_path: Path) -> None:
    host = host_of(pipelines.stable_diffusion(**pipelines.texts_of_letters()), "tiny")
    audit = Audit(
        model="tiny", prompts=("a cat", "a dog"), schedules=(Constant(value=2),), images_per_prompt=4, steps=2
    )
    plan = audit.completed(host)
    studio = Recipe(plan=plan).studio(host)
    found = Session(plan=plan, studio=studio, yardstick=Yardstick.of(plan, studio), out=tmp_path).run()
    assert found.twin is None
    assert found.search is None
    assert "class_posterior" not in found.pipeline
    assert list(found.pipeline.role.values) == ["reference", "constant"]


def test_many_prompts_fit_the_attributes_of_a_file(tmp_path: Path) -> None:
    host = host_of(pipelines.stable_diffusion(), "texts")
    studio = Studio(host=host, features=features.LatentFeatures())
    plan = Audit(prompts=tuple(f"{'a long prompt ' * 8}{n}" for n in range(300))).completed(host)
    long = about(plan, studio)
    AuditResult(pipeline=xr.Dataset(attrs=long)).write(tmp_path)
    stored = read(tmp_path / "results.nc", group="pipeline")
    assert stored is not None
    assert json.loads(stored.attrs["spec"])["prompts"] == "300 prompts, see spec.json"


def test_leave_to_read_pickles_reaches_every_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any, allow_pickle: bool, **how: Any) -> None:
        asked.append(allow_pickle)
        if len(asked) == 2:
            raise ConfigError("enough")

    asked: list[bool] = []
    monkeypatch.setattr(features, "features_of", refused)
    monkeypatch.setattr(judge, "judge_of", refused)
    with pytest.raises(ConfigError, match="enough"):
        Job(plan=AUDIT, source=Source(allow_pickle=True)).run(tmp_path)
    assert asked == [True, True]


def test_a_reference_that_is_stopped_stops_everything(tmp_path: Path) -> None:
    pipe = pipelines.digits()
    pipe.unet.conv_out.bias.fill_(float("nan"))
    host = host_of(pipe, "broken")
    plan = Audit(prompts=("3",), schedules=(Constant(value=1),), images_per_prompt=2, steps=2, search=False).completed(
        host
    )
    studio = Studio(host=host, features=features.PixelFeatures())
    with pytest.raises(StoppedError, match="constant:0, which everything is relative to: NaN or infinity"):
        Session(plan=plan, studio=studio, yardstick=Yardstick(), out=tmp_path).run()


@pytest.mark.parametrize(
    ("audit", "given", "said"),
    [
        (Audit(prompts=("11",)), {}, "classes 0 to 9"),
        (Audit(), {"batch": 0}, "at least 1, got 0"),
        (Audit(scheduler="EulerDiscretScheduler"), {}, "did you mean 'EulerDiscreteScheduler'"),
        (Audit(reference="no/such/folder", features="pixel"), {}, "no such folder"),
        (
            Audit(reference="REFERENCES", features="pixel", steps=2),
            {},
            "make 16 pixel features each, those of digits, 8",
        ),
        (Audit(reference="REFERENCES", features="pixel", prompts=("3",), images_per_prompt=4), {}, "schedule, got 4"),
        (Audit(reference="FEW", features="pixel"), {}, "at least 8 reference images, got 7"),
        (Audit(reference="REFERENCES"), {}, "no latents to compare with"),
    ],
)
def test_what_cannot_be_had_is_said_before_anything_is_made(
    audit: Audit, given: dict[str, Any], said: str, tmp_path: Path
) -> None:
    for name, number in (("REFERENCES", 9), ("FEW", 7)):
        (tmp_path / name).mkdir()
        for n in range(number):
            Image.new("RGB", (4, 4), (20 * n, 0, 0)).save(tmp_path / name / f"{n}.png")
    if audit.reference in ("REFERENCES", "FEW"):
        audit = replace(audit, reference=str(tmp_path / audit.reference))
    with pytest.raises(ConfigError, match=said):
        Job(plan=audit, source=Source(scheduler=audit.scheduler), **given).run(tmp_path / "out")
    assert not (tmp_path / "out").exists()
