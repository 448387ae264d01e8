"""`orthoscope design` through `main(argv)`: what it prints, writes and refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orthoscope.designs import options as design_options
from orthoscope.designs.check import Verification
from orthoscope.designs.optimization import SpectrumLaw
from orthoscope.designs.options import read_spectrum
from orthoscope.guidance.grammar import parse_schedule, read_schedule
from orthoscope.guidance.schedules import Step
from tests.conftest import Finished

Run = Callable[..., Finished]
PAIR = ("design", "--cond-var", 0.5, "--uncond-var", 2, "--t-max", 50)
KEYS = {"schedule", "mean_shift", "variance_ratio", "class_posterior", "baselines", "notes", "simulation", "spec"}


@pytest.mark.slow
def test_json_holds_the_schedule_its_numbers_and_the_baselines(run_cli: Run, tmp_path: Path) -> None:
    out = tmp_path / "window.json"
    run = run_cli(
        *PAIR,
        "--maximize",
        "mean-shift",
        "--variance-ratio",
        0.9,
        "--high",
        4,
        "--samples",
        1024,
        "--out",
        out,
        "--json",
    )
    assert run.status == 0, run.err
    found = json.loads(run.out)
    assert found.keys() >= KEYS
    schedule = read_schedule(out)
    assert parse_schedule(found["text"]) == schedule
    law = SpectrumLaw(cond_mean=[1.0], cond_var=[0.5], uncond_mean=[0.0], uncond_var=[2.0], t_max=50.0)
    again = law.evaluate(schedule)
    assert found["mean_shift"] == again.mean_shift
    assert found["variance_ratio"] == again.variance_ratio
    assert found["within_margin"]["least"]["variance_ratio"] == pytest.approx(0.9, abs=1e-6)
    assert found["bound"]["variance_ratio"] == pytest.approx(0.9, abs=1e-6)
    assert found["bound"]["within_margin"]["least"]["variance_ratio"] < 0.9
    assert found["bound"]["mean_shift"] > found["mean_shift"]
    assert {row["name"] for row in found["bound"]["baselines"]} == {row["name"] for row in found["baselines"]}
    for row in found["baselines"]:
        assert row["behind"] is None or row["behind"] >= -1e-6
    assert out.with_suffix(".svg").exists()
    assert out.with_suffix(".png").exists()
    assert "designing" in run.err


@pytest.mark.slow
def test_people_see_a_table_and_plain_sentences(run_cli: Run) -> None:
    run = run_cli(*PAIR, "--maximize", "separability", "--low", 0, "--high", 2, "--no-simulate", "--quiet")
    assert run.status == 0, run.err
    assert run.err == ""
    assert "schedule: " in run.out
    assert "behind by" in run.out
    assert "\n- " in run.out


def test_a_spectrum_file_holds_variances_or_covariances(tmp_path: Path) -> None:
    run = {"t_max": 50.0, "start": "prior", "lam": 1.0}
    path = tmp_path / "pair.json"
    found = []
    for matrix in (False, True):
        cond, uncond = ([[0.5]], [[2.0]]) if matrix else ([0.5], [2.0])
        key = "cov" if matrix else "var"
        path.write_text(
            json.dumps({"cond_mean": [1.0], f"cond_{key}": cond, "uncond_mean": [0.0], f"uncond_{key}": uncond})
        )
        found.append(read_spectrum(path, run).evaluate(Step(early=2, late=-0.5, switch=1)))
    assert found[0] == found[1]


@pytest.mark.slow
def test_disagreement_of_sampling_and_theory_is_a_failed_result(run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    # One step of the sampler cannot follow a jump in strength of this size.
    monkeypatch.setattr("orthoscope.designs.check._GAUSSIAN_STEPS", 1)
    monkeypatch.setattr(design_options, "Verification", lambda **counts: Verification(steps=1, **counts))
    run = run_cli(*PAIR, "--maximize", "mean-shift", "--low", 0, "--high", 2, "--samples", 4096, "--quiet")
    assert run.status == 1
    assert "sampling disagrees with theory" in run.out


GOAL = ("--maximize", "mean-shift")
SHARP = ("--margin-strength", 0, "--margin-switch", 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("design",), "ask for one thing"),
        (("design", *GOAL), "give one law"),
        (("design", *GOAL, "--rate", 0.7), "needs both --rate and --std"),
        (("design", *GOAL, "--rate", 0.7, "--std", 0.5, "--data", "digits"), "give one law"),
        (("design", *GOAL, "--mean-shift", 0.1, "--least-frechet", "--rate", 0.7, "--std", 0.5), "ask for one thing"),
        (("design", "--least-frechet", "--rate", 0.7, "--std", 0.5), "needs --separability"),
        (("design", *GOAL, "--data", "digits"), "needs --label"),
        (("design", *GOAL, "--data", "digits", "--label", 3, "--no-simulate"), "has no theory"),
        (("design", *GOAL, "--data", "digits", "--label", 11), "label 11 is not present"),
        (("design", *GOAL, "--data", "digits", "--label", 3, "--samples", 10), "at least 256 samples"),
        (("design", *GOAL, "--data", "nothing.npz", "--label", 3), "no such file"),
        (("design", *GOAL, "--cond-var", 1), "both --cond-var and --uncond-var"),
        (("design", *GOAL, "--cond-var", 1, "--uncond-var", 2, "--gap", 1, "--gap", 2), "as many --cond-var"),
        (("design", *GOAL, "--spectrum", "none.json"), "no such file"),
        (("design", *GOAL, "--rate", 0.7, "--std", 0.5, "--out", "a.txt"), "must end in .json"),
        (("design", *GOAL, "--rate", 0.7, "--std", 0.5, "--class-posterior", 0.9), "--dim"),
        (("design", *GOAL, "--rate", 0.7, "--std", 0.5, "--low", 3, "--high", 2), "low < high"),
        ((*PAIR, *GOAL, "--variance-ratio", 1.2, "--low", 0, "--no-simulate", *SHARP), "the best attainable is 1"),
        pytest.param(
            (*PAIR, *GOAL, "--variance-ratio", 1, "--low", 0, "--start", "exact", "--no-simulate"),
            "smaller margin",
            marks=pytest.mark.slow,
        ),
        (("design", *GOAL, "--data", "digits", "--label", 3, "--margin-strength", 0.1), "leave out --margin-strength"),
        ((*PAIR, *GOAL, "--margin-switch", "200%"), "below 1"),
        ((*PAIR, *GOAL, "--margin-switch", "much"), "must be a number"),
        ((*PAIR, *GOAL, "--margin-switch", "1/2"), "one share"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(run_cli: Run, arguments: tuple[object, ...], message: str) -> None:
    run = run_cli(*arguments, *(("--quiet",) if "--maximize" in arguments else ()))
    assert run.status == 2
    assert run.out == ""
    assert message in run.err
    assert run.err.count("\n") == 1


def test_a_spectrum_file_with_a_mistyped_key_names_the_nearest(run_cli: Run, tmp_path: Path) -> None:
    path = tmp_path / "pair.json"
    path.write_text(json.dumps({"cond_maen": [1.0]}))
    run = run_cli("design", *GOAL, "--spectrum", path, "--quiet")
    assert run.status == 2
    assert "cond_mean" in run.err


@pytest.mark.slow
def test_help_loads_neither_torch_nor_matplotlib() -> None:
    code = (
        "import sys\nfrom orthoscope.cli.main import main\n"
        "try:\n    main(['design', '--help'])\nexcept SystemExit:\n    pass\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib', 'xarray')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
