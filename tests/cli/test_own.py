"""Rules and schedules of one's own on the command line and in study files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orthoscope import registered
from orthoscope.sweeps.store import read
from tests.conftest import Finished

Run = Callable[..., Finished]
SMALL = "simulate --dim 8 --rate 0.3 --std 0.5 --samples 16 --draws 2 --steps 6 --quiet --json".split()
MODULE = """
import orthoscope as osc


@osc.rule("by-hand", linear=True)
def by_hand(x, level, predictions, w):
    return (1 + w) * predictions["cond"] - w * predictions["uncond"]


@osc.schedule("two")
def two(level):
    return 2.0


@osc.target
def points():
    return osc.mixture([[0.0], [1.0], [1.5], [3.0], [3.5], [4.0]], labels=[0, 0, 0, 1, 1, 1], std=0.5)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """A module in the current folder, under a name of this test's own, and not imported yet."""
    name = f"own_{request.node.name}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [part for part in sys.path if part])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for registry in (registered.RULES, registered.SCHEDULES, registered.TARGETS):
        monkeypatch.setattr(registry, "_things", {})
        monkeypatch.setattr(registry, "_options", {})
    yield name
    sys.modules.pop(name, None)


def numbers(run: Finished) -> dict[str, Any]:
    assert run.status == 0, run.err
    found: dict[str, Any] = json.loads(run.out)
    return found


def test_places_in_the_current_folder_are_texts(run_cli: Run, module: str) -> None:
    plain = numbers(run_cli(*SMALL, "--strength", 2))
    own = numbers(run_cli(*SMALL, "--schedule", f"{module}:two", "--rule", f"{module}:by_hand"))
    for name in ("mean_shift", "variance_shift", "class_posterior"):
        assert own[name] == plain[name]
    assert own["theory"] == {"mean_field": None, "finite_dim": None}
    assert own["diagnosis"].startswith("no theory knows the rule by_hand: measured only")
    assert own["spec"]["simulation"]["setting"]["rule"]["place"] == f"{module}:by_hand"
    assert own["spec"]["simulation"]["setting"]["schedule"]["place"] == f"{module}:two"


def test_names_are_known_once_their_module_is_imported(run_cli: Run, module: str, tmp_path: Path) -> None:
    unknown = run_cli(*SMALL, "--strength", 1, "--rule", "by-hand")
    assert (unknown.status, unknown.err.count("\n")) == (2, 1)
    assert "unknown rule 'by-hand'" in unknown.err
    made = numbers(
        run_cli("--import", module, *SMALL, "--schedule", "two", "--rule", "by-hand", "--out", tmp_path / "run")
    )
    near = run_cli(*SMALL, "--strength", 1, "--rule", "by-hands")
    assert "did you mean 'by-hand'?" in near.err
    again = numbers(run_cli("rerun", tmp_path / "run", "--json", "--quiet"))
    assert again["mean_shift"] == made["mean_shift"]


def test_a_folder_is_run_again_only_with_its_module_imported(run_cli: Run, module: str, tmp_path: Path) -> None:
    numbers(run_cli(*SMALL, "--strength", 1, "--rule", f"{module}:by_hand", "--out", tmp_path / "run"))
    sys.modules.pop(module)  # as in another process
    refused = run_cli("rerun", tmp_path / "run")
    assert refused.status == 2
    assert f"a file may not import: import {module} first, in Python or by `orthoscope --import {module}" in refused.err
    assert numbers(run_cli("--import", module, "rerun", tmp_path / "run", "--json", "--quiet"))


def test_theory_takes_schedules_and_no_rules(run_cli: Run, module: str) -> None:
    setting = ("predict", "--rate", 0.2, "--std", 0.5, "--json")
    own = numbers(run_cli(*setting, "--schedule", f"{module}:two"))
    like = numbers(run_cli(*setting, "--strength", 2))
    assert own["mean_shift"] == pytest.approx(like["mean_shift"], rel=1e-8)
    assert run_cli(*setting, "--strength", 2, "--rule", "cfg").status == 2  # no such option


def test_a_design_takes_targets(run_cli: Run, module: str) -> None:
    goal = ("design", "--maximize", "mean-shift", "--label", 1, "--data")
    refused = run_cli(*goal, f"{module}:nothing")
    assert (refused.status, refused.err.count("\n")) == (2, 1)
    assert "no target 'nothing'" in refused.err
    found = run_cli("--import", module, *goal, "points")
    assert found.status == 2
    assert "label 1 has 3 points; at least 16" in found.err


def test_what_needs_linear_guidance_is_refused_with_the_names_of_options(run_cli: Run, module: str) -> None:
    for options, message in (
        (
            ("--tolerance", 0.1),
            "a --tolerance rests on the odds of a class under linear guidance; use 0 with the --rule",
        ),
        (("--estimator", "controlled"), "needs classifier-free guidance"),
    ):
        refused = run_cli(*SMALL, "--strength", 1, "--rule", "apg", *options)
        assert (refused.status, refused.err.count("\n")) == (2, 1)
        assert message in refused.err


def test_modules_that_cannot_be_imported_are_told_in_one_line(run_cli: Run, module: str, tmp_path: Path) -> None:
    (tmp_path / "own_broken.py").write_text("1 / 0\n")
    for name, message in (("own_absent", "there is no module 'own_absent'"), ("own_broken", "division by zero")):
        refused = run_cli("--import", name, *SMALL, "--strength", 1)
        assert (refused.status, refused.err.count("\n")) == (2, 1)
        assert message in refused.err
    assert "did you mean 'apg'" in run_cli(*SMALL, "--strength", 1, "--rule", "agp:eta").err


def test_sweeps_take_rules_and_schedules(run_cli: Run, module: str, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(f"""
[study]
streams = "common"
[axes]
rule = ["cfg", "rescale:phi=0.5", "{module}:by_hand"]
[fixed]
rate = 0.3
dim = 8
std = 0.5
schedule = "{module}:two"
samples = 16
draws = 2
steps = 6
""")
    assert numbers(run_cli("sweep", "study.toml", "--out", "out", "--quiet", "--json"))["computed"] == 3
    found = read(tmp_path / "out")
    assert found["rule"].values.tolist() == ["cfg", "rescale:phi=0.5", f"{module}:by_hand"]
    shift = found["mean_shift"].values
    assert shift[0] == shift[2] != shift[1]
    known = np.isfinite(found["mean_shift_mean_field"].values)
    assert known.tolist() == [True, False, False]  # no theory knows another rule


def test_mistakes_in_rules_of_a_sweep_have_their_line(run_cli: Run, module: str, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(
        '[fixed]\nrate = 0.3\ndim = 8\nstd = 0.5\nstrength = 1\nrule = "agp:eta=0"\n'
    )  # fmt: skip
    assert "study.toml:6: rule: unknown rule 'agp'; did you mean 'apg'?" in run_cli("sweep", "study.toml").err
    (tmp_path / "study.toml").write_text(
        '[fixed]\nrate = 0.3\ndim = 8\nstd = 0.5\nstrength = 1\nrule = "apg"\ntolerance = 0.1\n'
    )  # fmt: skip
    assert "a tolerance rests on the odds of a class" in run_cli("sweep", "study.toml").err


def test_workers_find_what_stands_in_the_current_folder(module: str, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(
        f'[axes]\nstrength = [1, 2]\n[fixed]\nrate = 0.3\ndim = 8\nstd = 0.5\nrule = "{module}:by_hand"\n'
        "samples = 16\ndraws = 2\nsteps = 6\n"
    )
    main = "import sys; from orthoscope.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-P", "-c", main, "sweep", "study.toml", "--out", "out", "--workers", "2", "--quiet"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["computed"] == 2
