"""What a command writes with --out never takes the place of what is not its own, nor of what another is writing."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import pytest
import xarray as xr

from orthoscope import datasets
from tests.conftest import Finished, needs_diffusers

Run = Callable[..., Finished]
STUDY = '[study]\nsource = "theory"\n[axes]\nrate = [0.2]\n[fixed]\nstd = 0.5\nstrength = 1\n'
# Every command that fills a folder, with a file that it would write there.
COMMANDS = {
    "demo": "results.nc",
    "audit": "results.nc",
    "calibrate": "spec.json",
    "forecast": "spec.json",
    "study captured": "results.nc",
    "train digits": "checkpoint.safetensors",
    "claims": "cells",
    "sweep": "log.jsonl",
}
PHASE = ("phase", "window", "--rate", 0.9, "--std", 0.5, "--t-max", 10, "--w0=-1:0:2", "--slope", "0:1:2")


OF_PIPELINES = ("audit", "calibrate", "forecast")


@pytest.fixture(params=[pytest.param(one, marks=needs_diffusers) if one in OF_PIPELINES else one for one in COMMANDS])
def command(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    words = request.param.split()
    if words == ["sweep"]:
        (tmp_path / "study.toml").write_text(STUDY)
        words.append(str(tmp_path / "study.toml"))
    return words


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_refused(run: Finished, *parts: str) -> None:
    assert run.status == 2
    assert run.out == ""
    assert len(run.err.splitlines()) == 1
    assert run.err.startswith("error: ")
    assert all(part in run.err for part in parts)


def test_results_of_another_command_are_left_alone(run_cli: Run, command: list[str], out: Path) -> None:
    (out / COMMANDS[" ".join(command[: 2 if command[0] in ("study", "train") else 1])]).write_text("of another")
    before = content(out)
    assert_refused(run_cli(*command, "--out", out), f"{out} holds ", "choose another --out")
    assert content(out) == before


def test_a_folder_of_another_command_is_left_alone(run_cli: Run, command: list[str], out: Path) -> None:
    (out / "lock").write_text("bench: process 1 on elsewhere\n")
    before = content(out)
    assert_refused(run_cli(*command, "--out", out), f"{out} belongs to `orthoscope bench`", "choose another --out")
    assert content(out) == before


@pytest.fixture
def holder(out: Path) -> Iterator[None]:
    """Another process, for all that anybody can see."""
    (out / "lock").write_text("some: process 4711 on elsewhere\n")
    with (out / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.mark.usefixtures("holder")
def test_a_folder_in_use_is_refused_at_once(run_cli: Run, command: list[str], out: Path) -> None:
    before = content(out)
    assert_refused(run_cli(*command, "--out", out), "in use by process 4711 on elsewhere; wait for it")
    assert content(out) == before


def test_a_demo_keeps_only_its_own_sections(run_cli: Run, out: Path) -> None:
    (out / "lock").touch()  # somebody answers for the folder, wrongly
    datasets.write(xr.Dataset({"x": 1.0}), out / "results.nc", group="pipeline")
    before = content(out)
    assert_refused(run_cli("demo", "--out", out), "results.nc is damaged or not of a demo")
    assert content(out)["results.nc"] == before["results.nc"]


def test_a_demo_with_a_section_that_cannot_be_read_is_refused_before_anything_runs(run_cli: Run, out: Path) -> None:
    (out / "lock").touch()
    datasets.write(xr.Dataset({"x": ("i", [1.0])}), out / "results.nc", group="windows")
    with h5py.File(out / "results.nc", "r+") as store:
        del store["windows"]["i"]
    before = content(out)
    assert_refused(run_cli("demo", "--section", "rates", "--out", out), "results.nc is damaged or not of a demo")
    assert content(out)["results.nc"] == before["results.nc"]


@pytest.mark.slow
def test_figures_beside_a_file_replace_only_figures(run_cli: Run, out: Path) -> None:
    photograph = out / "window.png"
    photograph.write_bytes(b"\x89PNG\r\n\x1a\n of a holiday")
    assert_refused(
        run_cli(*PHASE, "--out", out / "window.nc"), "window.png is there already and no figure of orthoscope"
    )
    assert [path.name for path in out.iterdir()] == ["window.png"]
    photograph.unlink()
    for _ in range(2):
        assert run_cli(*PHASE, "--out", out / "window.nc").status == 0
    assert {path.name for path in out.iterdir()} == {"window.nc", "window.svg", "window.png"}
