from __future__ import annotations

import numpy as np
import pytest
import torch

from orthoscope import rng
from orthoscope.errors import ConfigError
from orthoscope.process import NoiseLevel
from orthoscope.sampling import BrownianPath, IndependentNoise
from tests.stat.expect import expect_mean, expect_variance

A, B = NoiseLevel(time=2.0), NoiseLevel(time=1.0)


def test_a_row_does_not_depend_on_its_batch(seed: int) -> None:
    like = torch.zeros(1, dtype=torch.float64)
    whole = IndependentNoise(rng.row_streams(seed, "z", rows=range(6)), (3,), like)
    parts = [IndependentNoise(rng.row_streams(seed, "z", rows=rows), (3,), like) for rows in ((0, 1), (2, 3, 4, 5))]
    for _ in range(3):
        assert torch.equal(whole(A, B), torch.cat([part(A, B) for part in parts]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4)])
def test_noise_has_the_shape_and_type_of_the_state(dtype: torch.dtype, shape: tuple[int, ...], seed: int) -> None:
    noise = IndependentNoise(rng.row_streams(seed, "z", rows=range(2)), shape, torch.zeros(1, dtype=dtype))(A, B)
    assert noise.shape == (2, *shape)
    assert noise.dtype == dtype


def test_independent_noise_is_standard_normal(seed: int) -> None:
    noise = IndependentNoise(rng.row_streams(seed, "z", rows=range(100)), (200,), torch.zeros(1))
    draws = torch.stack([noise(A, B) for _ in range(5)]).numpy()
    expect_mean(draws, 0, sd=1, detect=0.04, false_fail=1e-6 / 3)
    expect_variance(draws, 1, detect=0.05, false_fail=1e-6 / 3)
    expect_mean(draws[0] * draws[1], 0, sd=1, detect=0.08, false_fail=1e-6 / 3)


@pytest.mark.parametrize("lam", [0.4, 1.0])
def test_a_brownian_path_is_standard_normal_on_any_coarser_grid(lam: float, seed: int) -> None:
    variances = list(np.geomspace(50, 0.25, 17))
    path = BrownianPath(seed=seed, rows=500, dim=20, variances=variances, lam=lam)
    levels = [NoiseLevel(time=v) for v in variances]
    draws = [path(levels[k], levels[k + 8]).numpy() for k in (0, 8)]
    for z in draws:
        expect_mean(z, 0, sd=1, detect=0.12, false_fail=1e-6 / 5)
        expect_variance(z, 1, detect=0.16, false_fail=1e-6 / 5)
    expect_mean(draws[0] * draws[1], 0, sd=1, detect=0.12, false_fail=1e-6 / 5)


def test_a_brownian_path_knows_only_its_own_levels(seed: int) -> None:
    path = BrownianPath(seed=seed, rows=2, dim=1, variances=[4.0, 2.0, 1.0], dtype=torch.float32)
    assert path(NoiseLevel(time=4.0), B).dtype == torch.float32
    with pytest.raises(ConfigError, match=r"variance 3\.0 is not on this path"):
        path(NoiseLevel(time=3.0), B)
    with pytest.raises(ConfigError, match="lam = 0 has no noise"):
        BrownianPath(seed=seed, rows=2, dim=1, variances=[4.0, 1.0], lam=0)
