"""What an unconditional branch knows: closed forms, exact and trained networks, dropped classes, texts."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from orthoscope import rng
from orthoscope.calibration.advice import advice, ignorance_range, steps_between
from orthoscope.calibration.foretold import Pairs, foretell
from orthoscope.calibration.knowledge import Knowledge, Squares, ignorance_of, know
from orthoscope.calibration.path import Paths, reverse_paths
from orthoscope.calibration.weighing import Answers
from orthoscope.denoise import Blended, Denoiser, ExactDenoiser, OwnMode
from orthoscope.denoise.base import Evaluation, Label, Memory
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.quantities import Estimate
from orthoscope.sampling import IndependentNoise, geometric
from orthoscope.targets import Mixture, random_mixture
from orthoscope.theory.linearized import gaussian_branches, predict_linearized

DIM = 8


def law(classes: int = 12) -> Mixture:
    stream = rng.stream(3, "law", classes)
    return random_mixture(DIM, std=0.5, stream=stream, classes=classes, dtype=torch.float64)


def knowing(target: Mixture, learned: float) -> Denoiser:
    """The exact branch blended with one Gaussian."""
    return Blended(OwnMode(target), ExactDenoiser(target.gaussian()), learned)


def walked(denoiser: Denoiser, classes: int, rows: int = 96, steps: int = 40, dropped: float = 0.0) -> Paths:
    t_max = 3000.0
    streams = rng.row_streams(5, "walk", rows=range(rows))
    x = math.sqrt(t_max) * torch.from_numpy(np.stack([stream.standard_normal(DIM) for stream in streams]))
    grid = geometric(VarianceExploding(), t_max, steps, end=0.02)
    noise, labels = IndependentNoise(streams, (DIM,), like=x), torch.arange(rows).sort().values % classes
    return reverse_paths(denoiser, x, grid, noise, labels, classes, dropped=dropped)


class Half(Denoiser):
    """Exact for classes; without one, blended."""

    def __init__(self, target: Mixture, learned: float) -> None:
        self.truth, self.none = OwnMode(target), knowing(target, learned)

    def evaluate(self, x: torch.Tensor, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        return (self.none if label is None else self.truth).evaluate(x, level, label, memory)


def images(target: Mixture, rows: int = 1024) -> np.ndarray:
    stream = rng.stream(9, "images")
    centers = target.centroids.numpy()[stream.integers(0, target.size, rows)]
    return centers + target.std * stream.standard_normal(centers.shape)


def exactly(target: Mixture, learned: float) -> list[Answers]:
    """What the branches say of noised points of the law, and the exact posterior with it."""
    stream, said = rng.stream(1, "points"), []
    for time in (30.0, 3.0, 0.5):
        labels = torch.arange(64) % target.size
        x = target.centroids[labels] + math.sqrt(0.25 + time) * torch.from_numpy(stream.standard_normal((64, DIM)))
        level, branch = NoiseLevel(time=time), Half(target, learned)
        truth = OwnMode(target)
        posterior = torch.ones(64, dtype=torch.float64)  # plays no part
        answers = {"own": truth(x, level, labels), "none": branch(x, level, None), "mixed": truth(x, level, None)}
        said.append(Answers(time=time, x=x, posterior=posterior, calls=0, **answers))
    return said


@pytest.mark.parametrize("learned", [0.0, 0.3, 0.8, 1.0])
def test_a_blended_branch_has_the_fraction_of_its_closed_form(learned: float) -> None:
    target = law()
    said = exactly(target, learned)
    excess, ignorance = Squares.of(said).excess, ignorance_of(target.gaussian(), said)
    expected = np.full(3, 1 - (1 - learned) ** 2)
    assert 1 - excess.mean(0) / ignorance.mean(0) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("learned", [0.0, 0.5, 1.0])
def test_paths_find_the_fraction_that_a_branch_was_given(learned: float) -> None:
    target = law()
    paths = walked(Half(target, learned), target.size)
    found = know(paths.answers, 0.02, images(target))
    expected = 1 - (1 - learned) ** 2
    assert found.learned.value == pytest.approx(expected, abs=max(4 * found.learned.stderr, 0.02))
    assert found.learned.stderr < 0.08
    assert found.competing.any()
    assert not found.competing[[0, -1]].any()  # nothing is told, and all is
    assert found.left is not None
    assert found.disagreement is not None
    exact = learned == 1
    assert (found.disagreement.value < 2 * found.left.value + 0.2) == exact


def test_dropped_classes_change_little_and_are_not_asked_for() -> None:
    target = law(200)
    whole, pruned = (walked(Half(target, 0.5), 200, rows=24, steps=24, dropped=share) for share in (0.0, 3e-3))
    full, asked = (sum(said.calls for said in paths.answers) for paths in (whole, pruned))
    assert full == 24 * 24 * 201
    assert asked < 0.7 * full
    assert np.isfinite(pruned.entropy).all()
    fractions = [know(paths.answers, 0.02, images(target)).learned.value for paths in (whole, pruned)]
    assert fractions[0] == pytest.approx(0.75, abs=0.08)
    assert fractions[1] == pytest.approx(fractions[0], abs=0.01)


def advised(known: Knowledge) -> tuple[str, ...]:
    return advice(known.learned, known.disagreement, known.left, None)


def test_too_few_paths_and_nothing_to_know_are_one_clear_line() -> None:
    target = law()
    said = exactly(target, 0.5)
    with pytest.raises(ConfigError, match="at least 8 paths and 8 images"):
        know(said, 0.1, images(target, 6))


def test_a_gaussian_branch_acts_by_ignorance_late_and_an_exact_one_nowhere() -> None:
    target = law()
    levels = np.geomspace(3000, 0.02, 20)
    found = [know(walked(Half(target, learned), target.size).answers, 0.02, images(target)) for learned in (0.0, 1.0)]
    ends = [ignorance_range(one) for one in found]
    assert ends[0] is not None
    assert 0.1 < ends[0][0] < 10
    steps = steps_between(levels, *ends[0])
    assert steps is not None
    assert steps.startswith(f"steps {(levels > ends[0][0]).sum() + 1} to ")
    assert steps_between(levels, 5000, 4000) is None
    texts = [advised(one) for one in found]
    assert "Ending is expected to help" in texts[0][1]
    assert "Ending is not expected to help" in texts[1][1]
    assert "nan" not in " ".join(map(str, texts))
    for value, stderr in ((0.73, 0.03), (0.44, 0.06), (0.88, 0.02)):  # in between, and on neither side for sure
        open_ = advised(replace(found[0], learned=Estimate(value=value, stderr=stderr, n=40, dof=19)))
        assert all("an audit must tell" in text for text in open_)


def test_one_gaussian_is_foretold_as_its_affine_answers_say() -> None:
    target = law(400)
    means = target.centroids.numpy()
    labels = torch.arange(96) * 4
    streams = rng.row_streams(5, "many", rows=range(96))
    x = math.sqrt(3000.0) * torch.from_numpy(np.stack([stream.standard_normal(DIM) for stream in streams]))
    grid = geometric(VarianceExploding(), 3000.0, 40, end=0.02)
    branch = Half(target, 0.0)
    paths = reverse_paths(branch, x, grid, IndependentNoise(streams, (DIM,), like=x), labels, 400, dropped=0.05)
    found = foretell(Pairs.of(paths.answers, means[labels], means.mean(0)), 0.25, (1.0, 3.0), 1.0)
    times = np.geomspace(0.02, 3000, 40).tolist()
    for strength, ratio in zip((1.0, 3.0), found.ratios, strict=True):
        schedule = Constant(value=strength)
        expected = predict_linearized(gaussian_branches(times, 0.5), schedule, std=0.5, t_max=2900.0)[1]
        assert ratio == pytest.approx(expected, abs=0.04)
    assert found.affine_share > 0.95
