"""The effective law of a network, sampled, against its theory and against the closed form of what knows nothing."""

from __future__ import annotations

import pytest
from benchmarks.effective import DIM, STD, T_MAX, Sampling

from orthoscope.settings import Setting
from orthoscope.theory import predict_effective


def test_theory_tells_what_a_half_learned_branch_does() -> None:
    sampling = Sampling(modes=32, classes=64, steps=20, ensemble=True)
    found = sampling.measure("constant:3", lambda time: 0.5, 1.0)
    at = Setting.of(classes=32, dim=DIM, std=STD, schedule="constant:3", t_max=T_MAX, start="exact")
    expected = predict_effective(at, DIM, 0.5)
    shift, error = found.mean_shift
    assert shift == pytest.approx(expected.mean_shift, abs=0.05 * expected.mean_shift + 4 * error)
    ratio, error = found.variance_ratio
    assert ratio == pytest.approx(expected.variance_ratio, abs=0.05 + 4 * error)


def test_who_knows_nothing_knows_the_moments_of_the_few_modes_that_there_are() -> None:
    """Eight modes span seven directions of sixteen."""
    sampling = Sampling(modes=8, classes=64, steps=20)
    found = sampling.measure("constant:1", lambda time: 0.0, 0.0)
    shift, ratio = sampling.blind("constant:1", 0.0)
    assert found.mean_shift[0] == pytest.approx(shift, abs=0.01 * shift + 4 * found.mean_shift[1])
    assert found.variance_ratio[0] == pytest.approx(ratio, abs=0.01 * ratio + 4 * found.variance_ratio[1])
