"""Forecasts: a surrogate against the pipeline that it stands for, its intervals, and what cannot be forecast."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("diffusers")

import orthoscope as osc
from orthoscope import rng
from orthoscope.errors import ConfigError
from orthoscope.forecasts import Forecast, Forecaster
from orthoscope.forecasts.forecaster import LEVEL
from orthoscope.forecasts.plan import usual
from orthoscope.forecasts.propose import candidates, propose, read_forecaster
from orthoscope.forecasts.regression import Kernels, Regression
from orthoscope.guidance.grammar import format_schedule, parse_schedule
from orthoscope.guidance.rules import parse_rule
from orthoscope.integrations.host import Host, host_of
from orthoscope.integrations.hub import rescheduled
from orthoscope.integrations.shipped import DIGITS, read_class_pipeline
from orthoscope.integrations.twin import twin_of
from orthoscope.sweeps.cells import Cells

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
TURNING = parse_schedule("step:early=2,late=-0.5,switch=60%")


def affine(scheduler: str = "DPMSolverMultistepScheduler") -> Host:
    """Three classes of a common covariance in sixteen pixels, beside one Gaussian that does not know them."""
    stream = rng.stream(3, "affine")
    labels = np.repeat(np.arange(3), 12)
    points = 0.6 * stream.standard_normal((36, 1, 4, 4)) + stream.standard_normal((3, 1, 4, 4))[labels]
    pipe = read_class_pipeline(DIGITS.file)
    pipe.scheduler = rescheduled(pipe.scheduler, scheduler)
    return twin_of(host_of(pipe), (points.astype(np.float32), labels), law="gaussian")


def plan(**given: Any) -> Forecast:
    settings: dict[str, Any] = {
        "prompts": ("0", "1", "2"), "schedules": (TURNING,), "strength": 2.0, "images_per_prompt": 6, "steps": 8
    }  # fmt: skip
    return Forecast(**settings | given)


def forecaster(host: Host, asked: Forecast, **given: Any) -> Forecaster:
    return Forecaster.of(asked.completed(host), host, **given)


def test_an_affine_answer_is_found_wherever_states_are() -> None:
    stream = rng.stream(1, "regression")
    prompts, slope = np.repeat([0, 1], 20), stream.standard_normal((3, 5))
    offsets = 4 * stream.standard_normal((2, 5))
    x, elsewhere = stream.standard_normal((40, 3)), 2 * stream.standard_normal((40, 3))
    kernels = Kernels.of(x, prompts)
    fitted = Regression.fitted(kernels, x @ slope + offsets[prompts])
    truth = elsewhere @ slope + offsets[prompts]
    off = fitted(kernels.to(elsewhere, prompts)) - truth
    assert np.square(off).mean() < 2e-3 * truth.var()
    assert np.abs(fitted(kernels.to(x, prompts)) - (x @ slope + offsets[prompts])).max() < 1e-2
    mistaken = fitted(kernels.to(elsewhere, 1 - prompts)) - truth
    assert np.square(mistaken).mean() > 0.5 * truth.var()  # prompts matter


def test_what_is_an_image_s_own_is_met_in_all_of_its_runs_however_many_images_there_are() -> None:
    stream, images, runs = rng.stream(2, "regression"), 120, 3
    x = np.tile(stream.standard_normal((images, 30)), (runs, 1)) + 0.1 * stream.standard_normal((images * runs, 30))
    own = np.tile(stream.standard_normal((images, 4)), (runs, 1)) + x[:, :4]
    kernels = Kernels.of(x, np.zeros(len(x), dtype=int))
    fitted = Regression.fitted(kernels, own, runs=runs)
    assert np.abs(fitted(kernels.among()) - own).max() < 1e-3


@pytest.fixture(scope="module")
def made() -> Forecaster:
    """An affine pipeline recorded, with its surrogate."""
    return forecaster(affine(), plan())


@pytest.mark.parametrize("scheduler", ["DDPMScheduler", "DPMSolverMultistepScheduler"])
def test_an_affine_pipeline_is_made_again_under_schedules_and_rules_that_were_not_recorded(scheduler: str) -> None:
    host = affine(scheduler)
    made = forecaster(host, plan())
    assert max(made.unfaithful.values()) < 1e-3
    recorded = [run.final for run in made.runs.values()]
    seeds = np.array(made.replay.seeds).reshape(3, -1).tolist()
    for text, name in (("step:early=2,late=-0.5,switch=60%", "cfg"), ("constant:1", "rescale:phi=0.7")):
        schedule, rule = parse_schedule(text), parse_rule(name)
        truth = np.concatenate([
            host.generate(prompt, seeds[k], schedule, rule=rule, steps=8).latents.reshape(6, -1)
            for k, prompt in enumerate(made.plan.prompts)
        ])  # fmt: skip
        off = np.square(made.replay(schedule, rule) - truth).sum()
        assert off < 0.02 * min(np.square(run - truth).sum() for run in recorded)


def test_idle_schedules_are_ties_and_their_intervals_join_both_errors(made: Forecaster) -> None:
    constant, idle = (made.foresee(parse_schedule(text)) for text in ("constant:2", "step:early=2,late=-9,switch=100%"))
    assert idle.distance == pytest.approx(0, abs=0.02)
    assert idle.outside is False  # it is never there
    for name, measure in constant.measures.items():
        assert idle.measures[name].value == measure.value
    turning, beyond = made.foresee(TURNING), made.foresee(parse_schedule("constant:5"))
    assert turning.outside is False
    assert beyond.outside
    assert beyond.distance > turning.distance > 10 * constant.distance
    for one in (constant, turning):
        found = one.measures["variance_ratio"]
        assert found.low < found.value < found.high
        assert found.stderr > 0.2 * one.distance  # at least that of the surrogate
    assert made.plan.recorded[-1] == parse_schedule("step:early=2,late=-1,switch=50%")
    milder = replace(made.plan, schedules=(parse_schedule("constant:1"),))
    assert milder.recorded[-1] == parse_schedule("step:early=2,late=0,switch=50%")  # nothing asks for less
    assert LEVEL == 0.9


def test_what_was_recorded_is_found_again_and_of_no_other_model(tmp_path: Path) -> None:
    host, cells = affine(), Cells(tmp_path)
    first = forecaster(host, plan(), cells=cells)
    again = forecaster(host, plan(), cells=cells, may_ask=False)
    assert again.foresee(TURNING) == first.foresee(TURNING)
    assert first.calls == 3 * 3 * 6 * 8 * 2
    with pytest.raises(ConfigError, match="of another model"):
        forecaster(affine("DDPMScheduler"), plan(), cells=cells, may_ask=False)
    (tmp_path / "spec.json").write_text('{"type": "Calibration"}')
    with pytest.raises(ConfigError, match="holds no forecast"):
        read_forecaster(tmp_path)


def test_a_proposal_keeps_its_floor_and_is_no_worse_than_constants(made: Forecaster) -> None:
    among = candidates(made.plan)[::6]
    found = propose(made, 0.6, among=among)
    assert found.tried == len(among)
    assert found.best.measures["variance_ratio"].low >= 0.6
    assert found.constant is not None
    assert found.best.measures["mean_shift"].value >= found.constant.measures["mean_shift"].value
    with pytest.raises(ConfigError, match="none of"):
        propose(made, 1.9, among=[parse_schedule("constant:2")])
    with pytest.raises(ConfigError, match="between 0 and 2"):
        propose(made, -1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"images_per_prompt": 3}, "at least 4"),
        ({"steps": 3}, "at least 4"),
        ({"strength": 0.0}, "above 0"),
        ({"prompts": ("1", "1")}, "twice"),
        ({"prompts": ("1",)}, "two or more"),
        ({"schedules": ("step:early=3",)}, "missing|late"),
        ({"schedules": "steep:early=3"}, "steep"),
        ({"floor": 1}, "floor"),
        ({"pipeline_scheduler": "HeunDiscreteScheduler"}, "twice in a step"),
    ],
)
def test_what_cannot_be_forecast_is_refused_in_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        osc.forecast("digits", **{"prompts": ("0", "1"), "steps": 6, "images_per_prompt": 4} | given)
    assert "\n" not in str(caught.value)


def test_thirty_schedules_of_five_shapes_are_usual() -> None:
    assert len({format_schedule(schedule) for schedule in usual(6.5)}) == 30
    assert max(schedule.early for schedule in usual(6.5) if hasattr(schedule, "early")) == 6.5
