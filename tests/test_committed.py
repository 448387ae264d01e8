from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import pytest
import torch

from orthoscope import rng
from orthoscope.denoise import ExactDenoiser
from orthoscope.denoise.committed import Committed
from orthoscope.errors import ConfigError, ShapeError
from orthoscope.guidance.guided import Guided, classifier_free
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Step
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.sampling import BrownianPath, Grid, Run, State, geometric, sample
from orthoscope.targets import Mixture, mixture
from orthoscope.targets.ensembles import random_mixture
from orthoscope.targets.streamed import Regenerated, streamed
from orthoscope.theory.odds import mean_displacement, stopping_odds
from tests.targets.cases import random_mixture_of

F64 = torch.float64
LEVEL = NoiseLevel(time=0.7)
TARGET = random_mixture_of(0)  # labels 0, 1, 2, 0, 1, 2, 0: the modes of a class are not beside each other
X = torch.tensor([[0.1, 1.0, -2.0], [2.0, 0.3, 0.5], [-1.0, -1.0, 0.2], [0.4, 0.1, 0.0]], dtype=F64)
LABELS = torch.tensor([2, 0, 2, 1])


@pytest.mark.parametrize("label", [1, LABELS], ids=["one label", "labels by row"])
@pytest.mark.parametrize("level", [LEVEL, NoiseLevel(time=np.array([0.1, 1.0, 5.0, 0.4]))], ids=["one", "by row"])
def test_open_rows_are_read_in_full(label: int | torch.Tensor, level: NoiseLevel) -> None:
    found = Committed(TARGET, label, odds=0.0).evaluate(X, level, 0)
    torch.testing.assert_close(found.denoised, TARGET.denoised(X, level), rtol=1e-12, atol=1e-12)
    assert found.modes_read == 4 * 7
    assert not found.memory.any()


@pytest.mark.parametrize("label", [1, LABELS], ids=["one label", "labels by row"])
def test_committed_rows_are_read_in_their_class_only(label: int | torch.Tensor) -> None:
    memory = torch.tensor([True, False, True, False])
    found = Committed(TARGET, label, odds=0.0).evaluate(X, LEVEL, None, memory)
    expected = torch.where(memory[:, None], ExactDenoiser(TARGET)(X, LEVEL, label), TARGET.denoised(X, LEVEL))
    torch.testing.assert_close(found.denoised, expected, rtol=1e-12, atol=1e-12)
    labels = LABELS if isinstance(label, torch.Tensor) else torch.full((4,), label)
    sizes = torch.tensor([3, 2, 2])[labels]
    assert found.modes_read == int(torch.where(memory, sizes, 7).sum())
    assert torch.equal(found.memory, memory)


def test_rows_commit_at_the_odds_and_stay() -> None:
    log_odds = -TARGET.log_odds(X, 1, LEVEL)
    between = float(log_odds.sort().values[1:3].mean().exp())
    found = Committed(TARGET, 1, odds=min(between, 0.99)).evaluate(X, LEVEL)
    assert torch.equal(found.memory, log_odds <= math.log(min(between, 0.99)))
    torch.testing.assert_close(found.denoised, TARGET.denoised(X, LEVEL), rtol=1e-12, atol=1e-12)  # read before
    later = Committed(TARGET, 1, odds=0.0).evaluate(-X, LEVEL, None, found.memory)
    assert torch.equal(later.memory, found.memory)


def test_the_memory_that_came_is_left_as_it_was() -> None:
    memory = torch.zeros(4, dtype=torch.bool)
    at_home = TARGET.conditional(1).centroids[:1].expand(4, 3)
    assert Committed(TARGET, 1, odds=0.9).evaluate(at_home, NoiseLevel(time=0.01), None, memory).memory.all()
    assert not memory.any()


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_odds_far_below_rounding_are_told_apart(dtype: torch.dtype) -> None:
    # 1 - p is 0 in floating point for both rows.
    pair = mixture(torch.tensor([[0.0], [10.0]], dtype=dtype), std=0.0)
    level = NoiseLevel(time=1.0)
    x = torch.tensor([[-0.5], [-1.5]], dtype=dtype)  # log odds -55 and -65
    assert Committed(pair, 0, odds=math.exp(-60)).evaluate(x, level).memory.tolist() == [False, True]


def test_a_lone_class_never_waits() -> None:
    lone = TARGET.conditional(1)
    found = Committed(lone, 1, odds=0.5).evaluate(X, LEVEL)
    torch.testing.assert_close(found.denoised, lone.denoised(X, LEVEL))
    assert found.modes_read == 4 * 2


@pytest.mark.parametrize("odds", [-0.1, 1.0, math.nan])
def test_odds_are_those_of_something_unlikely(odds: float) -> None:
    with pytest.raises(ConfigError, match=r"must lie in \[0, 1\)"):
        Committed(TARGET, 0, odds=odds)


def test_labels_and_memory_must_fit() -> None:
    with pytest.raises(ConfigError, match="label 9 is not present"):
        Committed(TARGET, 9, odds=0.1)(X, LEVEL)
    with pytest.raises(ShapeError, match=r"one label per row, got \(3,\) for 4 rows"):
        Committed(TARGET, LABELS[:3], odds=0.1)(X, LEVEL)
    for memory in (torch.zeros(3, dtype=torch.bool), torch.zeros(4), "kept"):
        with pytest.raises(ShapeError, match="mask of 4 rows"):
            Committed(TARGET, 0, odds=0.1).evaluate(X, LEVEL, None, memory)


# Along runs, against full scans on the same noise


class Case:
    """A target and the starts and noise of a run."""

    def __init__(self, target: Mixture, rows: int, steps: int, *, label: int = 0) -> None:
        self.target, offset = target.absorbed()
        self.levels: Grid = geometric(VarianceExploding(offset=offset), 50.0, steps)
        self.label, self.rows = label, rows
        normal = torch.from_numpy(rng.stream(0, "start").standard_normal((rows, target.dim)))
        self.x = math.sqrt(51 + offset) * normal
        self.noise = BrownianPath(0, rows, target.dim, [level.variance for level in self.levels.levels])

    @functools.cache  # noqa: B019
    def full(self, schedule: GuidanceSchedule) -> Run:
        return self.run(classifier_free(ExactDenoiser(self.target), schedule))

    def stopped(self, schedule: GuidanceSchedule, odds: float, label: int | torch.Tensor | None = None) -> Run:
        label = self.label if label is None else label
        reference = Committed(self.target, label, odds=odds)
        return self.run(Guided(main=ExactDenoiser(self.target), reference=reference, schedule=schedule))

    def run(self, denoiser: Guided) -> Run:
        return sample(denoiser, self.x, self.levels, noise=self.noise, label=self.label, observe=self.mask)

    @staticmethod
    def mask(state: State) -> torch.Tensor | None:
        return state.memory.parts["uncond"] if state.memory is not None else None


ONE_MODE = Case(random_mixture(16, std=0.5, classes=60, stream=rng.stream(0, "modes"), dtype=F64), 200, 40)
OWN = ONE_MODE.target.centroids[0]
RADIUS = float((ONE_MODE.target.centroids - OWN).norm(dim=1).max())
SCHEDULES = [Constant(value=1.0), Constant(value=3.0), Constant(value=-0.4), Step(early=3.0, late=-0.5, switch=1.0)]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("tolerance", [0.1, 1e-3])
def test_samples_move_by_no_more_than_was_asked_for(schedule: GuidanceSchedule, tolerance: float) -> None:
    strengths = [schedule.strength(level) for level in ONE_MODE.levels.levels]
    odds = stopping_odds(tolerance, strengths, radius=RADIUS)
    full, stopped = ONE_MODE.full(schedule), ONE_MODE.stopped(schedule, odds)
    moved = (full.x - stopped.x).norm(dim=1)
    # The mean is bounded in the mean over paths; one that turned back would weigh as much as the radius.
    assert float(moved.mean()) <= tolerance
    assert stopped.modes_read < full.modes_read
    assert mean_displacement(odds, strengths, radius=RADIUS) <= tolerance * (1 + 1e-9)


def test_a_loose_tolerance_shows() -> None:
    # Committed far too early, samples move: the comparison above can fail.
    full, stopped = ONE_MODE.full(Constant(value=3.0)), ONE_MODE.stopped(Constant(value=3.0), 0.9)
    assert float((full.x - stopped.x).norm(dim=1).max()) > 1e-3


def test_odds_of_zero_are_the_full_scan() -> None:
    full, stopped = ONE_MODE.full(Constant(value=3.0)), ONE_MODE.stopped(Constant(value=3.0), 0.0)
    torch.testing.assert_close(full.x, stopped.x, rtol=1e-9, atol=1e-9)
    assert full.modes_read == stopped.modes_read


def test_rows_commit_once_and_for_good_and_the_count_is_theirs() -> None:
    run = ONE_MODE.stopped(Constant(value=1.0), 1e-3)
    masks = torch.stack([mask for mask in run.observed if mask is not None])
    assert bool((masks[1:] >= masks[:-1]).all())
    assert 0 < int(masks[-1].sum())
    # Each step reads twice, with the mask of the step before both times; the class is read by both denoisers.
    before = torch.cat([torch.zeros_like(masks[:1]), masks[:-1]])
    assert run.modes_read == 2 * int((2 + 59 * (~before).long()).sum())


def test_labels_by_row_commit_as_each_would_alone() -> None:
    labels = torch.arange(ONE_MODE.rows) % 2
    both = ONE_MODE.run(
        Guided(
            main=ExactDenoiser(ONE_MODE.target),
            reference=Committed(ONE_MODE.target, labels, odds=1e-3),
            schedule=Constant(value=0.0001),
        )
    )
    alone = ONE_MODE.stopped(Constant(value=0.0001), 1e-3)
    assert both.observed[-1][::2].tolist() == alone.observed[-1][::2].tolist()


def test_classes_of_several_modes_commit_too() -> None:
    modes = 3 * torch.from_numpy(rng.stream(1, "modes").standard_normal((40, 8)))
    case = Case(mixture(modes, std=0.4, labels=torch.arange(40) % 4), 200, 40, label=2)
    full, stopped = case.full(Constant(value=1.0)), case.stopped(Constant(value=1.0), 1e-6)
    assert stopped.modes_read < 0.8 * full.modes_read
    # Probability 1e-6 times a few for a row to differ by more than rounding's share of the odds.
    assert float((full.x - stopped.x).norm(dim=1).max()) < 1e-3


def test_a_wider_target_has_the_same_memory() -> None:
    wide = dataclasses.replace(ONE_MODE.target, std=0.5)  # the width within the modes instead of in the process
    level, x = NoiseLevel(time=0.5), ONE_MODE.x[:50] / 7
    absorbed = Committed(ONE_MODE.target, 0, odds=1e-3).evaluate(x, NoiseLevel(time=0.5, offset=0.25))
    found = Committed(wide, 0, odds=1e-3).evaluate(x, level)
    assert torch.equal(found.memory, absorbed.memory)
    torch.testing.assert_close(found.denoised, wide.denoised(x, level), rtol=1e-12, atol=1e-12)


def test_modes_that_are_streamed_commit_as_those_in_memory() -> None:
    def again() -> np.random.Generator:
        return rng.stream(0, "modes")

    kept = random_mixture(8, std=0.0, classes=50, stream=again())
    passing = streamed(Regenerated(dim=8, modes=50, stream=again), std=0.0)
    x = kept.centroids[:20] + 0.3
    labels = torch.arange(20)
    found, same = (Committed(one, labels, odds=1e-3).evaluate(x, NoiseLevel(time=0.4)) for one in (passing, kept))
    torch.testing.assert_close(found.denoised, same.denoised, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.memory, same.memory)
    assert 0 < int(found.memory.sum()) < 20
    assert found.modes_read == same.modes_read
