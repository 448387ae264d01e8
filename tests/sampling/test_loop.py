from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import orthoscope as osc
from orthoscope import registered, rng
from orthoscope.denoise import Denoiser, Evaluation, ExactDenoiser, Label, Memory
from orthoscope.errors import ConfigError, DivergenceError
from orthoscope.guidance.guided import classifier_free
from orthoscope.guidance.schedules import Constant, Step
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.sampling import (
    Exponential,
    Grid,
    IndependentNoise,
    Restart,
    State,
    geometric,
    sample,
    start,
    trajectory,
)
from orthoscope.targets import Mixture, mixture

STEPS = 6


def target() -> Mixture:
    centroids = torch.tensor([[1.0, 0.0], [-1.0, 0.5], [0.2, -1.4]], dtype=torch.float64)
    return mixture(centroids, std=0.4, labels=torch.tensor([0, 0, 1]))


def levels(steps: int = STEPS) -> Grid:
    return geometric(VarianceExploding(offset=0.16), 10.0, steps)


class Watched(Denoiser):
    """Counts its evaluations, remembers where they were, and says how often it was committed."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float, Memory]] = []

    def evaluate(self, x: torch.Tensor, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        self.seen.append((level.step, level.time, memory))
        return Evaluation(denoised=torch.zeros_like(x), memory=(memory or 0) + 1, modes_read=len(x))


@pytest.mark.parametrize("order", [1, 2])
def test_every_step_evaluates_where_it_should_and_commits_once(order: int) -> None:
    watched, grid = Watched(), levels()
    states = list(
        trajectory(watched, torch.ones(3, 2), grid, step=Exponential(lam=0.0, order=order), noise=None, label=0)
    )
    assert len(states) == STEPS + 1
    assert [state.level.step for state in states] == list(range(STEPS + 1))
    assert [state.memory for state in states] == [None, *range(1, STEPS + 1)]
    assert states[-1].calls == order * STEPS
    assert states[-1].modes_read == 3 * order * STEPS
    if order == 1:
        expected = [(k, grid.times[k], k or None) for k in range(STEPS)]
    else:  # the second evaluation belongs to the same step, and sees the memory that the first one saw
        expected = [
            entry
            for k in range(STEPS)
            for entry in ((k, grid.times[k], k or None), (k, math.nextafter(grid.times[k + 1], math.inf), k or None))
        ]
    assert watched.seen == expected


def test_a_run_without_offset_ends_on_the_denoised_mean() -> None:
    watched = Watched()
    from orthoscope.sampling import grid

    run = sample(watched, torch.ones(2, 2), grid(VarianceExploding(), [1.0, 0.3, 0.0]), step=Exponential(lam=0.0))
    assert torch.equal(run.x, torch.zeros(2, 2))
    assert run.calls == 3  # nothing can be evaluated at zero noise


def test_observations_come_at_every_level() -> None:
    def observe(state: State) -> float:
        return state.level.time

    run = sample(Watched(), torch.ones(1, 1), levels(), step=Exponential(lam=0.0), observe=observe)
    assert run.observed == levels().times
    assert run.grid.steps == STEPS
    assert run.seconds > 0


@pytest.mark.parametrize("lam", [0.0, 0.6, 1.0])
def test_splitting_a_batch_changes_no_row(lam: float, seed: int) -> None:
    law, grid = target(), levels(12)
    narrow, _ = law.absorbed()
    denoiser = classifier_free(ExactDenoiser(narrow), Step(early=2.0, late=-0.5, switch=1.0))

    def run(rows: range) -> torch.Tensor:
        streams = rng.row_streams(seed, "run", rows=rows)
        x = start("prior", law.conditional(0), grid.levels[0], streams, prior_variance=1.0)
        noise = IndependentNoise(streams, (2,), like=x)
        return sample(denoiser, x, grid, step=Exponential(lam=lam), noise=noise, label=0).x

    torch.testing.assert_close(torch.cat([run(range(3)), run(range(3, 8))]), run(range(8)), rtol=1e-12, atol=1e-12)
    assert torch.equal(run(range(8)), run(range(8)))


def test_rows_of_different_labels_run_as_if_alone(seed: int) -> None:
    law, grid = target(), levels(12)
    denoiser = classifier_free(ExactDenoiser(law.absorbed()[0]), Constant(value=1.5))
    x = 4 * torch.from_numpy(rng.stream(seed, "x").standard_normal((6, 2)))
    labels = torch.tensor([0, 1, 1, 0, 1, 0])
    mixed = sample(denoiser, x, grid, step=Exponential(lam=0.0), label=labels).x
    for label in (0, 1):
        alone = sample(denoiser, x[labels == label], grid, step=Exponential(lam=0.0), label=label).x
        torch.testing.assert_close(mixed[labels == label], alone, rtol=1e-12, atol=1e-12)


class Exploding(Watched):
    """Finite until a given step."""

    def evaluate(self, x: torch.Tensor, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        value = math.nan if level.step == 3 else 2.0
        return Evaluation(denoised=torch.full_like(x, value))


@pytest.mark.parametrize("order", [1, 2])
def test_a_divergence_says_where_and_keeps_the_last_good_state(order: int) -> None:
    grid = levels()
    states: list[State] = []
    with pytest.raises(DivergenceError, match="not finite after step 3") as caught:  # noqa: PT012 - a generator
        for state in trajectory(
            Exploding(), torch.ones(2, 1), grid, step=Exponential(lam=0.0, order=order), noise=None
        ):
            states.append(state)
    assert caught.value.step == 3
    assert caught.value.time == grid.times[3]
    assert caught.value.last_good is states[-1].x
    assert len(states) == 4
    assert f"{grid.times[3]:.4g} to {grid.times[4]:.4g}" in str(caught.value)


def test_single_precision_follows_double_precision(seed: int) -> None:
    law, grid = target(), levels(20)
    ends = []
    x = 3 * torch.from_numpy(rng.stream(seed, "x").standard_normal((50, 2)))
    for dtype in (torch.float32, torch.float64):
        denoiser = classifier_free(ExactDenoiser(law.to(dtype=dtype).absorbed()[0]), Constant(value=1.0))
        run = sample(denoiser, x.to(dtype), grid, step=Exponential(lam=0.0), label=0)
        assert run.x.dtype == dtype
        ends.append(run.x.double())
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=1e-4)


# Changes in place


class Spoiling(Watched):
    """Changes the state that it is asked about."""

    def evaluate(self, x: torch.Tensor, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        return Evaluation(denoised=x.mul_(0.5))


class InPlace:
    """A step that changes the state it is given."""

    needs_noise = False

    def __call__(self, state: State, next_level: NoiseLevel, denoiser: Denoiser, noise: Any) -> State:
        first = state.evaluate(denoiser)
        return state.moved(state.x.mul_(0.5), next_level, first)


@pytest.mark.parametrize(
    ("denoiser", "step", "name"),
    [(Spoiling(), Exponential(), "Exponential"), (Watched(), InPlace(), "InPlace")],
)
def test_what_changes_the_state_in_place_is_refused(denoiser: Denoiser, step: Any, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^the step {name}, or the denoiser .* in place; make a new tensor") as told:
        list(trajectory(denoiser, torch.ones(3, 2), levels(), step=step, noise=lambda *_: torch.zeros(3, 2)))
    assert "\n" not in str(told.value)


# Steps of one's own


def halving(state: State, next_level: NoiseLevel, denoiser: Denoiser, noise: Any) -> State:
    return state.moved(state.x / 2, next_level, state.evaluate(denoiser))


class Halving:
    """The same as a class."""

    needs_noise = False

    def __call__(self, state: State, next_level: NoiseLevel, denoiser: Denoiser, noise: Any) -> State:
        return halving(state, next_level, denoiser, noise)


@pytest.mark.parametrize("step", [halving, Halving(), Halving, "halving", f"{__name__}:Halving"])
def test_a_step_is_a_function_an_object_a_class_or_a_text(step: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registered.STEPS, "_things", {"halving": halving})
    run = sample(Watched(), torch.ones(3, 2), levels(), step=step)
    assert torch.equal(run.x, torch.full((3, 2), 0.5**STEPS))
    assert run.calls == STEPS


def test_one_class_of_a_target_takes_a_step_by_its_place() -> None:
    run = osc.sample(target(), 1.0, label=1, n=4, steps=3, step=f"{__name__}:halving")
    same = osc.sample(target(), 1.0, label=1, n=4, steps=3, step=halving)
    assert (run.x == same.x).all()


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (
            lambda state, *_: state,
            r"state\.moved\(x, next_level, \.\.\.\), at step 1, variance time .*; got one at step 0",
        ),
        (lambda *_: None, r"got NoneType$"),
        (lambda *_: 3.0, r"got float$"),
        (lambda state, *_: state.x, r"got Tensor$"),
        (lambda s, level, d, n: s.moved(s.x[:1], level, s.evaluate(d)), r"of shape \(3, 2\), got \(1, 2\)$"),
        (lambda s, level, d, n: s.moved(s.x.long(), level, s.evaluate(d)), r"floating-point tensor, got torch\.int64$"),
        (lambda s, level, d, n: s.moved(0.0, level, s.evaluate(d)), r"with a floating-point tensor, got float$"),
        (lambda *_: 1 / 0, r"^the step .*<lambda> failed: ZeroDivisionError: division by zero$"),
        (lambda state: state, r"^the step .*<lambda> failed: TypeError: .* 1 positional argument but 4 were given$"),
        (lambda *_: {}["a\nb"], r"^the step .*<lambda> failed: KeyError: "),
        (5, r"^a `step` is called with .*; got int$"),
        ("halvin", r"unknown step 'halvin'"),
        (f"{__name__}:nothing", r"there is no step 'nothing' in the module"),
    ],
)
def test_a_step_that_makes_no_step_is_refused_in_one_line(step: Any, told: str, unchecked: None) -> None:
    for tried in (step, Restart(low=0.1, high=5.0, step=step) if callable(step) else step):
        with pytest.raises(ConfigError, match=told) as found:
            sample(Watched(), torch.ones(3, 2), levels(), step=tried, noise=lambda *_: torch.zeros(3, 2))
        assert "\n" not in str(found.value)


def test_a_step_that_ends_in_nan_diverges() -> None:
    with pytest.raises(DivergenceError, match="not finite after step 0"):
        sample(Watched(), torch.ones(3, 2), levels(),
               step=lambda s, level, d, n: s.moved(s.x * math.nan, level, s.evaluate(d)))  # fmt: skip


def test_what_a_denoiser_raises_under_a_step_of_the_package_is_raised() -> None:
    class Failing(Watched):
        def evaluate(self, x: Any, level: Any, label: Label = None, memory: Memory = None) -> Evaluation:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        sample(Failing(), torch.ones(3, 2), levels(), step=Exponential(lam=0.0))
