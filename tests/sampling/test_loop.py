from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from orthoscope import rng
from orthoscope.denoise import Denoiser, Evaluation, ExactDenoiser, Label, Memory
from orthoscope.errors import ConfigError, DivergenceError
from orthoscope.guidance.guided import classifier_free
from orthoscope.guidance.schedules import Constant, Step
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.sampling import Exponential, Grid, IndependentNoise, State, geometric, sample, start, trajectory
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
