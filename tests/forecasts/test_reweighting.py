"""Weighted paths: what a scheduler does is told by its runs, and recorded runs stand for those of another strength."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("diffusers")

from orthoscope import metrics
from orthoscope.errors import ConfigError
from orthoscope.forecasts.forecaster import BELIEVED, strengths_of
from orthoscope.forecasts.pairs import PairRecorder
from orthoscope.forecasts.reweighting import Reweighting
from orthoscope.forecasts.transitions import transitions
from orthoscope.guidance.grammar import parse_schedule
from orthoscope.guidance.rules import parse_rule
from orthoscope.integrations.batches import Batches
from tests.forecasts.test_forecast import affine, forecaster, plan

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
NOISY = "EulerAncestralDiscreteScheduler"
BETWEEN = parse_schedule("step:early=1,late=0,switch=50%")


def test_a_scheduler_with_noise_is_told_by_its_runs() -> None:
    made = forecaster(affine(NOISY), plan())
    assert made.reweighting is not None
    times = [*next(iter(made.runs.values())).times, 0.0]
    for step, time, after in zip(made.reweighting.steps, times, times[1:], strict=False):
        # The reverse of a Markov chain of Gaussian noise, between an image and the state before.
        assert step.now == pytest.approx(1 - after / time, rel=1e-4)
        assert step.kept == pytest.approx(after / time, rel=1e-3, abs=1e-4)
        assert step.before == pytest.approx(0, abs=1e-4)
        # 6 errors of 18 images of 16 pixels.
        assert step.variance == pytest.approx(after * (time - after) / time, rel=6 * (2 / (18 * 16)) ** 0.5)


def test_weights_need_noise_a_linear_rule_and_steps_that_are_linear() -> None:
    quiet = forecaster(affine("DDIMScheduler"), plan())
    assert quiet.reweighting is None
    assert quiet.unweighted == "the scheduler draws no noise"
    assert quiet.foresee(BETWEEN).reweighted == {}
    rescaled = forecaster(affine(NOISY), plan(rule=parse_rule("rescale:phi=0.7")))
    assert rescaled.reweighting is None
    assert rescaled.unweighted == "the rule is not linear"
    runs = list(rescaled.runs.values())
    strengths = [strengths_of(schedule, runs[0]) for schedule in rescaled.runs]
    clipped = [replace(run, states=np.clip(run.states, -1, 1)) for run in runs]
    with pytest.raises(ConfigError, match="not linear"):
        transitions(clipped, strengths)


def test_weighted_paths_are_those_of_a_strength_that_was_not_recorded() -> None:
    host, number = affine(NOISY), 150
    asked = plan(images_per_prompt=number, steps=4, strength=1.5, schedules=(BETWEEN,)).completed(host)
    runs, other = (
        [PairRecorder(host=host, plan=one, batches=Batches(remark=print)).record(s) for s in schedules]
        for one, schedules in ((asked, asked.recorded), (replace(asked, seed=1), (BETWEEN,)))
    )
    groups = np.repeat(np.arange(3), number)
    strengths = np.stack([strengths_of(schedule, runs[0]) for schedule in asked.recorded])
    weights = Reweighting.of(runs, strengths, groups, [])  # without a surrogate: weights alone
    found = weights(strengths_of(BETWEEN, runs[0]))
    assert found is not None
    assert found.reached == 3  # to the end, as the last step has no noise
    assert number / 2 <= found.effective < number
    stream = np.random.default_rng(0)

    def variance_and_mean(images: np.ndarray, variance: metrics.Contributions) -> list[metrics.Measure]:
        along = other[0].final[groups == 0].mean(0) - other[0].final[groups == 1].mean(0)
        mean = metrics.Contributions(values=(images @ along).astype(np.float64), groups=groups)
        return [one.measure(stream, over="images", resamples=200) for one in (variance, mean)]

    truth = variance_and_mean(other[0].final, metrics.variance_within(other[0].final, groups))
    images, variance = metrics.weighted_within(found.images, found.weights, groups)
    plain = metrics.weighted_within(found.images, np.ones_like(found.weights), groups)
    far = 0.0
    for one, same, known in zip(variance_and_mean(images, variance), variance_and_mean(*plain), truth, strict=True):
        error = np.hypot(one.stderr, known.stderr)
        assert abs(one.value - known.value) < 5 * error
        far = max(far, abs(same.value - known.value) / np.hypot(same.stderr, known.stderr))
    assert far > 5  # recorded images themselves are not those of that strength


def test_the_surer_forecaster_is_trusted_where_enough_images_count() -> None:
    found = forecaster(affine(NOISY), plan(images_per_prompt=40)).foresee(BETWEEN)
    assert found.effective > BELIEVED
    assert found.reweighted
    assert found.measures == found.surrogate  # which is exact here
    surer = {name: replace(one, stderr=0.9 * one.stderr) for name, one in found.surrogate.items()}
    assert replace(found, reweighted=surer).measures == surer
    few = replace(found, reweighted=surer, effective=BELIEVED - 1)
    assert set(few.trusted.values()) == {"surrogate"}
