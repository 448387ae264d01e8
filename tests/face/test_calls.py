"""What an ill-willed user gives to a verb: one clear line that names the argument, and the nearest that there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import orthoscope as osc
from orthoscope import registered
from orthoscope.designs.check import Verification
from orthoscope.errors import CallError, ConfigError, OrthoscopeError, ShapeError
from orthoscope.face.asked import audit_job
from orthoscope.guidance.rules.given import as_rule
from orthoscope.settings import Setting
from orthoscope.simulation.setting import Simulation

LAW = osc.RandomMixture(rate=0.7, std=0.5)
SETTING = Setting(law=LAW, schedule=3.0, t_max=10)
HUGE = 10**400  # no floating-point number is as large
X, Y = np.array([[-1.0, 0.2], [-0.8, 0.0], [-1.1, -0.3], [1.0, 0.1], [0.9, -0.2], [1.2, 0.3]]), [0, 0, 0, 1, 1, 1]
FEW = {"n": 8, "steps": 2, "label": 1}
pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.fixture(scope="module")
def data() -> Any:
    return osc.mixture(X, labels=Y, std=0.3)


class Arrays(osc.Rule):
    """A rule that answers in arrays of numpy."""

    def __call__(self, x: Any, level: Any, predictions: Any, w: Any, memory: Any) -> Any:
        return predictions["cond"].numpy(), memory


def refused(call: Callable[[], object], kind: type[Exception] = OrthoscopeError) -> Any:
    with pytest.raises(kind) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    return caught.value


@pytest.mark.parametrize(
    ("call", "field", "told"),
    [
        (lambda: osc.predict(LAW, 1.0, strat="exact"), "strat", "'start'"),
        (lambda: osc.predict(LAW, schedul=1.0), "schedul", "'schedule'"),
        (lambda: osc.predict(), "law", "`law`"),
        (lambda: osc.simulate(LAW, 1.0, dim=8, drws=3), "drws", "'draws'"),
        (lambda: osc.sample(osc.Mixture, labl=3), "labl", "'label'"),
        (lambda: osc.mixture(X, label=Y), "label", "'labels'"),
        (lambda: osc.compare("digits", ["cfg"], strengt=3), "strengt", "'strength'"),
        (lambda: osc.design(LAW, maximise="mean_shift"), "maximise", "'maximize'"),
        (lambda: osc.measure(samples=1, label=1), "label", "samples"),
        (lambda: osc.read(foldr="x"), "foldr", "'folder'"),
        (lambda: osc.guided(None, 1.0, rul="cfg"), "rul", "'rule'"),
        (lambda: osc.rule("mine", linea=True), "linea", "'linear'"),
        (lambda: osc.schedule("mine", switchs=[1]), "switchs", "'switches'"),
        (lambda: osc.denoiser(lambda x, sigma, label: x, predict="noise"), "predict", "'predicts'"),
        (lambda: osc.RandomMixture(rat=0.5, std=1), "rat", "'rate'"),
        (lambda: Simulation.of(dim=3, rate=0.5, std=0.5, schedule=1.0, smaples=3), "smaples", "'samples'"),
        (lambda: SETTING.but(tmax=3), "tmax", "'t_max'"),
    ],
)
def test_an_argument_that_does_not_exist_is_told_with_the_nearest(
    call: Callable[[], object], field: str, told: str
) -> None:
    error = refused(call, CallError)
    assert isinstance(error, TypeError)
    assert error.fields == (field,)
    assert told in str(error)


def test_arguments_in_a_row_are_counted() -> None:
    assert "4 in a row" in str(refused(lambda: osc.predict(LAW, 1, 2, 3), CallError))  # type: ignore[misc]
    assert refused(lambda: osc.predict(LAW, 1, schedule=2), CallError).fields == ("schedule",)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: osc.predict(LAW, HUGE), "schedule"),
        (lambda: osc.predict(LAW, 1e300), "schedule"),
        (lambda: osc.predict(LAW, np.nan), "schedule"),
        (lambda: osc.predict(LAW, lambda level: "x"), "schedule"),
        (lambda: osc.predict(LAW, 1.0, dim=10**30), "dim"),
        (lambda: osc.predict(LAW, 1.0, start=["prior"]), "start"),
        (lambda: osc.predict(LAW, 1.0, steps="4"), "steps"),
        (lambda: osc.predict("digits", 1.0), "law"),
        (lambda: osc.predict(SETTING, dim=3), "dim"),
        (lambda: osc.predict(SETTING, ode=True), "ode"),
        (lambda: osc.simulate(Simulation.of(rate=0.5, std=0.5, schedule=1.0, dim=4, t_max=9), draws=3), "draws"),
        (lambda: osc.simulate(LAW, 1.0, dim=6, samples=10**15), "samples"),
        (lambda: osc.simulate(LAW, 1.0, dim=6, steps=10**15), "steps"),
        (lambda: osc.simulate(LAW, 1.0, dim=6, modes=3), "modes"),
        (lambda: osc.design(LAW, maximize="mean_shift", low=3, high=1), "low"),
        (lambda: osc.design(LAW, maximize="mean_shift", margin_strength="a"), "margin_strength"),
        (lambda: osc.design(LAW, maximize="mean_shift", samples="a"), "samples"),
        (lambda: osc.design(LAW, maximize="mean_shift", samples=-3), "samples"),
        (lambda: osc.design(LAW, maximize="mean_shift", keep={"variance_ratio": np.nan}), "variance_ratio"),
        (lambda: osc.design(LAW, mean_shift="a"), "mean_shift"),  # type: ignore[arg-type]
        (lambda: osc.design(LAW, maximize="mean_shift", simulate="yes"), "simulate"),  # type: ignore[arg-type]
        (lambda: osc.mixture(np.zeros((0, 2)), labels=[]), "x"),
        (lambda: osc.mixture([[]]), "x"),
        (lambda: osc.mixture(np.full((3, 2), np.nan), std=1.0), "x"),
        (lambda: osc.mixture(X * 1e200, labels=Y), "x"),
        (lambda: osc.mixture(torch.ones(4, 2, device="meta")), "x"),
        (lambda: osc.mixture(X, labels=[0] * 6), "labels"),
        (lambda: osc.mixture(X, labels=[0.0, 0, 0, 1, 1, 1e30]), "labels"),
        (lambda: osc.mixture(X, labels=Y, std=0.3, weights=-np.ones(6)), "weights"),
        (lambda: osc.measure(X), "samples"),
        (lambda: osc.sample(X, 1.0), "target"),
        (lambda: osc.compare(LAW, ["cfg"]), "target"),
        (lambda: osc.compare(osc.predict(LAW, 1.0), ["cfg"]), "rules"),
        (lambda: osc.read("a\0b"), "folder"),
        (lambda: osc.read("x" * 5000), "folder"),
        (lambda: osc.audit("digits", [3], steps="a"), "steps"),
        (lambda: osc.audit("digits", [3], batch=2.5), "batch"),
        (lambda: osc.calibrate("digits", [3, 5], strengths=["a"]), "strengths"),
        (lambda: osc.calibrate("digits", [3, 5], images_per_prompt="a"), "images_per_prompt"),
        (lambda: osc.audit("digits", [3], remark=3), "remark"),
        (lambda: osc.guided(None, 1.0, layout=3).__enter__(), "layout"),  # type: ignore[arg-type]
        (lambda: osc.rule(3), "name"),
        (lambda: osc.schedule(3), "name"),
    ],
)
def test_a_value_that_cannot_be_is_told_with_its_argument(call: Callable[[], object], field: str) -> None:
    assert refused(call).fields[0] == field


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"label": 9}, "label"),
        ({"label": 10**30}, "label"),
        ({"n": 10**14}, "n"),
        ({"steps": 10**12}, "steps"),
        ({"t_max": 1e-300}, "t_max"),
        ({"step": "nostep"}, "step"),
        ({"rule": Arrays()}, "rule"),
        ({"rule": lambda x, level, p, w: p["cond"].numpy()}, "rule"),
        ({"rule": lambda x, level, p, w: p["cond"] * np.nan}, "rule"),
        ({"rule": lambda x, level, p, w: p["cond"][:, :1]}, "rule"),
        ({"rule": lambda x, level, p, w: p["kond"]}, "rule"),
        ({"schedule": np.inf}, "schedule"),
    ],
)
def test_what_samples_cannot_be_made_of_is_told(data: Any, given: dict[str, Any], field: str) -> None:
    assert refused(lambda: osc.sample(data, **{"schedule": 1.0, **FEW, **given})).fields[0] == field


def test_half_precision_and_plain_lists_are_numbers() -> None:
    half = osc.mixture(torch.tensor(X).bfloat16(), labels=Y, std=0.3)
    assert torch.equal(half.table[:, :2] + half.center, torch.tensor(X).bfloat16().float())


def test_numbers_of_other_libraries_are_those_of_python() -> None:
    made = Verification(samples=np.int64(64), draws=torch.tensor(2), steps=4)
    assert [type(value) for value in (made.samples, made.draws, made.steps)] == [int, int, int]


def test_one_rule_needs_no_list() -> None:
    assert refused(lambda: osc.compare(osc.mixture(X, labels=Y, std=0.3), 3)).fields == ("rule",)
    assert as_rule(Arrays()).needs == ("cond", "uncond")
    with pytest.raises(ShapeError):
        osc.mixture(X, labels=Y[:-1])
    with pytest.raises(ConfigError):
        osc.compare(osc.mixture(X, labels=Y, std=0.3), [])


def test_workers_take_no_rule_or_schedule_that_only_this_process_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry in (registered.RULES, registered.SCHEDULES):
        monkeypatch.setattr(registry, "_things", {})
    osc.schedule("here")(lambda level: 1.5)
    osc.rule("here")(lambda x, level, predictions, w: predictions["cond"])
    for own in ({"schedules": [0, "here"]}, {"current": "here"}, {"rule": "here"}):
        error = refused(lambda own=own: osc.audit("digits", [3], workers=2, **own), ConfigError)  # type: ignore[misc]
        assert error.fields == ("rule" if "rule" in own else "schedule", "workers")
    place = "tests.guidance.mine:straight"
    audit_job("digits", ["3"], {"rule": place, "schedules": [0, 2], "workers": 2})  # every process finds it
