"""The verbs of the exact laboratory, as people type them."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import orthoscope as osc
from orthoscope import theory
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant, Step
from orthoscope.quantities import Estimate
from orthoscope.settings import Setting
from orthoscope.simulation.setting import Simulation

LAW = osc.RandomMixture(rate=0.7, std=0.5)
WINDOW = Step(early=3, late=-1, switch=1)


def test_a_prediction_is_that_of_theory() -> None:
    found = osc.predict(LAW, 3.0, t_max=10)
    expected = theory.predict(Setting(law=LAW, schedule=Constant(value=3.0), t_max=10))
    assert found["mean_shift"] == expected.mean_shift
    assert found["regime"] == expected.regime
    here = osc.predict(LAW, 3.0, t_max=10, dim=32)
    assert here["class_posterior"] == theory.predict(expected.setting.__class__.of(
        rate=0.7, std=0.5, schedule=Constant(value=3.0), t_max=10, dim=32)).class_posterior  # fmt: skip
    assert here.plot()._repr_png_().startswith(b"\x89PNG")  # notebooks show it without pyplot


def test_whatever_stands_for_a_schedule_is_one(tmp_path: Path) -> None:
    osc.write_schedule(WINDOW, tmp_path / "window.json")
    given = ("step:early=3,late=-1,switch=1", tmp_path / "window.json", str(tmp_path / "window.json"), WINDOW)
    shifts = {osc.predict(LAW, one, t_max=10)["mean_shift"] for one in given}
    assert len(shifts) == 1
    assert {osc.as_schedule(one) for one in (3, 3.0, np.float32(3), "constant:3")} == {Constant(value=3.0)}


def test_a_run_has_estimates_data_and_theory_beside_it() -> None:
    run = osc.simulate(LAW, 3.0, dim=8, t_max=10, draws=4, samples=32, steps=8, seed=3, progress=False)
    assert isinstance(run["mean_shift"], Estimate)
    assert {"overlap", "overlap_stderr", "mean_shift_finite_dim"} <= set(run.data)
    assert run.data.sizes["time"] >= 9
    compared = osc.compare(run)
    rows = {row["quantity"]: row for row in compared.numbers["quantities"]}
    here = theory.predict(Setting(law=LAW, schedule=Constant(value=3.0), t_max=10, dim=8))
    assert rows["mean_shift"]["finite_dim"] == here.mean_shift
    slack = 0.15 * here.mean_shift  # the theory's stated accuracy in so few dimensions
    assert rows["mean_shift"]["z"] == pytest.approx(run["mean_shift"].z(here.mean_shift, slack=slack))
    assert rows["class_posterior"]["z"] == pytest.approx(run["class_posterior"].z(here.class_posterior))
    for shown in (repr(run), repr(compared)):
        assert len(shown) < 1500
        assert max(map(len, shown.splitlines())) <= 100
    same = osc.simulate(Simulation.of(dim=8, rate=0.7, std=0.5, schedule=Constant(value=3.0), t_max=10, draws=4,
                                      samples=32, steps=8, seed=3))  # fmt: skip
    assert same["mean_shift"] == run["mean_shift"]


def test_progress_is_told() -> None:
    seen: list[tuple[int, int, str]] = []
    osc.simulate(LAW, 1.0, dim=6, t_max=10, draws=2, samples=16, steps=4, progress=lambda *done: seen.append(done))
    assert seen[-1][0] == seen[-1][1]
    assert {what for *_, what in seen} == {"sampling"}


def test_a_design_has_a_schedule_that_other_verbs_take() -> None:
    law = osc.RandomMixture(rate=1.2, std=0.5)  # too many classes to commit: the search is smooth, and short
    best = osc.design(law, mean_shift=0.05, high=3, t_max=10, simulate=False, margin_strength=0, margin_switch="0")
    assert best["mean_shift"] == pytest.approx(0.05, abs=1e-6)
    for given in (best, best.schedule):
        assert osc.predict(law, given, t_max=10)["mean_shift"] == pytest.approx(best["mean_shift"], abs=1e-6)
    assert best.plot().axes
    with pytest.raises(ConfigError, match="finds no schedule"):
        osc.predict(LAW, 1.0).schedule  # noqa: B018


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: osc.predict(LAW), "expected a `schedule` after the law"),
        (lambda: osc.predict(LAW, [3.0]), "a `schedule` is a number"),
        (lambda: osc.predict(LAW, "constnat:3"), "did you mean 'constant'"),
        (lambda: osc.predict(np.eye(3), 1.0), "expected a law such as RandomMixture"),
        (lambda: osc.predict(Setting(law=LAW, schedule=WINDOW), 1.0), "has a schedule already"),
        (lambda: osc.simulate(LAW, 1.0), "`dim` is needed"),
        (lambda: osc.simulate(LAW, 1.0, dim=8, sample=3), "sample"),
        (lambda: osc.design(LAW, maximize="mean_shift", keep={"variance": 1.0}), "`keep` holds least values"),
        (lambda: osc.design(LAW, maximize="mean-shfit"), "mean_shift"),
        (lambda: osc.design(np.eye(2), maximize="mean_shift"), "expected a RandomMixture"),
        (lambda: osc.design("digits", maximize="mean_shift"), "`label`"),
        (lambda: osc.compare(osc.predict(LAW, 1.0)), "expected what `simulate` returns"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(call: object, match: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        call()  # type: ignore[operator]
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: osc.RandomMixture(rate="a", std=0.5), "`rate` must be a number"),
        (lambda: osc.RandomMixture(rate=0.5, std=None), "`std` must be a number"),
        (lambda: osc.RandomMixture(classes=2.5, std=0.5), "`classes` must be a whole number"),
        (lambda: osc.predict(LAW, 1.0, t_max="a"), "`t_max` must be a number"),
        (lambda: osc.predict(LAW, 1.0, ode="no"), "`ode` is True or False"),
        (lambda: osc.simulate(LAW, 1.0, dim=12.0), "`dim` must be a whole number, got 12.0"),
        (lambda: osc.simulate(LAW, 1.0, dim=8, samples=100.0), "`samples` must be a whole number"),
        (lambda: osc.simulate(LAW, 1.0, dim=8, draws=2.5), "`draws` must be a whole number"),
        (lambda: osc.simulate(LAW, 1.0, dim=8, seed=1.9), "`seed` must be a whole number"),
        (lambda: osc.simulate(LAW, 1.0, dim=8, progress="yes"), "`progress` is True, False or a function"),
        (lambda: osc.simulate(LAW, 1.0, dim=8, dtype="float16"), "unknown dtype 'float16'"),
        (lambda: osc.simulate(LAW, 1.0, dim=8, device="tpu9"), "device 'tpu9' cannot be used"),
        (lambda: osc.design(LAW, maximize="effort"), "mean_shift"),
        (lambda: osc.design(LAW, maximize="mean_shift", keep=1.0), "`keep` holds least values"),
        (lambda: osc.design(LAW, maximize="mean_shift", keep={"variance_ratio": "a"}), "must be a number"),
        (lambda: osc.predict(LAW, osc.predict(LAW, 1.0)), "finds no schedule"),
    ],
)
def test_values_of_a_wrong_kind_are_said_in_one_line(call: object, match: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        call()  # type: ignore[operator]
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("dtype", ["float64", np.float64, torch.float64])
def test_a_number_type_is_meant_by_any_name(dtype: object) -> None:
    found = osc.simulate(LAW, 1.0, dim=6, t_max=10, draws=2, samples=16, steps=4, dtype=dtype)
    assert found.numbers["spec"]["simulation"]["numerics"]["dtype"] == "float64"


def test_the_package_loads_no_torch_and_shows_its_verbs_and_floors() -> None:
    code = """
import sys
import orthoscope as osc
law = osc.RandomMixture(rate=0.7, std=0.5)
osc.predict(law, 3.0)["mean_shift"]
assert "torch" not in sys.modules
verbs = "predict simulate sample measure compare design guided audit calibrate forecast"
assert set(verbs.split()) <= set(dir(osc))
assert not [name for name in dir(osc) if name.startswith("_") or name in ("face", "errors", "registered")]
osc.metrics.mean_of, osc.theory.predict
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_infinite_starts_are_the_default_of_predictions() -> None:
    assert osc.predict(LAW, 1.0)["mean_shift"] == osc.predict(LAW, 1.0, t_max=math.inf)["mean_shift"]


def test_torch_numbers_are_strengths() -> None:
    assert osc.as_schedule(torch.tensor(2.0).item()) == Constant(value=2.0)


def test_tables_are_not_printed_by_a_notebook_that_asks_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    found = osc.predict(osc.RandomMixture(rate=0.2, std=0.5), 1.0)
    shown = str(found)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert str(found) == shown
