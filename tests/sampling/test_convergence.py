"""Pathwise convergence: one Brownian path for all step sizes, against the sampler's own fine solution.

The noise is additive after division by a power of v, so both orders converge strongly like h for lam > 0: the
predictor-corrector has a smaller constant, and second order only in law (test_law) and for the ODE.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from orthoscope import rng
from orthoscope.denoise import ExactDenoiser
from orthoscope.guidance.guided import classifier_free
from orthoscope.guidance.schedules import Constant
from orthoscope.process import VarianceExploding
from orthoscope.sampling import BrownianPath, Exponential, Multistep, Step, geometric, grid, sample
from orthoscope.targets import Target, mixture, random_planted

T_MAX, FINEST, ROWS = 20.0, 1024, 64
SIZES = [8, 16, 32, 64, 128]


def targets(name: str, seed: int) -> Target:
    stream = rng.stream(seed, "target")
    if name == "planted":
        return random_planted(6, std=0.5, log_classes=1.2, stream=stream, dtype=torch.float64)
    centroids = torch.from_numpy(stream.standard_normal((5, 3)))
    return mixture(centroids, std=0.7, labels=torch.tensor([0, 0, 1, 1, 2]))


def strong_order(name: str, seed: int, step: Step, lam: float) -> tuple[float, float, list[float]]:
    """Fitted order of the mean distance to the fine solution on the same path, its error, and the distances."""
    narrow, offset = targets(name, seed).absorbed()
    process = VarianceExploding(offset=offset)
    fine = geometric(process, T_MAX, FINEST)
    variances = [level.variance for level in fine.levels]
    path = BrownianPath(seed=seed, rows=ROWS, dim=narrow.dim, variances=variances, lam=lam) if lam else None
    denoiser = classifier_free(ExactDenoiser(narrow), Constant(value=0.5))
    x = 4 * torch.from_numpy(rng.stream(seed, "x").standard_normal((ROWS, narrow.dim)))

    def end(steps: int, step: Step) -> torch.Tensor:
        levels = grid(process, fine.times[:: FINEST // steps])
        return sample(denoiser, x, levels, step=step, noise=path, label=0).x

    limit = end(FINEST, Exponential(lam=lam))
    errors = [float((end(steps, step) - limit).norm(dim=1).mean()) for steps in SIZES]
    fit = stats.linregress(np.log(SIZES), np.log(errors))
    return -fit.slope, fit.stderr, errors


@pytest.mark.slow
@pytest.mark.parametrize("name", ["planted", "mixture"])
@pytest.mark.parametrize(("lam", "order", "expected"), [(1.0, 1, 1), (1.0, 2, 1), (0.0, 1, 1), (0.0, 2, 2)])
def test_strong_order(name: str, lam: float, order: int, expected: int, seed: int) -> None:
    found, stderr, errors = strong_order(name, seed, Exponential(lam=lam, order=order), lam)
    assert abs(found - expected) < 3 * stderr + 0.1, (found, stderr, errors)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["planted", "mixture"])
@pytest.mark.parametrize(("lam", "expected"), [(1.0, 1), (0.0, 2)])
def test_strong_order_of_a_multistep(name: str, lam: float, expected: int, seed: int) -> None:
    # With noise its first steps are worse than the order tells, so that the fit is steeper.
    found, stderr, errors = strong_order(name, seed, Multistep(lam=lam), lam)
    assert found > expected - 3 * stderr - 0.1, (found, stderr, errors)
    assert lam or found < expected + 3 * stderr + 0.1, (found, stderr, errors)
