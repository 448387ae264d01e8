"""Every study has an entry, and its run folder the layout of every other."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from orthoscope.cli.main import main
from orthoscope.datasets import read as read_dataset
from orthoscope.designs.optimization import Goal, SpectrumLaw
from orthoscope.designs.run import DesignProblem
from orthoscope.designs.study import DesignStudy
from orthoscope.errors import ConfigError
from orthoscope.experiments import registry
from orthoscope.experiments.gaussians import GaussianStudy
from orthoscope.experiments.paths import PathStudy
from orthoscope.experiments.planes import RateStrengthDiagram, WindowDiagram
from orthoscope.experiments.registry import STUDIES, Entry
from orthoscope.experiments.single import PredictionStudy, SimulationStudy
from orthoscope.experiments.two_class import TwoClass
from orthoscope.guidance.schedules import Constant, Step
from orthoscope.quantities import Estimate
from orthoscope.report.page import Section, render
from orthoscope.report.studies import FILES
from orthoscope.report.tables import Table, show
from orthoscope.results import read, rerun, run, run_study
from orthoscope.serialize import content_hash
from orthoscope.settings import Setting
from orthoscope.simulation.setting import Simulation
from orthoscope.sweeps.execute import Executor
from orthoscope.sweeps.points import HERE, Points, Study
from tests.conftest import needs_diffusers

SMALL = {"dim": 8, "draws": 2, "samples": 16, "steps": 4, "strengths": (0.0, 1.0)}
PATH = PathStudy._path
OF_PIPELINES = ("forecast", "glyphs")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The study of paths made small; how often it was run."""
    runs: list[int] = []
    run = PathStudy.run
    monkeypatch.setattr(PathStudy, "run", lambda self, points=HERE: runs.append(self.seed) or run(self, points))
    make = Entry.make
    monkeypatch.setattr(Entry, "make", lambda self, **how: replace(make(self, **how), **SMALL))
    return runs


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=needs_diffusers) if name in OF_PIPELINES else name for name in STUDIES]
)
def test_every_entry_leads_to_a_study_and_its_figure(name: str) -> None:
    entry = STUDIES[name]
    study = entry.make(seed=3)
    assert isinstance(study, Study)
    assert study.seed == 3
    assert study.name in (name, name.replace("-", "_"), name.replace("-", " "))
    assert callable(registry._load(f"plots.{entry.figure}"))
    assert entry.question.endswith("?")
    if entry.quick_minutes is not None:
        assert entry.minutes is None or entry.quick_minutes < entry.minutes
        assert entry.make(quick=True) != entry.make()


def test_a_run_folder_has_everything_and_can_be_resumed(tmp_path: Path, small: list[int]) -> None:
    run_study("paths", out=tmp_path, seed=2)
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, "lock"}
    page = (tmp_path / "report.html").read_text()
    assert "orthoscope study paths --seed 2" in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert json.loads((tmp_path / "spec.json").read_text())["seed"] == 2
    with xr.open_dataset(tmp_path / "results.nc", engine="h5netcdf") as stored:
        assert stored.sizes["strength"] == 2
    run_study("paths", out=tmp_path, seed=2, resume=True)
    assert small == [2]
    run_study("paths", out=tmp_path, seed=4, resume=True)
    assert small == [2, 4]


SIMULATED = SimulationStudy(
    simulation=Simulation.of(
        dim=8, rate=0.3, std=0.5, schedule=Step(early=2.0, late=-0.5, switch=1.0), t_max=10.0, samples=16, draws=2,
        steps=4,
    ),
    versus=(Constant(value=1.0),),
)  # fmt: skip
PLAIN = Setting.of(rate=0.7, std=0.5, schedule=Constant(value=0.0))
SINGLE = [
    PredictionStudy(setting=Setting.of(rate=0.3, std=0.5, schedule=Constant(value=1.0))),
    PredictionStudy(setting=Setting.of(classes=64, std=0.5, dim=16, schedule=Constant(value=1.0), t_max=20.0)),
    SIMULATED,
    GaussianStudy(cond_mean=0.0, cond_var=1.0, uncond_mean=0.0, uncond_var=2.0, schedule=Constant(value=2.0)),
    TwoClass(law="uniform", strength=2.0, samples=20, steps=10, sigma_end=0.1),
    RateStrengthDiagram(setting=PLAIN, rate=(0.1, 0.5), strength=(0.0, 1.0)),
    WindowDiagram(setting=PLAIN.but(t_max=10.0), w0=(-0.5, 0.0), slope=(0.0, 0.5)),
    DesignStudy(
        problem=DesignProblem(
            law=SpectrumLaw(cond_mean=[1.0], cond_var=[0.5], uncond_mean=[0.0], uncond_var=[2.0], t_max=50.0),
            goal=Goal(objective="mean_shift", variance_ratio=0.9, high=3.0),
            budget=None,
        )
    ),
]


@pytest.mark.parametrize("study", SINGLE, ids=lambda study: study.name)
def test_a_result_is_read_back_and_made_again_from_its_folder(study: Study, tmp_path: Path) -> None:
    made = run(study)
    made.save(tmp_path / "first")
    found = read(tmp_path / "first")
    assert content_hash(found.study) == content_hash(study)
    xr.testing.assert_identical(found.data, made.data)
    assert found.to_json() == made.to_json()
    assert repr(found) == repr(made)
    again = rerun(tmp_path / "first", out=tmp_path / "again")
    for name in set(made) - {"seconds"}:
        xr.testing.assert_equal(again.data[name], made.data[name])
    assert (tmp_path / "again" / "report.html").exists()


def test_quantities_of_a_result_are_estimates_numbers_texts_and_arrays() -> None:
    found = run(SIMULATED)
    measured = found["mean_shift"]
    assert isinstance(measured, Estimate)
    assert measured.as_numbers() == found.numbers["mean_shift"]
    assert found["overlap"].dims == ("time",)
    assert found["mean_shift_mean_field"] == found.numbers["theory"]["mean_field"]["mean_shift"]
    assert isinstance(found["diagnosis"], str)
    with pytest.raises(ConfigError, match="did you mean 'mean_shift'"):
        found["mean_shfit"]
    assert "mean shift" in repr(found)
    assert len(repr(found)) < 2000
    assert found._repr_html_().startswith("<pre>")


def test_a_folder_without_a_specification_cannot_be_run_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rerun", str(tmp_path)]) == 2
    assert "no such file" in capsys.readouterr().err
    (tmp_path / "spec.json").write_text('{"type": "Goal", "version": 1, "objective": "mean_shift"}')
    assert main(["rerun", str(tmp_path)]) == 2
    assert "no study" in capsys.readouterr().err
    (tmp_path / "spec.json").write_text('{"type": "PathStudie", "version": 1}')
    assert main(["rerun", str(tmp_path)]) == 2
    assert "PathStudy" in capsys.readouterr().err
    run(SINGLE[0]).save(tmp_path / "lost")
    (tmp_path / "lost" / "results.nc").write_bytes(b"")
    with pytest.raises(ConfigError, match="rerun"):
        read(tmp_path / "lost")


def counted(monkeypatch: pytest.MonkeyPatch, *, until: int = 99) -> list[float]:
    """Strengths of which a path is made; Ctrl-C is pressed once there are so many."""
    made: list[float] = []

    def count(self: PathStudy, w: float) -> Any:
        if len(made) == until:
            raise KeyboardInterrupt
        made.append(w)
        return PATH(self, w)

    count.__name__ = PATH.__name__  # a part of what a point is known by
    monkeypatch.setattr(PathStudy, "_path", count)
    return made


@pytest.mark.usefixtures("small")
def test_an_interrupted_study_goes_on(tmp_path: Path, run_cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run_study("paths", out=tmp_path / "whole")
    made = counted(monkeypatch, until=1)
    stopped = run_cli("study", "paths", "--out", tmp_path / "again")
    assert stopped.status == 130
    assert f"the same command with --resume goes on from {tmp_path / 'again'}" in stopped.err
    assert made == [0.0]
    made = counted(monkeypatch)
    assert run_cli("study", "paths", "--out", tmp_path / "again", "--resume").status == 0
    assert made == [1.0]
    one, other = (read_dataset(tmp_path / name / "results.nc") for name in ("whole", "again"))
    assert one is not None
    xr.testing.assert_identical(one, other)
    assert run_cli("study", "paths", "--out", tmp_path / "again").status == 0
    assert made == [1.0, 0.0, 1.0]  # all anew unless asked


@pytest.mark.slow
def test_two_workers_find_the_same_numbers() -> None:
    study = replace(PathStudy(), **SMALL)
    with Executor(workers=2) as executor:
        xr.testing.assert_identical(study.run(Points(executor=executor)), study.run())


def test_workers_that_cannot_be_had_are_refused(run_cli: Any, tmp_path: Path) -> None:
    for name in ("study paths", "demo"):
        refused = run_cli(*name.split(), "--workers", 0, "--out", tmp_path / "out")
        assert refused.status == 2
        assert "must be at least 1, got 0" in refused.err
    assert not (tmp_path / "out").exists()


def test_studies_are_listed_with_their_questions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "--list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out).keys() == STUDIES.keys()
    assert main(["study", "--list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in STUDIES)


def test_an_unknown_study_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="did you mean 'approach'"):
        registry.find("aproach")
    assert main(["study", "aproach"]) == 2
    assert "did you mean 'approach'" in capsys.readouterr().err


def test_tables_after_the_first_stand_below_their_own_lines() -> None:
    section = Section(
        name="two", title="Two", caption="first", command="", figures={}, head=("a", "b"), rows=[("1", "2")],
        others=[Table(head=("c", "d"), rows=[("3", "<4>")], lead=["second"])],
    )  # fmt: skip
    page = render(title="t", lead="l", cards=[], sections=[section], provenance="p")
    cells = re.findall(r"<(?:th|td|p)>(a|b|c|d|1|2|3|&lt;4&gt;|first|second)</", page)
    assert cells == ["first", "a", "b", "1", "2", "second", "c", "d", "3", "&lt;4&gt;"]


@pytest.mark.parametrize(
    ("value", "stderr", "text"), [(1.5, 0.25, "1.5 ± 0.25"), (1.5, math.nan, "1.5"), (math.nan, math.nan, "not known")]
)
def test_what_is_not_known_is_shown_in_words(value: float, stderr: float, text: str) -> None:
    assert show({"value": value, "stderr": stderr}) == text
