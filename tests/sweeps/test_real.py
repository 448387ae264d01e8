"""A study file end to end: killed or not, on any number of workers, in any order, the same numbers bit for bit."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import xarray as xr

from orthoscope.sweeps.file import read_study
from orthoscope.sweeps.run import run_sweep
from orthoscope.sweeps.store import read
from tests.sweeps.dummy import bits, stored

STUDY = """
[study]
seed = 3

[axes]
rate = [0.2, 0.4]
strength = [0, 2]
dim = [6, 8]

[fixed]
std = 0.5
samples = 16
steps = 4

[measure]
theory = false

[precision]
mean_shift = 0.3
max_draws = 10
"""
TURNED = STUDY.replace("rate = [0.2, 0.4]\n", "").replace("dim = [6, 8]", "dim = [8, 6]\nrate = [0.4, 0.2]")


def study(folder: Path, text: str) -> Path:
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study's folder, computed in this process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert not run_sweep(read_study(study(folder, STUDY)).plan, folder).failed
    return folder


@pytest.mark.slow
def test_two_workers_and_another_order_give_the_same_numbers(tmp_path: Path, undisturbed: Path) -> None:
    run_sweep(read_study(study(tmp_path, TURNED)).plan, tmp_path, workers=2)
    straight, turned = (read(folder).drop_attrs() for folder in (undisturbed, tmp_path))
    dims = straight["mean_shift"].dims
    assert turned["mean_shift"].dims != dims
    assert bool(turned["finished"].all())
    xr.testing.assert_equal(straight, turned.transpose(*dims).reindex_like(straight))


@pytest.mark.slow
def test_the_command_is_killed_and_goes_on(tmp_path: Path, undisturbed: Path) -> None:
    path, out = study(tmp_path, STUDY), tmp_path / "out"
    program = "import sys; from orthoscope.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "sweep", str(path), "--out", str(out), "--quiet"]
    with subprocess.Popen(command) as process:
        while not stored(out):
            assert process.poll() is None
            time.sleep(0.001)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    kept = stored(out)
    assert 0 < len(kept) < 8
    result = run_sweep(read_study(path).plan, out)
    assert (result.reused, result.computed, result.failed) == (len(kept), 8 - len(kept), ())
    assert bits(out) == bits(undisturbed)
