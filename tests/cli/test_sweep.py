"""`orthoscope sweep`, and the verbs that run through the same machinery, through `main(argv)`."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from rich.console import Console

from orthoscope import theory
from orthoscope.experiments import planes
from orthoscope.guidance.schedules import Constant
from orthoscope.report import bars
from orthoscope.settings import Setting
from orthoscope.sweeps import run as sweep_run
from orthoscope.sweeps.store import read
from tests.conftest import Finished

Run = Callable[..., Finished]
DOCS = Path(__file__).parents[2] / "docs"
THEORY = '[study]\nsource = "theory"\n[axes]\nrate = [0.2, 0.3]\nstrength = [1, 2]\n[fixed]\nstd = 0.5\n'
SMALL = "[fixed]\nstd = 0.5\ndim = 8\nrate = 0.3\nsamples = 16\nsteps = 4\ndraws = 2\n"


@pytest.fixture
def study(tmp_path: Path) -> Callable[[str], Path]:
    """Write a study file."""

    def write(text: str) -> Path:
        path = tmp_path / "study.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_results_are_stored_and_reused(run_cli: Run, study: Callable[[str], Path], tmp_path: Path) -> None:
    file, out = study(THEORY), tmp_path / "out"
    first = run_cli("sweep", file, "--out", out, "--json", "--quiet")
    assert first.status == 0, first.err
    assert first.err == ""
    counts = json.loads(first.out)
    assert {name: counts[name] for name in ("cells", "computed", "reused", "failed")} == {
        "cells": 4, "computed": 4, "reused": 0, "failed": [],
    }  # fmt: skip
    expected = theory.predict(Setting.of(rate=0.3, std=0.5, schedule=Constant(value=2.0)))
    assert float(read(out)["mean_shift"].sel(rate=0.3, strength=2)) == expected.mean_shift
    again = json.loads(run_cli("sweep", study(THEORY.replace("[1, 2]", "[2, 1, 3]")), "--out", out, "--json").out)
    assert (again["computed"], again["reused"]) == (2, 4)


def test_every_mistake_is_a_line_with_the_file_s_name(run_cli: Run, study: Callable[[str], Path]) -> None:
    run = run_cli("sweep", study("[axes]\nrates = [0.1]\n" + SMALL + "strenght = 1\n"))
    assert run.status == 2
    assert run.out == ""
    assert run.err.splitlines() == [
        "study.toml:2: unknown axis 'rates'; did you mean 'rate'?",
        "study.toml:3: missing: strength or schedule, in [axes] or in [fixed]",
        "study.toml:10: unknown setting 'strenght'; did you mean 'strength'?",
    ]


def test_a_contradiction_is_refused_and_named(run_cli: Run, study: Callable[[str], Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_cli("sweep", study(THEORY), "--out", out)
    run = run_cli("sweep", study(THEORY.replace("0.5", "0.6")), "--out", out)
    assert run.status == 2
    assert re.search(r"std was 0\.5, now 0\.6", run.err)
    assert json.loads(run_cli("sweep", study(THEORY), "--out", out, "--json").out)["reused"] == 4


def test_a_failed_cell_is_told_and_the_others_are_stored(
    run_cli: Run, study: Callable[[str], Path], tmp_path: Path
) -> None:
    """A strength beyond what single precision holds makes the state diverge."""
    file = study(SMALL + 'grid = "geometric"\n[axes]\nstrength = [1, 3e38]\n[measure]\ntheory = false\n')
    run = run_cli("sweep", file, "--out", tmp_path / "out", "--json", "--quiet")
    assert run.status == 1
    (failed,) = json.loads(run.out)["failed"]
    assert failed["cell"] == {"strength": 3e38}
    assert "not finite" in failed["reason"]
    assert read(tmp_path / "out")["mean_shift"].notnull().values.tolist() == [True, False]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.toml",), "no such file: nowhere.toml; expected a study file"),
        ((DOCS / "howto/rates.toml", "--workers", 0), "at least 1"),
        ((DOCS / "howto/rates.toml", "--out", __file__), "cannot write"),
    ],
)
def test_unusable_input_is_one_line(run_cli: Run, arguments: tuple[object, ...], message: str) -> None:
    run = run_cli("sweep", *arguments)
    assert run.status == 2
    assert run.out == ""
    assert len(run.err.splitlines()) == 1
    assert message in run.err


@pytest.mark.slow
def test_the_study_file_of_the_docs_runs_to_its_precision(run_cli: Run, tmp_path: Path) -> None:
    run = run_cli("sweep", DOCS / "howto/rates.toml", "--out", tmp_path, "--json", "--quiet")
    assert run.status == 0, run.err
    found = read(tmp_path)
    assert dict(found.sizes) == {"rate": 2, "strength": 2}
    assert bool((found["mean_shift_stderr"] <= 0.015).all())
    assert bool((found["precision_met"] == 1).all())
    page = (DOCS / "howto/sweep.md").read_text(encoding="utf-8")
    shown = re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)[0]
    assert (DOCS / "howto/rates.toml").read_text(encoding="utf-8") == shown


def test_the_mistakes_that_the_docs_show_are_those_made(run_cli: Run, tmp_path: Path) -> None:
    page = (DOCS / "howto/sweep.md").read_text(encoding="utf-8")
    shown = re.findall(r"```text\n(rates\.toml:.*?)```", page, flags=re.DOTALL)[0]
    text = (DOCS / "howto/rates.toml").read_text(encoding="utf-8")
    for right, wrong in (
        ("strength = {", "strenght = {"),
        ("samples = 32", "samples = 4"),
        ('["mean_shift"', '["mean_shft"'),
    ):
        assert right in text
        text = text.replace(right, wrong)
    (tmp_path / "rates.toml").write_text(text, encoding="utf-8")
    assert run_cli("sweep", tmp_path / "rates.toml").err == shown


def test_ctrl_c_says_how_to_go_on(
    run_cli: Run, study: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep_run, "run_sweep", interrupted)
    stopped = run_cli("sweep", study(THEORY), "--out", tmp_path / "out")
    assert stopped.status == 130
    assert f"the same command goes on from {tmp_path / 'out'}" in stopped.err


@pytest.mark.slow
def test_a_study_has_the_same_bits_with_two_workers(run_cli: Run, study: Callable[[str], Path], tmp_path: Path) -> None:
    file = study(SMALL + "[axes]\nstrength = [0, 1, 2]\nplanted = [false, true]\n")
    for workers in (1, 2):
        assert run_cli("sweep", file, "--out", tmp_path / str(workers), "--workers", workers).status == 0
    one, two = ({path.relative_to(tmp_path / n): path.read_bytes() for path in (tmp_path / n).rglob("c/*/*/*/*")}
                for n in ("1", "2"))  # fmt: skip
    assert len(one) == 6
    assert one == two


def test_a_dry_run_computes_and_writes_nothing(run_cli: Run, study: Callable[[str], Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = json.loads(run_cli("sweep", study(THEORY), "--out", out, "--dry-run", "--workers", 2, "--json").out)
    assert [cell["coords"] for cell in found["cells"]][1] == {"rate": 0.2, "strength": 2.0}
    assert found["seconds"] > 0
    shown = run_cli("sweep", study(THEORY), "--out", out, "--dry-run")
    assert shown.status == 0
    assert "rate=0.3, strength=1.0" in shown.out
    assert not out.exists()


# The others


@pytest.mark.slow
def test_a_plane_in_strips_is_the_plane_at_once(run_cli: Run, tmp_path: Path) -> None:
    """Strips of the size that the theory integrates together: equal to the last bit."""
    axes = ("--rate", "0.1:1:64", "--strength", "0:3:128", "--std", 0.5)
    assert run_cli("phase", "rate-strength", *axes, "--out", tmp_path / "a.nc", "--json", "--quiet").status == 0
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as found:
        plain = Setting.of(rate=1.0, std=0.5, schedule=Constant(value=0.0))
        whole = theory.rate_strength_diagram(plain, found["rate"].values, found["strength"].values)
        for name in ("mean_shift", "variance_shift", "speciation_time"):
            assert found[name].dims == ("rate", "strength")
            np.testing.assert_array_equal(found[name], whole[name])


def test_a_plane_that_cannot_be_written_is_not_solved(run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes.RateStrengthDiagram, "run", None)
    axes = ("--rate", "0.1:1:4", "--strength", "0:3:4", "--std", 0.5)
    run = run_cli("phase", "rate-strength", *axes, "--out", Path(__file__) / "a.nc")
    assert run.status == 2
    assert "cannot write" in run.err


def test_the_time_left_is_told_however_long_a_step_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, clock = io.StringIO(), [0.0]

    def console(**options: Any) -> Console:
        return Console(file=screen, force_terminal=True, width=100, get_time=lambda: clock[0])

    monkeypatch.setattr(bars, "Console", console)
    with bars.bar("long") as advance:
        for step in range(3):
            clock[0] = 3600.0 * step
            advance(5 + step, 10)
    assert "left 3:00:00" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())


@pytest.mark.slow
def test_finished_claims_are_kept_and_reused(run_cli: Run, tmp_path: Path) -> None:
    arguments = ("claims", "--quick", "--only", "rectified-coefficients", "--out", tmp_path, "--json", "--quiet")
    first = json.loads(run_cli(*arguments).out)
    (kept,) = (tmp_path / "cells").iterdir()
    assert json.loads(run_cli(*arguments).out) == first, "a row measured anew would have another duration"
    other = json.loads(run_cli(*arguments, "--seed", 1).out)
    assert other["claims"][0]["seconds"] != first["claims"][0]["seconds"]
    kept.write_bytes(kept.read_bytes()[:-1] + b"?")
    again = json.loads(run_cli(*arguments).out)
    assert again["claims"][0]["seconds"] != first["claims"][0]["seconds"], "a damaged row is measured anew"
