from __future__ import annotations

import numpy as np
import pytest
import torch

from orthoscope.denoise import Evaluation, Exact, Fixed
from orthoscope.errors import ConfigError
from orthoscope.process import NoiseLevel
from tests.targets.cases import random_mixture_of

TARGET = random_mixture_of(0)
EXACT = Exact(TARGET)
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
    assert torch.equal(Fixed(EXACT)(X, LEVEL, 1), EXACT(X, LEVEL))
    assert torch.equal(Fixed(EXACT, 2)(X, LEVEL, LABELS), EXACT(X, LEVEL, 2))
    assert torch.equal(Fixed(EXACT, LABELS)(X, LEVEL), EXACT(X, LEVEL, LABELS))


def test_a_class_is_cut_out_once() -> None:
    assert EXACT.law(1) is EXACT.law(1)
    assert EXACT.law(None) is TARGET


@pytest.mark.parametrize("label", [9, torch.tensor([0, 9, 1, 1])])
def test_a_class_that_is_not_there_is_named(label: int | torch.Tensor) -> None:
    with pytest.raises(ConfigError, match="label 9 is not present"):
        EXACT(X, LEVEL, label)
