from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from orthoscope.denoise import Biased, Evaluation, ExactDenoiser, FixedLabel, MissingPullback, Pullback
from orthoscope.errors import ConfigError, ShapeError
from orthoscope.prediction import from_denoised
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.targets.blend import blend
from orthoscope.targets.intervals import box
from tests.targets.cases import random_mixture_of

TARGET = random_mixture_of(0)
EXACT = ExactDenoiser(TARGET)
LEVEL = NoiseLevel(time=0.7)
X = torch.tensor([[0.1, 1.0, -2.0], [2.0, 0.3, 0.5], [-1.0, -1.0, 0.2], [0.4, 0.1, 0.0]], dtype=torch.float64)
LABELS = torch.tensor([2, 0, 2, 1])


def test_a_label_selects_its_class_and_none_the_whole() -> None:
    assert torch.equal(EXACT(X, LEVEL, 1), TARGET.conditional(1).denoised(X, LEVEL))
    assert torch.equal(EXACT(X, LEVEL), TARGET.denoised(X, LEVEL))


def test_labels_may_differ_from_row_to_row() -> None:
    rows = EXACT.evaluate(X, LEVEL, LABELS)
    for k, label in enumerate(LABELS.tolist()):
        torch.testing.assert_close(rows.denoised[k], EXACT(X[k : k + 1], LEVEL, label)[0], rtol=1e-12, atol=1e-12)
    sizes = [TARGET.conditional(label).size for label in LABELS.tolist()]
    assert rows.modes_read == sum(sizes)


def test_labels_and_levels_may_differ_together() -> None:
    times = np.array([0.1, 1.0, 5.0, 0.4])
    rows = EXACT(X, NoiseLevel(time=times), LABELS)
    for k in range(4):
        alone = EXACT(X[k : k + 1], NoiseLevel(time=float(times[k])), int(LABELS[k]))
        torch.testing.assert_close(rows[k : k + 1], alone, rtol=1e-12, atol=1e-12)


def test_costs_are_counted() -> None:
    assert (EXACT.evaluate(X, LEVEL).calls, EXACT.evaluate(X, LEVEL).modes_read) == (1, 4 * 7)
    assert EXACT.evaluate(X, LEVEL, 0).modes_read == 4 * 3


def test_memory_passes_through_a_denoiser_without_one() -> None:
    assert EXACT.evaluate(X, LEVEL, 0, memory="kept").memory == "kept"
    assert EXACT.evaluate(X, LEVEL, LABELS, memory="kept").memory == "kept"
    assert Evaluation(denoised=X).memory is None


def test_a_fixed_denoiser_ignores_what_it_is_asked() -> None:
    assert torch.equal(FixedLabel(EXACT)(X, LEVEL, 1), EXACT(X, LEVEL))
    assert torch.equal(FixedLabel(EXACT, 2)(X, LEVEL, LABELS), EXACT(X, LEVEL, 2))
    assert torch.equal(FixedLabel(EXACT, LABELS)(X, LEVEL), EXACT(X, LEVEL, LABELS))


def test_a_class_is_cut_out_once() -> None:
    assert EXACT.law(1) is EXACT.law(1)
    assert EXACT.law(None) is TARGET


@pytest.mark.parametrize("label", [9, torch.tensor([0, 9, 1, 1])])
def test_a_class_that_is_not_there_is_named(label: int | torch.Tensor) -> None:
    with pytest.raises(ConfigError, match="label 9 is not present"):
        EXACT(X, LEVEL, label)


# Scores made wrong

F64 = torch.float64
SIDES = blend([box(torch.tensor([low], dtype=F64), torch.tensor([low + 1], dtype=F64)) for low in (1.0, -2.0)])


@pytest.mark.parametrize("level", [LEVEL, NoiseLevel(time=np.array([0.1, 1.0, 5.0, 0.4]))])
def test_a_bounded_error_is_the_same_shift_of_the_preserving_score_everywhere(level: NoiseLevel) -> None:
    error = torch.tensor([0.3, 0.0, -1.0], dtype=F64)
    found = Biased(denoiser=EXACT, error=error).evaluate(X, level, LABELS, memory="kept")
    exact = EXACT.evaluate(X, level, LABELS)
    off = from_denoised(found.denoised, X, level, "score") - from_denoised(exact.denoised, X, level, "score")
    preserving = torch.as_tensor(np.sqrt(1 + level.time), dtype=F64).reshape(-1, 1) * off  # of y = x / sqrt(1 + t)
    torch.testing.assert_close(preserving, error.expand(4, 3), rtol=1e-10, atol=1e-12)
    assert (found.memory, found.modes_read, found.calls) == ("kept", exact.modes_read, 1)


def test_a_bounded_error_does_not_know_of_an_offset() -> None:
    # Narrowed by an offset, the same law at the same time is wrong by the same score.
    error = torch.tensor([0.3, 0.0, -1.0], dtype=F64)
    narrow, offset = TARGET.absorbed()
    counted = VarianceExploding(offset=offset).at(0.7)
    scores = [
        from_denoised(Biased(denoiser=ExactDenoiser(law), error=error)(X, level), X, level, "score")
        for law, level in ((TARGET, VarianceExploding().at(0.7)), (narrow, counted))
    ]
    torch.testing.assert_close(*scores, rtol=1e-10, atol=1e-10)


def test_an_error_has_one_number_per_coordinate() -> None:
    with pytest.raises(ShapeError, match="one error per coordinate of 3, got 2"):
        Biased(denoiser=EXACT, error=torch.zeros(2, dtype=F64))(X, LEVEL)


def test_a_missing_pullback_leaves_far_coordinates_where_they_are() -> None:
    ends = {"lower": torch.full((3,), -1.0, dtype=F64), "upper": torch.full((3,), 1.0, dtype=F64)}
    wrong = MissingPullback(denoiser=EXACT, reach=lambda level: 2.0, **ends)
    level = NoiseLevel(time=0.04)  # the margin is 0.4
    found, exact = wrong(X, level), EXACT(X, level)
    far = (X < -1.4) | (X > 1.4)
    assert far.any()
    assert not far.all()
    assert torch.equal(found[far], X[far])
    assert torch.equal(found[~far], exact[~far])


@pytest.mark.parametrize("time", [1e-4, 0.3, 4.0, 300.0])
@pytest.mark.parametrize("size", [0.02, 0.2])
def test_the_reach_makes_the_error_as_large_as_asked_for(time: float, size: float) -> None:
    level = NoiseLevel(time=time)
    reach = Pullback(law=SIDES, lower=-2.0, upper=2.0, size=size)
    sigma, edge = float(level.sigma), 2.0 + float(level.sigma) * reach(level)

    def square(z: float) -> float:  # of the preserving score, by the noised law, per unit of z
        x = torch.tensor([[edge + sigma * z]], dtype=F64)
        score = float(SIDES.score(x, level))
        return sigma * float(SIDES.log_prob(x, level).exp()) * (1 + time) * score**2

    both_sides = 2 * quad(square, 0, 12, epsabs=0, epsrel=1e-8)[0]
    assert np.sqrt(both_sides) == pytest.approx(size, rel=2e-3)
    assert reach.error(reach(level), level) == pytest.approx(size, rel=1e-3)


def test_the_reach_grows_as_the_error_shrinks_and_ends_at_the_support() -> None:
    reaches = [Pullback(law=SIDES, lower=-2.0, upper=2.0, size=size)(LEVEL) for size in (1e-3, 1e-2, 0.1, 100.0)]
    assert reaches == sorted(reaches, reverse=True)
    assert reaches[-1] == 0.0


def test_nothing_is_missing_where_the_law_is_the_prior() -> None:
    reach = Pullback(law=SIDES, lower=-2.0, upper=2.0, size=0.1, horizon=5.0)
    near, far = NoiseLevel(time=24.9), NoiseLevel(time=25.1)
    assert 1 < reach(near) < 5
    assert reach(far) == math.inf
    x = torch.tensor([[1000.0]], dtype=F64)
    ends = {"lower": torch.tensor([-2.0], dtype=F64), "upper": torch.tensor([2.0], dtype=F64)}
    wrong = MissingPullback(denoiser=ExactDenoiser(SIDES), reach=reach, **ends)
    assert torch.equal(wrong(x, near), x)
    assert torch.equal(wrong(x, far), ExactDenoiser(SIDES)(x, far))


def test_both_sides_of_a_level_have_one_reach() -> None:
    reach = Pullback(law=SIDES, lower=-2.0, upper=2.0, size=0.1)
    level = VarianceExploding().at(0.25)
    assert reach(level) == reach(level.from_noise_side(3))


def test_an_error_that_is_none_or_in_many_dimensions_has_no_reach() -> None:
    with pytest.raises(ConfigError, match="finite and > 0, got 0"):
        Pullback(law=SIDES, lower=-2.0, upper=2.0, size=0.0)
    with pytest.raises(ShapeError, match="in one dimension, got 3"):
        Pullback(law=TARGET, lower=-2.0, upper=2.0, size=0.1)
