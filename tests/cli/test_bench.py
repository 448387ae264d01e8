"""`orthoscope bench` and modes that are not kept in memory, through the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from orthoscope import rng
from orthoscope.bench.growth import SIZES, GrowthStudy
from tests.conftest import Finished

Run = Callable[..., Finished]
SMALL = ("--dim", 6, "--classes", 500, "--std", 0.5, "--strength", 1, "--samples", 16, "--draws", 1, "--steps", 4)


@pytest.mark.slow
def test_bench_scaling_writes_numbers_and_a_figure(
    run_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = GrowthStudy(modes=(50, 100, 200), dim=(2, 4, 8), rows=(8, 16, 32), steps=(1, 2, 4), base=1, repeats=2)
    monkeypatch.setattr(GrowthStudy, "quick", classmethod(lambda cls, seed=0: small))
    run = run_cli("bench", "scaling", "--quick", "--out", tmp_path / "s.nc", "--json")
    assert run.status == 0, run.err
    found = json.loads(run.out)
    assert set(SIZES) < set(found)
    assert {"value", "stderr", "n", "dof"} <= set(found["modes"]["exponent"])
    assert (tmp_path / "s.nc").exists()
    assert (tmp_path / "s.svg").stat().st_size > 5000
    refused = run_cli("bench", "scaling", "--out", tmp_path / "s.png")
    assert refused.status == 2
    assert "must end in .nc" in refused.err


@pytest.mark.slow
def test_modes_may_be_kept_anywhere(run_cli: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", rng.stream(0, "modes", 0).standard_normal((500, 6), dtype=np.float32))
    answers = []
    for place in ("memory", "regenerated", tmp_path / "m.npy"):
        run = run_cli("simulate", *SMALL, "--modes", place, "--json", "--quiet")
        assert run.status == 0, run.err
        answers.append(json.loads(run.out))
    for name in ("mean_shift", "variance_shift", "class_posterior"):
        for other in answers[1:]:
            assert other[name]["value"] == pytest.approx(answers[0][name]["value"], rel=1e-3, abs=1e-4)
    assert answers[1]["modes_read"] == answers[0]["modes_read"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--modes", "memroy"), "unknown place for modes 'memroy'; did you mean 'memory'"),
        (("--modes", "nowhere.npy"), "no such file: nowhere.npy; expected an .npy file"),
        (("--modes", "regenerated", "--planted"), "use it without --modes regenerated"),
        (("--modes", "nowhere.npy", "--draws", 2), "use --draws 1, got 2"),
    ],
)
def test_unusable_places_are_refused_in_one_line(run_cli: Run, arguments: tuple[object, ...], message: str) -> None:
    run = run_cli("simulate", *SMALL, *arguments)
    assert run.status == 2
    assert message in run.err
    assert len(run.err.strip().splitlines()) == 1


def test_a_file_of_other_modes_is_refused(run_cli: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.ones((20, 5), dtype=np.float32))
    run = run_cli("simulate", *SMALL, "--modes", tmp_path / "m.npy")
    assert run.status == 2
    assert "holds 20 modes of dimension 5, got 500 classes and dim 6; give --classes 20 and --dim 5" in run.err


def test_too_many_modes_for_memory_may_be_regenerated(run_cli: Run) -> None:
    setting = ("simulate", "--dim", 64, "--std", 0.5, "--strength", 1)
    run = run_cli(*setting, "--classes", 10**9)
    assert run.status == 2
    assert "or use --modes regenerated, which draws them again at every step, or --modes planted" in run.err
    assert "regenerated" not in run_cli(*setting, "--classes", 10**14).err
