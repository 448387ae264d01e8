from __future__ import annotations

import numpy as np
import pytest
import torch

from orthoscope.denoise import Denoiser
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant
from orthoscope.process import NoiseLevel
from orthoscope.sampling import geometric
from orthoscope.sampling.corrector import predictor_corrector
from orthoscope.theory.gaussian import guided_gaussian
from tests.sampling.linear import gaussian_pair, guided_pair

PAIR = gaussian_pair(c=1.0, u=2.0, mu_c=0.7, mu_u=0.0)


def affine_moments(corrector_strength: float, steps: int, corrections: int = 1) -> tuple[float, float]:
    """Exact mean and variance of conditional prediction with guided correction, from the exact start at T = 1e6."""
    (predictor, process), (corrector, _) = (guided_pair(PAIR, Constant(value=w)) for w in (0.0, corrector_strength))
    grid, rows = geometric(process, 1e6, steps), 2 + steps * corrections

    class Impulses:
        count = 1

        def __call__(self, level: NoiseLevel, next_level: NoiseLevel) -> torch.Tensor:
            self.count += 1
            return torch.nn.functional.one_hot(torch.tensor(self.count), rows).double()[:, None]

    x = torch.zeros(rows, 1).double()
    x[1] = 1
    parts: tuple[Denoiser, Denoiser] = predictor, corrector
    end = predictor_corrector(*parts, x, grid, noise=Impulses(), corrections=corrections, label=0)[:, 0].numpy()
    gain, responses = end[1] - end[0], end[2:] - end[0]
    return float(end[0] + 0.7 * gain), float(gain**2 * (1e6 + 1) + responses @ responses)


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
    predictor, process = guided_pair(PAIR, Constant(value=0.0))
    x, grid = torch.zeros(2, 1).double(), geometric(process, 1.0, 2)
    with pytest.raises(ConfigError, match="at least one correction"):
        predictor_corrector(predictor, predictor, x, grid, noise=lambda a, b: x, corrections=0, label=0)
