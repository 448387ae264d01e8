"""Unusable input of the newer commands: one clear line, exit status 2, before anything is computed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from orthoscope.cli.output import emit
from orthoscope.report.tables import flat
from tests.conftest import Finished

Run = Callable[..., Finished]
TWO_CLASS = ("two-class", "--law", "uniform", "--samples", 10, "--steps", 20)
MIXTURE = ("design", "--rate", 0.7, "--std", 0.5, "--maximize", "mean-shift")
GAUSSIANS = ("design", "--cond-var", 0.5, "--uncond-var", 2, "--maximize", "mean-shift")


def assert_refused(run: Finished, message: str) -> None:
    assert run.status == 2, run.err
    assert run.out == ""
    assert run.err.startswith("error: ")
    assert len(run.err.splitlines()) == 1
    assert re.search(message, run.err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("two-class",), "'--law'. Choose from: gaussian, uniform"),
        (("study", "aproach"), "unknown study 'aproach'; did you mean 'approach'"),
        ((*TWO_CLASS, "--strength", 1, "--error-kind", "none"), "for '--error-kind': 'none' is not one of"),
        ((*TWO_CLASS, "--strength", 1e300), "strength must be at most 1e.06 .*, got 1e.300"),
        ((*TWO_CLASS, "--strength", 1, "--sigma-end", 1e-9), "sigma_end must lie between 1e-08 and 1, got 1e-09"),
        ((*TWO_CLASS, "--strength", 1, "--out", "end.pdf"), "must end in .svg or .png .*, got end.pdf"),
        ((*TWO_CLASS, "--strength", 1, "--out", "end"), "must end in .svg or .png .*, got end"),
        ((*MIXTURE, "--label", 3), "--label belongs to the law of --data"),
        ((*GAUSSIANS, "--dim", 8), "--dim belongs to the law of --rate and --std"),
        (("design", "--data", "digits", "--label", 3, "--dim", 64, "--maximize", "mean-shift"), "--dim belongs to"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_one_clear_line_and_status_2(run_cli: Run, arguments: tuple[object, ...], message: str) -> None:
    assert_refused(run_cli(*arguments), message)


@pytest.mark.parametrize(
    ("command", "name"),
    [((*TWO_CLASS, "--strength", 1), "end.svg"), (MIXTURE, "schedule.json"), (("study", "captured"), "captured")],
    ids=lambda value: str(value[0]) if isinstance(value, tuple) else value,
)
def test_an_unwritable_place_is_refused_before_anything_runs(
    run_cli: Run, tmp_path: Path, command: tuple[object, ...], name: str
) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    assert_refused(run_cli(*command, "--out", blocker / name), "cannot write .*; choose another --out")


def test_a_folder_is_no_file_to_write(run_cli: Run, tmp_path: Path) -> None:
    folder = tmp_path / "schedule.json"
    folder.mkdir()
    assert_refused(run_cli(*MIXTURE, "--out", folder), "schedule.json: Is a directory; choose another --out")


def test_a_file_in_a_folder_that_takes_no_other_is_refused_before_anything_runs(
    run_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written beside its place first; root may write anywhere, so the system's answer is put on."""
    (tmp_path / "schedule.json").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    assert_refused(run_cli(*MIXTURE, "--out", tmp_path / "schedule.json"), "schedule.json: Permission denied; choose")


@pytest.mark.parametrize(
    ("law", "message"),
    [
        ({"mean": [1, 0, 3], "cov": [[1, 0], [0, 1]]}, "must be 3 x 3"),
        ({"mean": [[1, 0]], "cov": [[1, 0], [0, 1]]}, "must be a list of numbers"),
        ({"mean": [], "cov": []}, "must be a list of numbers"),
        ({"mean": [1, 0], "cvo": [[1, 0], [0, 1]]}, "did you mean 'cov'"),
    ],
)
def test_a_bad_file_of_laws_is_named(
    run_cli: Run, unchecked: None, tmp_path: Path, law: dict[str, object], message: str
) -> None:
    path = tmp_path / "laws.json"
    path.write_text(json.dumps({"cond": law, "uncond": {"mean": [0, 0], "cov": [[2, 0], [0, 2]]}}))
    run = run_cli("gaussian", "--laws", path, "--strength", 1)
    assert_refused(run, message)
    assert "laws.json" in run.err


def test_the_unconditional_law_of_two_gaussians_warns_of_nothing(run_cli: Run) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = run_cli("two-class", "--law", "gaussian", "--strength", -1, "--samples", 10, "--steps", 20)
    assert run.status == 0
    assert run.err == ""


def _files(folder: Path) -> list[Path]:
    """Data sets that are none: a binary table, points of text or complex, no points, an archive cut short."""
    points, labels = np.zeros((50, 2)), np.zeros(50, dtype=int)
    (folder / "binary.csv").write_bytes(bytes(range(128, 256)))
    np.savez(folder / "text.npz", x=np.array([["a", "b"]] * 50), y=labels)
    np.savez(folder / "complex.npz", x=points + 1j, y=labels)
    np.savez(folder / "empty.npz", x=points[:0], y=labels[:0])
    np.savez(folder / "whole.npz", x=points, y=labels)
    (folder / "cut.npz").write_bytes((folder / "whole.npz").read_bytes()[:300])
    return [folder / name for name in ("binary.csv", "text.npz", "complex.npz", "empty.npz", "cut.npz")]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # NumPy leaves the cut archive open
def test_a_data_set_that_is_none_is_named(run_cli: Run, unchecked: None, tmp_path: Path) -> None:
    for path in _files(tmp_path):
        run = run_cli("design", "--data", path, "--label", 0, "--maximize", "mean-shift")
        assert_refused(run, f"{path.name}.*expected (arrays x|numbers)")


def test_findings_within_findings_are_printed_as_they_are() -> None:
    compared = {"value": -1.0, "stderr": 0.02, "n": 3, "theory": -1.25, "z": 12.5, "verdict": "off"}
    found = flat({"constant:-1": {"shift": compared, "ratios": [1.5, 2.0]}, "table": [{"dim": 8}, None], "n": 3})
    assert found == {
        "constant:-1: shift": "-1 ± 0.02, theory -1.25, z 12.5, verdict off",
        "constant:-1: ratios": "1.5, 2",
        "table 1: dim": 8,
        "table 2": None,
        "n": 3,
    }


def test_an_interrupted_command_says_so(run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("orthoscope.experiments.gaussians.GaussianStudy", interrupt)
    run = run_cli("gaussian", "--strength", 1)
    assert (run.status, run.out, run.err) == (130, "", "interrupted; what was already written stays\n")


def test_a_name_with_colons_is_no_emoji(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"constant:-1: mean [shift]": 1.0}, as_json=False, title="captured")
    assert "constant:-1: mean [shift]" in capsys.readouterr().out


@pytest.mark.slow
def test_a_narrow_terminal_costs_no_digits(run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    run = run_cli(*GAUSSIANS, "--no-simulate")
    assert run.status == 0
    assert "…" not in run.out


@pytest.mark.slow
def test_a_missing_extra_names_what_to_install(tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text('[study]\nsource = "theory"\n[axes]\nrate = [0.2]\n[fixed]\nstd = 0.5\nstrength = 1\n')
    program = (
        "import sys; sys.modules['zarr'] = None; from orthoscope.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = [sys.executable, "-c", program, "sweep", str(study), "--out", str(tmp_path / "run")]
    run = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert_refused(Finished(run.returncode, run.stdout, run.stderr), r"pip install 'orthoscope\[scale\]'")
