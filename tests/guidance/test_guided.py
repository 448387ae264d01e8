from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthoscope.denoise import ExactDenoiser, FixedLabel
from orthoscope.errors import ConfigError
from orthoscope.guidance.guided import Guided, classifier_free
from orthoscope.guidance.rules import Rule
from orthoscope.guidance.schedules import Constant, Linear, Step
from orthoscope.prediction import Space
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.sampling import Exponential, geometric, sample
from orthoscope.targets import Mixture, mixture

LEVEL = NoiseLevel(time=0.8)
X = torch.tensor([[0.5, -1.0], [2.0, 0.1], [-0.3, 0.4]], dtype=torch.float64)


def target() -> Mixture:
    centroids = torch.tensor([[1.0, 0.0], [-1.0, 0.5], [0.2, -1.4], [1.5, 1.5]], dtype=torch.float64)
    return mixture(centroids, std=0.4, labels=torch.tensor([0, 0, 1, 2]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_ends_are_bit_equal_to_the_two_models(dtype: torch.dtype) -> None:
    exact, x = ExactDenoiser(target().to(dtype=dtype)), X.to(dtype)
    assert torch.equal(classifier_free(exact, Constant(value=0))(x, LEVEL, 1), exact(x, LEVEL, 1))
    assert torch.equal(classifier_free(exact, Constant(value=-1))(x, LEVEL, 1), exact(x, LEVEL))


def test_predictions_that_do_not_matter_cost_nothing() -> None:
    exact = ExactDenoiser(target())
    costs = {w: classifier_free(exact, Constant(value=w)).evaluate(X, LEVEL, 0) for w in (0.0, -1.0, 1.0)}
    assert {w: (e.calls, e.modes_read) for w, e in costs.items()} == {0.0: (1, 6), -1.0: (1, 12), 1.0: (2, 18)}


@given(w=st.floats(-3, 30))
def test_guiding_a_model_by_itself_changes_nothing(w: float) -> None:
    exact = ExactDenoiser(target())
    guided = Guided(main=exact, reference=exact, schedule=Constant(value=w))
    torch.testing.assert_close(guided(X, LEVEL, 1), exact(X, LEVEL, 1), rtol=1e-11, atol=1e-11)


def test_the_reference_decides_what_guidance_is() -> None:
    exact, negative = ExactDenoiser(target()), FixedLabel(ExactDenoiser(target()), 2)
    guided = Guided(main=exact, reference=negative, schedule=Constant(value=1.5))
    expected = 2.5 * exact(X, LEVEL, 0) - 1.5 * exact(X, LEVEL, 2)
    torch.testing.assert_close(guided(X, LEVEL, 0), expected, rtol=1e-12, atol=1e-12)


def test_labels_and_levels_may_differ_from_row_to_row() -> None:
    guided = classifier_free(ExactDenoiser(target()), Linear(w0=-0.5, slope=1.0))
    times, labels = np.array([0.2, 3.0, 0.9]), torch.tensor([2, 0, 1])
    rows = guided(X, NoiseLevel(time=times), labels)
    for k in range(3):
        alone = guided(X[k : k + 1], NoiseLevel(time=float(times[k])), int(labels[k]))
        torch.testing.assert_close(rows[k : k + 1], alone, rtol=1e-12, atol=1e-12)


class Inertia(Rule):
    """A rule with a third prediction and a memory: it keeps half of its last direction, and counts its steps."""

    needs: ClassVar[tuple[str, ...]] = ("cond", "uncond", "anchor")

    def __call__(
        self, x: torch.Tensor, level: NoiseLevel, predictions: Mapping[str, torch.Tensor], w: Any, memory: Any
    ) -> tuple[torch.Tensor, Any]:
        count, direction = memory or (0, torch.zeros_like(x))
        direction = predictions["cond"] - predictions["uncond"] + direction / 2
        guided = predictions["cond"] + w * direction + 0.1 * (predictions["anchor"] - predictions["cond"])
        return guided, (count + 1, direction)


class Sign(Rule):
    """A rule that is not linear, in noise space."""

    space: ClassVar[Space] = "noise"

    def __call__(
        self, x: torch.Tensor, level: NoiseLevel, predictions: Mapping[str, torch.Tensor], w: Any, memory: Any
    ) -> tuple[torch.Tensor, Any]:
        return predictions["cond"] + w * (predictions["cond"] - predictions["uncond"]).sign(), None


def test_a_rule_acts_in_its_own_space() -> None:
    exact = ExactDenoiser(target())
    guided = classifier_free(exact, Constant(value=0.5), Sign())
    cond, uncond = exact(X, LEVEL, 0), exact(X, LEVEL)
    noise = (X - cond) / LEVEL.sigma + 0.5 * (uncond - cond).sign()
    torch.testing.assert_close(guided(X, LEVEL, 0), X - LEVEL.sigma * noise, rtol=1e-12, atol=1e-12)


def test_only_linear_rules_may_meet_an_absorbed_target() -> None:
    guided = classifier_free(ExactDenoiser(target().narrowed(0.16)), Constant(value=0.5), Sign())
    with pytest.raises(ConfigError, match="Sign is not linear: it needs the target's own denoised mean"):
        guided(X, NoiseLevel(time=0.8, offset=0.16), 0)


def test_a_nested_guided_denoiser_keeps_its_own_memory() -> None:
    exact, one = ExactDenoiser(target()), Constant(value=1.0)
    inner = Guided(
        main=exact, reference=FixedLabel(exact), schedule=one, rule=Inertia(), extra={"anchor": FixedLabel(exact, 2)}
    )
    outer = Guided(main=inner, reference=FixedLabel(exact), schedule=one)
    levels = geometric(VarianceExploding(), 10.0, 4, end=0.1)
    seen = []
    sample(
        outer,
        X,
        levels,
        step=Exponential(lam=0.0),
        label=0,
        observe=lambda state: seen.append(state.memory.parts["cond"].rule[0] if state.memory else 0),
    )
    assert seen == [0, 1, 2, 3, 4]


def test_a_rule_with_a_memory_sees_every_step_once() -> None:
    exact = ExactDenoiser(target())
    schedule = Step(early=2.0, late=0.0, switch=1.0)
    guided = Guided(
        main=exact,
        reference=FixedLabel(exact),
        schedule=schedule,
        rule=Inertia(),
        extra={"anchor": FixedLabel(exact, 2)},
    )
    levels = geometric(VarianceExploding(), 10.0, 5, end=0.1)
    counts: list[int] = []
    run = sample(
        guided,
        X,
        levels,
        step=Exponential(lam=0.0),
        label=0,
        observe=lambda state: counts.append(state.memory.rule[0] if state.memory else 0),
    )
    assert counts == [0, 1, 2, 3, 4, 5]
    assert run.calls == 2 * 5 * 3

    # The same written out: both evaluations of a step see the memory with which the step began.
    x, direction = X, torch.zeros_like(X)
    for k in range(5):
        level, after = levels.levels[k], levels.levels[k + 1]

        def mean(y: torch.Tensor, at: NoiseLevel, w: float, direction: torch.Tensor) -> tuple[torch.Tensor, ...]:
            cond, uncond, anchor = exact(y, at, 0), exact(y, at), exact(y, at, 2)
            new = cond - uncond + direction / 2
            return cond + w * new + 0.1 * (anchor - cond), new

        ratio = (after.variance / level.variance) ** 0.5
        first, kept = mean(x, level, 2.0 if level.time > 1 else 0.0, direction)
        predicted = first + ratio * (x - first)
        second, _ = mean(predicted, after, 2.0 if after.time >= 1 else 0.0, direction)
        both = (first + second) / 2
        x, direction = both + ratio * (x - both), kept
    torch.testing.assert_close(run.x, x, rtol=1e-12, atol=1e-12)


def test_a_prediction_that_nobody_makes_is_named() -> None:
    exact = ExactDenoiser(target())
    with pytest.raises(ConfigError, match="Inertia needs anchor; pass it in `extra`"):
        Guided(main=exact, reference=exact, schedule=Constant(value=1), rule=Inertia())


def test_a_strength_that_grows_without_bound_is_refused_where_it_has_no_value() -> None:
    narrow, offset = target().absorbed()
    levels = geometric(VarianceExploding(offset=offset), 10.0, 4)
    guided = classifier_free(ExactDenoiser(narrow), Linear(w0=1.0, slope=0.1, clock="logsnr"))
    with pytest.raises(ConfigError, match="Linear with clock=logsnr has no finite strength at clean data; use a table"):
        sample(guided, X, levels, step=Exponential(lam=0.0), label=0)
    assert torch.isfinite(sample(guided, X, levels, step=Exponential(lam=0.0, order=1), label=0).x).all()
