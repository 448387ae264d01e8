"""`orthoscope two-class` through `main(argv)`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Finished

Run = Callable[..., Finished]
FEW = ("--samples", 60, "--steps", 60, "--quiet")
KEYS = {
    "mean", "std", "overshoot", "flow_mean", "flow_std", "sde_mean", "sde_std", "tilted_mean", "tilted_std",
    "boundary_fraction", "off_support_fraction", "off_support_distance", "monotone", "orthoscope", "spec",
}  # fmt: skip


def answer(run: Finished) -> dict[str, Any]:
    assert run.status == 0, run.err
    found = json.loads(run.out)
    assert isinstance(found, dict)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("law", ["gaussian", "uniform"])
def test_the_documented_keys(run_cli: Run, law: str) -> None:
    found = answer(run_cli("two-class", "--law", law, "--strength", 3, *FEW, "--json"))
    assert found.keys() == KEYS
    assert found["mean"].keys() >= {"value", "stderr", "n"}
    assert found["mean"]["n"] == 60
    assert (found["boundary_fraction"] is None) == (law == "gaussian")
    assert found["mean"]["value"] > found["tilted_mean"]


@pytest.mark.slow
def test_options_reach_the_run(run_cli: Run) -> None:
    options = ("--sde", "--score-error", 0.05, "--error-kind", "missing-pullback", "--seed", 4, "--sigma-end", 0.01)
    spec = answer(run_cli("two-class", "--law", "uniform", "--strength", 2, *options, *FEW, "--json"))["spec"]
    assert (spec["lam"], spec["score_error"], spec["error_kind"]) == (1.0, 0.05, "missing-pullback")
    assert (spec["seed"], spec["sigma_end"], spec["samples"], spec["steps"]) == (4, 0.01, 60, 60)


@pytest.mark.slow
def test_dimension_start_and_time_reach_the_run_and_the_theory(run_cli: Run) -> None:
    options = ("--dim", 4, "--t-max", 3, "--start", "exact", "--sde")
    found = answer(run_cli("two-class", "--law", "gaussian", "--strength", 0, *options, *FEW, "--json"))
    assert (found["spec"]["dim"], found["spec"]["t_max"], found["spec"]["start"]) == (4, 3.0, "exact")
    assert (found["sde_mean"], found["sde_std"]) == (pytest.approx(2.0), pytest.approx(1.0))
    assert found["flow_mean"] is None


@pytest.mark.slow
def test_recommended_strengths(run_cli: Run) -> None:
    found = answer(run_cli("two-class", "--law", "uniform", "--strength", 1, "--recommend", *FEW, "--json"))
    assert 1.5 < found["largest_monotone_strength"] < 1.65


@pytest.mark.slow
def test_the_figure_and_the_table(run_cli: Run, tmp_path: Path) -> None:
    run = run_cli("two-class", "--law", "uniform", "--strength", 3, "--out", tmp_path / "end.svg", *FEW)
    assert run.status == 0
    assert "off support fraction" in run.out
    assert "d = 1, prior start at t = 1e+10" in run.out
    assert {path.name for path in tmp_path.iterdir()} == {"end.svg", "end.png"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--law", "normal", "--strength", 1), "normal"),
        (("--law", "uniform"), "--strength"),
        (("--law", "uniform", "--strength", -3), "strength must be finite and >= -1"),
        (("--law", "uniform", "--strength", 1, "--samples", 1), "samples must be at least 2"),
        (("--law", "uniform", "--strength", 1, "--steps", 0), "steps must be at least 1"),
        (("--law", "uniform", "--strength", 1, "--sigma-end", 0), "sigma_end"),
        (("--law", "uniform", "--strength", 1, "--dim", 2), "of 1 for the uniform law"),
        (("--law", "gaussian", "--strength", 1, "--dim", 0), "dimension of 1 or more"),
        (("--law", "gaussian", "--strength", 1, "--dim", 10**9), "lower --samples or --dim"),
        (("--law", "gaussian", "--strength", 1, "--t-max", 0), "t_max must be above 0"),
        (("--law", "gaussian", "--strength", 1, "--t-max", "nan"), "t_max must be above 0"),
        (("--law", "uniform", "--strength", 1, "--t-max", 1e-9), "t_max must be above 2.025e-05"),
        (("--law", "gaussian", "--strength", 1, "--start", "later"), "later"),
        (("--law", "uniform", "--strength", 1, "--score-error", -1), "size of a score error"),
        (("--law", "uniform", "--strength", 1, "--error-kind", "wild"), "wild"),
        (("--law", "gaussian", "--strength", 1, "--score-error", 1, "--error-kind", "missing-pullback"), "uniform law"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_unusable_input_is_one_clear_line(run_cli: Run, arguments: tuple[object, ...], message: str) -> None:
    run = run_cli("two-class", *arguments)
    assert run.status == 2
    assert message in run.err
    assert len(run.err.strip().splitlines()) == 1
    assert run.out == ""
