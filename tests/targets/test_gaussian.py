from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from orthoscope.denoise import ExactDenoiser
from orthoscope.errors import ConfigError, ShapeError
from orthoscope.process import NoiseLevel
from orthoscope.targets import Gaussian, Pair

MEAN, VARIANCE = torch.tensor([1.0, -2.0]).double(), torch.tensor([0.4, 2.0]).double()
LAW = Gaussian(mean=MEAN, variance=VARIANCE)
OTHER = Gaussian(mean=-MEAN, variance=torch.tensor([3.0, 0.1]).double())
X = torch.tensor([[0.0, 0.0], [3.0, -1.0]]).double()
LEVEL = NoiseLevel(time=0.5)


def test_density_is_the_normal_density() -> None:
    expected = stats.multivariate_normal(MEAN, np.diag(VARIANCE + 0.5)).logpdf(X)
    np.testing.assert_allclose(LAW.log_prob(X, LEVEL), expected, rtol=1e-13)


def test_denoised_is_the_conditional_mean_of_a_joint_gaussian() -> None:
    gain = VARIANCE / (VARIANCE + 0.5)  # covariance of x0 and x over variance of x
    torch.testing.assert_close(LAW.denoised(X, LEVEL), MEAN + gain * (X - MEAN), rtol=1e-13, atol=1e-14)


def test_transport_is_the_inverse_distribution_function() -> None:
    z = torch.tensor([[-1.0, 2.0], [0.0, 0.3]]).double()
    expected = stats.norm(MEAN, VARIANCE.sqrt()).ppf(stats.norm.cdf(z))
    np.testing.assert_allclose(LAW.transport(torch.zeros(2).double(), z), expected, rtol=1e-12)


def test_a_pair_is_its_two_laws() -> None:
    pair = Pair(cond=LAW, uncond=OTHER)
    exact = ExactDenoiser(pair)
    assert torch.equal(exact(X, LEVEL, 0), LAW.denoised(X, LEVEL))
    assert torch.equal(exact(X, LEVEL), OTHER.denoised(X, LEVEL))
    assert torch.equal(pair.log_prob(X), OTHER.log_prob(X))
    assert pair.width == pytest.approx(0.1)
    narrow, offset = pair.absorbed()
    torch.testing.assert_close(narrow.cond.variance, VARIANCE - 0.1)
    torch.testing.assert_close(narrow.uncond.variance, torch.tensor([2.9, 0.0]).double())
    assert offset == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("variance", "error", "message"),
    [
        ([1.0], ShapeError, "equally long, got 2 and 1"),
        ([1.0, -1.0], ConfigError, "variances must be >= 0, got -1"),
        ([1.0, math.nan], ConfigError, "must be finite"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_unusable_parameters_are_refused(variance: list[float], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Gaussian(mean=MEAN, variance=torch.tensor(variance).double())


def test_a_pair_lives_in_one_space() -> None:
    line = Gaussian(mean=torch.zeros(1), variance=torch.ones(1))
    with pytest.raises(ShapeError, match="one dimension, got 2 and 1"):
        Pair(cond=LAW, uncond=line)
