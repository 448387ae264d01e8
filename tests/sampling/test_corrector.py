from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch

from orthoscope.denoise import Denoiser, Evaluation, Label, Memory
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant
from orthoscope.process import NoiseLevel
from orthoscope.sampling import PredictorCorrector, geometric, sample
from orthoscope.theory.gaussian import guided_gaussian
from tests.sampling.linear import Impulses, affine_law, gaussian_pair, guided_pair

PAIR = gaussian_pair(c=1.0, u=2.0, mu_c=0.7, mu_u=0.0)


def affine_moments(corrector_strength: float, steps: int, corrections: int = 1) -> tuple[float, float]:
    """Exact mean and variance of conditional prediction with guided correction, from the exact start at T = 1e6."""
    (predictor, process), (corrector, _) = (guided_pair(PAIR, Constant(value=w)) for w in (0.0, corrector_strength))
    step = PredictorCorrector(corrector=corrector, corrections=corrections)
    return affine_law(predictor, geometric(process, 1e6, steps), step, 0.7, 1e6 + 1, draws=steps * corrections)


@pytest.mark.slow
def test_guidance_is_a_predictor_with_a_corrector_of_twice_the_strength() -> None:
    # Scale 7: the corrector's exponent is 2 * 7 - 1 = 13, which is strength 12.
    exact = guided_gaussian(0.7, 1.0, 0.0, 2.0, 6.0)
    assert exact.variance == pytest.approx(2 * (1 - 2.0**-13) / 13, rel=1e-12)
    errors = np.array(
        [np.subtract(affine_moments(12.0, steps), (exact.mean, exact.variance)) for steps in (250, 500, 1000)]
    )
    np.testing.assert_allclose(np.log2(errors[:-1] / errors[1:]), 1, atol=0.1)
    assert np.abs(errors[-1]).max() < 1e-2


def test_another_exponent_is_not_it() -> None:
    exact = guided_gaussian(0.7, 1.0, 0.0, 2.0, 6.0)
    assert abs(affine_moments(6.0, 500)[1] - exact.variance) > 0.05


def test_many_corrections_bring_the_corrector_s_own_tilted_law() -> None:
    exact = guided_gaussian(0.7, 1.0, 0.0, 2.0, 3.0)
    mean, variance = affine_moments(3.0, 200, corrections=12)
    assert mean == pytest.approx(exact.tilted_mean, abs=0.02)
    assert variance == pytest.approx(exact.tilted_variance, abs=0.03)


def test_a_corrector_has_to_correct() -> None:
    predictor, _ = guided_pair(PAIR, Constant(value=0.0))
    with pytest.raises(ConfigError, match="at least one correction"):
        PredictorCorrector(corrector=predictor, corrections=0)


def test_it_pays_for_both_and_its_corrector_keeps_a_memory_of_its_own() -> None:
    class Remembering(Denoiser):
        seen: ClassVar[list[Memory]] = []

        def evaluate(
            self, x: torch.Tensor, level: NoiseLevel, label: Label = None, memory: Memory = None
        ) -> Evaluation:
            self.seen.append(memory)
            return Evaluation(denoised=torch.zeros_like(x), memory=(memory or 0) + 1, calls=3)

    predictor, process = guided_pair(PAIR, Constant(value=1.0))
    step = PredictorCorrector(corrector=Remembering(), corrections=2)
    run = sample(
        predictor, torch.zeros(6, 1).double(), geometric(process, 1.0, 2), step=step, noise=Impulses(4), label=0
    )
    assert run.calls == 2 * (2 + 2 * 3)
    assert Remembering.seen == [None, None, 1, 1]
