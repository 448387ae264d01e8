"""Commands through `main(argv)`: the JSON that other programs read, and what people see."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

from orthoscope import theory
from orthoscope.guidance.schedules import Constant, Linear, Step
from orthoscope.settings import Setting
from tests.conftest import Finished

Run = Callable[..., Finished]
PREDICT_KEYS = {
    "regime", "speciation_time", "capture_time", "mean_shift", "variance_shift", "variance_ratio", "critical_rate",
    "spec",
}  # fmt: skip
SMALL = ("--dim", 8, "--rate", 0.3, "--std", 0.5, "--samples", 32, "--draws", 2, "--steps", 6, "--quiet")


def answer(run: Finished) -> dict[str, Any]:
    """The one JSON object on standard output."""
    assert run.status == 0, run.err
    found = json.loads(run.out)
    assert isinstance(found, dict)
    return found


def test_predict_gives_the_documented_keys_and_the_theory_s_numbers(run_cli: Run) -> None:
    found = answer(run_cli("predict", "--rate", 0.2, "--std", 0.5, "--strength", 1, "--json"))
    expected = theory.predict(Setting.of(rate=0.2, std=0.5, schedule=Constant(value=1.0)))
    assert found.keys() >= PREDICT_KEYS
    assert found["regime"] == "committed"
    assert found["capture_time"] is None
    for name in ("speciation_time", "mean_shift", "variance_shift", "variance_ratio", "critical_rate"):
        assert found[name] == getattr(expected, name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        (
            ["--schedule", "linear:w0=-0.2,slope=0.3", "--t-max", 10],
            {"schedule": Linear(w0=-0.2, slope=0.3), "t_max": 10.0},
        ),
        (
            ["--schedule", "step:early=3,late=-1,switch=4", "--ode"],
            {"schedule": Step(early=3, late=-1, switch=4), "lam": 0.0},
        ),
        (
            ["--strength", 2, "--t-max", 50, "--start", "exact"],
            {"schedule": Constant(value=2), "t_max": 50.0, "start": "exact"},
        ),
        (["--strength", 2, "--ensemble", "sphere"], {"schedule": Constant(value=2), "ensemble": "sphere"}),
        (["--strength", 2, "--dim", 64], {"schedule": Constant(value=2), "dim": 64}),
    ],
)
def test_predict_options_reach_the_theory(run_cli: Run, arguments: list[object], setting: dict[str, Any]) -> None:
    found = answer(run_cli("predict", "--rate", 0.2, "--std", 0.5, *arguments, "--json"))
    assert found["mean_shift"] == theory.predict(Setting.of(rate=0.2, std=0.5, **setting)).mean_shift


@pytest.mark.slow
def test_classes_and_dim_are_a_rate(run_cli: Run) -> None:
    found = answer(run_cli("predict", "--classes", 1000, "--dim", 20, "--std", 0.5, "--strength", 1, "--json"))
    assert found["spec"]["setting"]["law"]["classes"] == 1000
    rate = answer(run_cli("predict", "--rate", np.log(1000) / 20, "--dim", 20, "--std", 0.5, "--strength", 1, "--json"))
    assert found["mean_shift"] == pytest.approx(rate["mean_shift"], rel=1e-12)
    assert 0 < found["class_posterior"] <= 1


def test_no_speciation_is_null_and_says_on_which_side_of_the_critical_rate(run_cli: Run) -> None:
    found = answer(run_cli("predict", "--rate", 0.9, "--std", 0.5, "--strength", 0, "--json"))
    assert found["regime"] == "dense"
    assert found["speciation_time"] is None
    assert found["critical_rate"] == pytest.approx(np.log(5) / 2, rel=1e-12)
    assert "above the critical rate" in found["diagnosis"]


def test_a_step_clock_schedule_means_steps_of_the_geometric_grid(run_cli: Run) -> None:
    common = ("predict", "--rate", 0.9, "--std", 0.5, "--t-max", 50, "--json")
    found = answer(run_cli(*common, "--schedule", "step:early=3,late=0,switch=50%", "--steps", 2))
    middle = float(0.25 * np.sqrt(50.25 / 0.25) - 0.25)
    expected = answer(run_cli(*common, "--schedule", f"step:early=3,late=0,switch={middle!r}"))
    assert found["mean_shift"] == pytest.approx(expected["mean_shift"], rel=1e-9)


@pytest.mark.slow
def test_simulate_gives_the_documented_keys(run_cli: Run) -> None:
    found = answer(run_cli("simulate", *SMALL, "--strength", 1, "--json"))
    for name in ("mean_shift", "variance_shift", "class_posterior"):
        assert found[name].keys() >= {"value", "stderr"}
        assert found[name]["stderr"] > 0
    for name in ("mean_field", "finite_dim"):
        assert found["theory"][name].keys() >= PREDICT_KEYS
    expected = theory.predict(Setting.of(rate=0.3, std=0.5, schedule=Constant(value=1), t_max=50, dim=8))
    assert found["theory"]["finite_dim"]["mean_shift"] == expected.mean_shift
    assert found["model_calls"] == 2 * (6 * 2 * 2)  # draws, steps, two evaluations a step, two models
    assert found["seconds"] > 0
    assert isinstance(found["diagnosis"], str)


@pytest.mark.slow
def test_equal_seeds_give_equal_numbers_and_other_seeds_others(run_cli: Run) -> None:
    values = [
        answer(run_cli("simulate", *SMALL, "--strength", 1, "--seed", seed, "--json"))["mean_shift"]["value"]
        for seed in (3, 3, 4)
    ]
    assert values[0] == values[1]
    assert values[0] != values[2]


@pytest.mark.slow
def test_planted_says_where_it_is_invalid(run_cli: Run) -> None:
    found = answer(run_cli("simulate", *SMALL, "--strength", -0.7, "--planted", "--json"))
    assert "captured" in found["diagnosis"]
    assert "planted ensemble is not valid below t = " in found["diagnosis"]


def test_planted_takes_more_classes_than_floats_can_count(run_cli: Run) -> None:
    found = answer(run_cli("simulate", "--dim", 2000, "--rate", 1.5, "--std", 0.5, "--strength", 1, "--planted",
                           "--samples", 16, "--draws", 1, "--steps", 4, "--quiet", "--json"))  # fmt: skip
    assert np.isfinite(found["mean_shift"]["value"])
    assert "no speciation" in found["diagnosis"]


def test_gaussian_gives_the_known_example(run_cli: Run) -> None:
    """Conditional N(0, 1) in N(0, 2) at scale 7: arXiv 2408.09000 gives 0.1538, 0.0156 and 0.25."""
    pair = (
        "gaussian",
        "--cond-mean",
        0,
        "--cond-var",
        1,
        "--uncond-mean",
        0,
        "--uncond-var",
        2,
        "--strength",
        6,
        "--json",
    )
    sde, ode = answer(run_cli(*pair)), answer(run_cli(*pair, "--ode"))
    assert sde.keys() >= {"mean", "variance", "tilted_mean", "tilted_variance", "fisher"}
    assert sde["variance"] == pytest.approx(2 * (1 - 2.0**-13) / 13, rel=1e-12)
    assert ode["variance"] == pytest.approx(2.0**-6, rel=1e-12)
    assert sde["tilted_variance"] == pytest.approx(0.25, rel=1e-12)


def test_gaussian_without_a_tilted_law_says_null(run_cli: Run) -> None:
    found = answer(run_cli("gaussian", "--cond-mean", 0, "--cond-var", 2, "--uncond-mean", 0, "--uncond-var", 1,
                           "--strength", 2, "--json"))  # fmt: skip
    assert found["tilted_mean"] is None
    assert found["tilted_variance"] is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("rate-strength", ["--rate", "0.1:1.2:7", "--strength", "0:3:5"]),
        ("window", ["--rate", 0.7, "--t-max", 10, "--w0=-1:0.5:7", "--slope", "0:1:5"]),
    ],
)
def test_phase_writes_a_dataset_and_a_figure(run_cli: Run, tmp_path: Any, name: str, axes: list[object]) -> None:
    out = tmp_path / "new" / "diagram.nc"
    found = answer(run_cli("phase", name, "--std", 0.5, *axes, "--out", out, "--json"))
    assert found["points"] == 35
    with xr.open_dataset(out, engine="h5netcdf") as diagram:
        assert {"mean_shift", "variance_shift", "region", "speciation_time"} <= set(diagram.data_vars)
        assert diagram["mean_shift"].attrs["long_name"] == "mean shift"
        assert not (diagram["speciation_time"] < 0).any()
        lost = diagram["region"] == "lost"
        assert lost.any() == (name == "window")
    assert out.with_suffix(".svg").exists()
    assert out.with_suffix(".png").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("gaussian", "--cond-mean", 1, "--cond-var", 0.5, "--uncond-mean", 0.2, "--uncond-var", 2, "--strength", 2),
        ("predict", "--rate", 0.2, "--std", 0.5, "--strength", 1),
        ("simulate", *SMALL, "--strength", 1),
    ],
)
def test_people_see_every_number_that_programs_get(run_cli: Run, arguments: tuple[object, ...]) -> None:
    found, shown = answer(run_cli(*arguments, "--json")), run_cli(*arguments).out
    numbers = {name: value for name, value in found.items() if isinstance(value, float)}
    estimates = {name: value["value"] for name, value in found.items() if isinstance(value, dict) and "stderr" in value}
    assert numbers or estimates
    texts = {name: f"{value:.6g}" for name, value in numbers.items() if name not in ("log_classes", "seconds")}
    for name, text in {**texts, **{name: f"{value:.4g}" for name, value in estimates.items()}}.items():
        assert text in shown, name


def test_people_get_a_table_and_a_sentence(run_cli: Run) -> None:
    run = run_cli("predict", "--rate", 0.2, "--std", 0.5, "--strength", 1)
    assert run.status == 0
    assert "mean shift" in run.out
    assert "committed: the class is decided" in run.out + run.err


def test_version_and_help(run_cli: Run) -> None:
    from orthoscope import __version__

    assert run_cli("--version").out.strip() == f"orthoscope {__version__}"
    shown = run_cli("-h").out
    assert shown == run_cli("--help").out == run_cli().out
    for verb in ("demo", "predict", "simulate", "gaussian", "phase"):
        assert verb in shown


def test_help_is_in_groups_and_whole_sentences(run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = run_cli("-h").out.splitlines()
    assert max(map(len, shown)) <= 80
    assert not any(line.endswith("...") for line in shown[1:])
    assert [line for line in shown if line.endswith(":") and not line.startswith(" ")][1:4] == [
        "Start here:", "Your pipeline:", "Exact truth:",
    ]  # fmt: skip
    last = run_cli("audit", "-h").out.partition("Output:")[2]
    assert "--json" in last
    assert "--help" in last


@pytest.mark.parametrize("group", ["train", "bench", "phase", "data", "study"])
def test_a_group_without_a_command_says_what_there_is(run_cli: Run, group: str) -> None:
    run = run_cli(group)
    assert run.status == 0, run.err
    assert {"train": "glyphs-10", "bench": "engine", "phase": "window", "data": "glyphs", "study": "approach"}[
        group
    ] in run.out


def test_a_guidance_scale_is_a_strength_less_one(run_cli: Run) -> None:
    law = ("predict", "--rate", 0.2, "--std", 0.5, "--json")
    expected = answer(run_cli(*law, "--strength", 0.1))
    assert (
        answer(run_cli(*law, "--strength", "scale:1.1")) == answer(run_cli(*law, "--schedule", "scale:1.1")) == expected
    )
