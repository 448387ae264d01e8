"""`orthoscope gaussian --laws`: two Gaussians with any covariances, from a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orthoscope.theory.joint import gaussian_law, guided_joint
from tests.conftest import Finished

Run = Callable[..., Finished]
COND = {"mean": [1.0, 0.0], "cov": [[1.0, 0.3], [0.3, 0.5]]}
UNCOND = {"mean": [0.0, 0.0], "factor": [[1.0], [0.5]], "diag": 1.0}
SCALARS = ("--cond-mean", 1, "--cond-var", 0.5, "--uncond-mean", 0, "--uncond-var", 2)


@pytest.fixture
def laws(tmp_path: Path) -> Callable[..., Path]:
    def write(cond: Any = COND, uncond: Any = UNCOND, **more: Any) -> Path:
        path = tmp_path / "laws.json"
        path.write_text(json.dumps({"cond": cond, "uncond": uncond, **more}), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("arguments", "strength", "options"),
    [
        (["--strength", 2], 2.0, {}),
        (["--strength", 2, "--ode"], 2.0, {"lam": 0.0}),
        (["--strength", 1, "--t-max", 5, "--start", "exact"], 1.0, {"t_max": 5.0, "start": "exact"}),
    ],
)
def test_the_numbers_are_the_theory_s(
    run_cli: Run, laws: Callable[..., Path], arguments: list[object], strength: float, options: dict[str, Any]
) -> None:
    run = run_cli("gaussian", "--laws", laws(), *arguments, "--json")
    assert run.status == 0, run.err
    found = json.loads(run.out)
    expected = guided_joint(gaussian_law(**COND), gaussian_law(**UNCOND), strength, **options)
    np.testing.assert_array_equal(found["mean"], expected.guided.mean)
    np.testing.assert_array_equal(found["mean_shift"], expected.mean_shift)
    np.testing.assert_array_equal(found["eigenvalues_guided"], expected.guided.eigenvalues)
    assert found["participation_ratio_guided"] == expected.guided.participation_ratio
    assert found["participation_ratio_tilted"] == expected.tilted.participation_ratio
    assert found["total_variance_cond"] == expected.cond.total_variance
    assert found["entropy_change"] == expected.entropy_change
    assert found["fisher"] == expected.fisher
    assert found["method"] == "matrix moment equations"
    assert found["spec"]["schedule"]["value"] == strength


@pytest.mark.slow
def test_what_does_not_exist_is_null(run_cli: Run, laws: Callable[..., Path]) -> None:
    found = json.loads(run_cli("gaussian", "--laws", laws(UNCOND, COND), "--strength", 9, "--json").out)
    assert found["total_variance_tilted"] is None
    assert found["eigenvalues_tilted"] is None
    assert found["fisher"] is None


def test_one_dimension_is_the_scalar_case(run_cli: Run, laws: Callable[..., Path]) -> None:
    file = laws({"mean": [1.0], "cov": [[0.5]]}, {"mean": [0.0], "cov": [[2.0]]})
    matrix = json.loads(run_cli("gaussian", "--laws", file, "--strength", 2, "--json").out)
    scalar = json.loads(run_cli("gaussian", *SCALARS, "--strength", 2, "--json").out)
    assert matrix["mean"][0] == pytest.approx(scalar["mean"], rel=1e-13)
    assert matrix["total_variance_guided"] == pytest.approx(scalar["variance"], rel=1e-13)
    assert matrix["total_variance_tilted"] == pytest.approx(scalar["tilted_variance"], rel=1e-13)
    assert matrix["fisher"] == pytest.approx(scalar["fisher"], rel=1e-13)


def test_people_see_lists_as_lines(run_cli: Run, laws: Callable[..., Path]) -> None:
    wide = {"mean": [0.0] * 9, "factor": [[1.0]] * 9, "diag": 1.0}
    shown = run_cli("gaussian", "--laws", laws(wide, {**wide, "diag": 2.0}), "--strength", 1).out
    assert "eigenvalues cond" in shown
    assert "10, 1, 1, 1, 1, 1, ..." in shown
    assert "closed form" in shown


@pytest.mark.parametrize(
    ("cond", "message"),
    [
        ({"mean": [1.0, 0.0], "cov": [[1.0, 2.0], [2.0, 1.0]]}, "positive definite"),
        ({"mean": [1.0, 0.0], "cov": [[1.0, 0.2], [0.3, 1.0]]}, "symmetric"),
        ({"mean": [1.0, 0.0], "cov": [[1.0]]}, "must be 2 x 2"),
        ({"mean": [1.0, 0.0], "covv": [[1.0]]}, "did you mean 'cov'"),
        ({"mean": [1.0, 0.0]}, "needs either cov, or factor with diag"),
        ({"mean": [1.0, 0.0], "cov": "wide"}, "must hold numbers"),
        ({"mean": [1.0], "cov": [[1.0]]}, "both laws must have one dimension"),
        ({"cov": [[1.0]]}, "must be an object with mean"),
        ([1.0], "must be an object with mean"),
    ],
)
def test_unusable_laws_are_one_clear_line(run_cli: Run, laws: Callable[..., Path], cond: object, message: str) -> None:
    run = run_cli("gaussian", "--laws", laws(cond), "--strength", 1)
    assert (run.status, run.out) == (2, "")
    assert message in run.err
    assert len(run.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strength", 1], "missing --cond-mean, --cond-var, --uncond-mean, --uncond-var"),
        (["--cond-mean", 1, "--strength", 1], "missing --cond-var"),
        (["--laws", "LAWS", *SCALARS, "--strength", 1], "either --laws, or means and variances"),
        (["--laws", "nowhere.json", "--strength", 1], "no such file"),
        (["--laws", "LAWS"], "either --strength or --schedule"),
        (["--laws", "LAWS", "--schedule", "step:early=1,late=0,switch=50%"], "have no steps"),
        (["--laws", "LAWS", "--schedule", "linear:w0=0,slope=1"], "finite time"),
    ],
)
def test_unusable_options_are_one_clear_line(
    run_cli: Run, laws: Callable[..., Path], arguments: list[object], message: str
) -> None:
    file = laws()
    run = run_cli("gaussian", *(file if argument == "LAWS" else argument for argument in arguments))
    assert (run.status, run.out) == (2, "")
    assert message in run.err


def test_a_file_of_something_else_is_named(run_cli: Run, laws: Callable[..., Path]) -> None:
    assert "two keys cond and uncond" in run_cli("gaussian", "--laws", laws(third=1), "--strength", 1).err
