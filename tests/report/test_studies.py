"""Every study has an entry, and its run folder the layout of every other."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import xarray as xr

from orthoscope.cli.main import main
from orthoscope.datasets import Study
from orthoscope.errors import ConfigError
from orthoscope.experiments import registry
from orthoscope.experiments.paths import PathStudy
from orthoscope.experiments.registry import STUDIES, Entry
from orthoscope.report.studies import run_study

SMALL = {"dim": 8, "draws": 2, "samples": 16, "steps": 4, "strengths": (0.0, 1.0)}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The study of paths made small; how often it was run."""
    runs: list[int] = []
    run = PathStudy.run
    monkeypatch.setattr(PathStudy, "run", lambda self, progress=None: runs.append(self.seed) or run(self, progress))
    make = Entry.make
    monkeypatch.setattr(Entry, "make", lambda self, **how: replace(make(self, **how), **SMALL))
    return runs


@pytest.mark.parametrize("name", STUDIES)
def test_every_entry_leads_to_a_study_and_its_figure(name: str) -> None:
    entry = STUDIES[name]
    study = entry.make(seed=3)
    assert isinstance(study, Study)
    assert study.seed == 3
    assert study.name in (name, name.replace("-", "_"), name.replace("-", " "))
    assert callable(registry._load("plots", entry.figure))
    assert entry.question.endswith("?")
    if entry.quick_minutes is not None:
        assert entry.minutes is None or entry.quick_minutes < entry.minutes
        assert entry.make(quick=True) != entry.make()


def test_a_run_folder_has_everything_and_can_be_resumed(tmp_path: Path, small: list[int]) -> None:
    run_study("paths", out=tmp_path, seed=2)
    assert {path.name for path in tmp_path.iterdir()} == {"results.nc", "spec.json", "report.html", "figures", "lock"}
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
    assert main(["study"]) == 2
    assert "--list says what they answer" in capsys.readouterr().err
