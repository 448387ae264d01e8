"""The demonstration in small: every section from study to page, through the data that figures and captions receive."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

from orthoscope.datasets import read, write
from orthoscope.experiments.digits import DigitsStudy
from orthoscope.experiments.paths import PathStudy
from orthoscope.experiments.shifts import DimStudy, RateStudy
from orthoscope.experiments.windows import WindowStudy
from orthoscope.plots.paths import path_figure
from orthoscope.quantities import Estimate
from orthoscope.report import demo as module
from orthoscope.report.demo import Demo
from orthoscope.report.sections import digits_verdict
from orthoscope.sweeps.points import Points
from tests.conftest import needs_diffusers

FEW: dict[str, Any] = {"samples": 16, "draws": 2, "steps": 6}
SMALL: dict[str, Any] = {
    "paths": partial(PathStudy, dim=6, strengths=(0.0, 1.0), **FEW),
    "rates": partial(
        RateStudy,
        strengths=(1.0,),
        rates=(0.4, 1.3),
        curve=(0.1, 1.4, 5),
        planted_dim=16,
        most_classes=32,
        trajectories=64,
    ),
    "dims": partial(DimStudy, dims=(8, 16), brute_dims=(8,), classes=8, trajectories=32, steps=4),
    "windows": partial(
        WindowStudy, w0=(-1.0, 0.5, 5), slope=(0.0, 1.2, 4), points=((-0.45, 0.65), (0.5, 0.0)), dim=4, **FEW
    ),
    "digits": partial(
        DigitsStudy,
        labels=(3, 8),
        strengths=(0.0, 1.0, 3.0),
        search_early=(3.0,),
        search_late=(-1.0,),
        search_switch=(4.0,),
        slopes=(0.1,),
        samples=16,
        search_samples=16,
        repeats=2,
        steps=4,
    ),
}
VERDICTS = [(0.1, "keeps more"), (0.03, "No window"), (0.0, "No window"), (-0.1, "No window")]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STUDIES", SMALL)


def run_all(job: Demo) -> list[float | None]:
    return [job.run(study) for study in job.studies()]


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_the_run_folder_is_complete_and_can_be_resumed(tmp_path: Path) -> None:
    names = tuple(SMALL)
    job = Demo(out=tmp_path, names=names, seed=3)
    assert all(seconds is not None for seconds in run_all(job))
    shown = job.finish()
    page = Path(shown["report"]).read_text()
    assert re.findall(r'<section id="(\w+)">', page) == list(names)
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # opens offline
    assert page.count("data:image/svg+xml;base64,") == 6
    for name in names:
        assert f"--section {name}" in page
        with xr.open_dataset(tmp_path / "results.nc", group=name, engine="h5netcdf") as stored:
            assert json.loads(stored.attrs["spec"])["seed"] == 3
    assert len(list((tmp_path / "figures").glob("*.svg"))) == len(list((tmp_path / "figures").glob("*.png"))) == 6
    assert json.loads((tmp_path / "spec.json").read_text())["studies"].keys() == set(names)

    again = Demo(out=tmp_path, names=names, seed=3, resume=True)
    assert run_all(again) == [None] * len(names)
    again.finish()
    assert Path(shown["report"]).read_text() == page

    other = Demo(out=tmp_path, names=("paths",), seed=4, resume=True)
    assert run_all(other) != [None]


@pytest.mark.usefixtures("small")
def test_finished_sections_stay_when_a_later_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Demo(out=tmp_path, names=("paths", "dims"))
    first, second = job.studies()
    job.run(first)
    monkeypatch.setattr(type(second), "run", lambda self, progress=None: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        job.run(second)
    again = Demo(out=tmp_path, names=("paths",), resume=True)
    assert run_all(again) == [None]


@needs_diffusers
def test_ctrl_c_says_how_to_go_on(run_cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Demo, "run", interrupted)
    stopped = run_cli("demo", "--out", tmp_path)
    assert stopped.status == 130
    assert f"the same command with --resume goes on from {tmp_path}" in stopped.err


@pytest.mark.usefixtures("small")
def test_a_section_goes_on_from_its_finished_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (study,) = Demo(out=tmp_path, names=("paths",)).studies()
    whole = study.run()
    study.run(Points().kept(tmp_path, anew=True))
    monkeypatch.setattr("orthoscope.experiments.paths.simulate", lambda simulation: 1 / 0)
    again = Demo(out=tmp_path, names=("paths",), resume=True)
    assert again.run(study) is not None
    stored = read(tmp_path / "results.nc", group="paths")
    assert stored is not None
    xr.testing.assert_equal(stored, whole)
    with pytest.raises(ZeroDivisionError):
        Demo(out=tmp_path, names=("paths",)).run(study)


def test_figures_show_the_data_and_leave_global_settings_alone() -> None:
    before = dict(mpl.rcParams)
    paths = SMALL["paths"]().run()
    figure = path_figure(paths)
    assert dict(mpl.rcParams) == before
    left = figure.axes[0]
    drawn = [line.get_ydata() for line in left.lines if len(line.get_xdata()) == paths.sizes["time"]]
    for w in paths["strength"].values:
        for name in ("overlap", "overlap_mean_field", "overlap_finite_dim"):
            assert any(np.array_equal(paths[name].sel(strength=w), values) for values in drawn)


@pytest.mark.parametrize(("gain", "says"), VERDICTS)
def test_the_verdict_on_windows_says_plainly_whether_one_helps(gain: float, says: str) -> None:
    """With 7 degrees of freedom a false alarm in 1,000 needs 5.4 standard errors, not 3.3."""
    digits = xr.Dataset({"class_share": (["schedule"], [0.97])}, coords={"schedule": ["step"]})
    verdict = digits_verdict({"step": Estimate(value=gain, stderr=0.01, n=8, dof=7)}, digits)
    assert says in verdict
    assert "97.0% of samples in their class" in verdict


@pytest.mark.slow
def test_one_section_leaves_the_others_in_the_folder(small: None, tmp_path: Path) -> None:
    for names in (("paths", "windows"), ("paths",)):
        job = Demo(out=tmp_path, names=names)
        run_all(job)
        page = Path(job.finish()["report"]).read_text()
    assert re.findall(r'<section id="(\w+)">', page) == ["paths", "windows"]
    assert json.loads((tmp_path / "spec.json").read_text())["studies"].keys() == {"paths", "windows"}


@pytest.mark.slow
def test_a_section_of_another_shape_replaces_the_old_one(tmp_path: Path) -> None:
    for strengths in ((0.0, 1.0), (0.0, 1.0, 2.0)):
        write(PathStudy(dim=6, strengths=strengths, **FEW).run(), tmp_path / "results.nc", group="paths")
    stored = read(tmp_path / "results.nc", group="paths")
    assert stored is not None
    assert stored.sizes["strength"] == 3
