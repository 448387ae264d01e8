from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from orthoscope.errors import ConfigError, ShapeError
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.targets import Gaussian, Pair
from orthoscope.targets.covariant import Covariant, covariant

MEAN = torch.tensor([1.0, -2.0, 0.5, 0.0]).double()
FACTOR = torch.tensor([[1.0, 0.2], [0.3, -0.7], [0.0, 0.4], [0.5, 0.1]]).double()
COV = FACTOR @ FACTOR.T + 0.3 * torch.eye(4).double()
LAWS = {"full": covariant(MEAN, cov=COV), "low rank": covariant(MEAN, factor=FACTOR, diag=0.3)}
X = torch.tensor([[0.0, 0.0, 1.0, -1.0], [3.0, -1.0, 0.2, 0.4], [1.0, -2.0, 0.5, 0.1]]).double()
LEVELS = [NoiseLevel(time=0.5), NoiseLevel(time=np.array([0.2, 1.0, 7.0]))]
both = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)


def noised(row: int, level: NoiseLevel) -> np.ndarray:
    return COV.numpy() + float(np.broadcast_to(level.variance, 3)[row]) * np.eye(4)


@both
@pytest.mark.parametrize("level", LEVELS, ids=["one level", "rows"])
def test_density_and_denoised_mean_are_those_of_the_full_matrix(law: Covariant, level: NoiseLevel) -> None:
    for row in range(3):
        cov = noised(row, level)
        expected = stats.multivariate_normal(MEAN, cov).logpdf(X[row])
        assert float(law.log_prob(X, level)[row]) == pytest.approx(expected, rel=1e-12)
        denoised = MEAN.numpy() + COV.numpy() @ np.linalg.solve(cov, (X[row] - MEAN).numpy())
        np.testing.assert_allclose(law.denoised(X, level)[row], denoised, rtol=1e-12, atol=1e-13)


@both
@pytest.mark.parametrize("level", LEVELS, ids=["one level", "rows"])
def test_posterior_variance_is_the_trace_of_the_posterior_covariance(law: Covariant, level: NoiseLevel) -> None:
    found = law.posterior_variance(X, level)
    for row in range(3):
        cov = noised(row, level)
        expected = np.trace(COV.numpy() - COV.numpy() @ np.linalg.solve(cov, COV.numpy()))
        assert float(found[row]) == pytest.approx(expected, rel=1e-12)


@both
def test_score_is_the_gradient_of_the_log_density(law: Covariant) -> None:
    x = X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(law.log_prob(x, LEVELS[0]).sum(), x)
    torch.testing.assert_close(law.score(X, LEVELS[0]), gradient, rtol=1e-11, atol=1e-12)


@both
def test_transport_is_a_root_of_the_covariance(law: Covariant) -> None:
    root = law.transport(torch.zeros(4).double(), torch.eye(4).double()) - MEAN
    torch.testing.assert_close(root @ root.T, COV, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(root, root.T, rtol=1e-12, atol=1e-13)


def test_a_diagonal_covariance_is_the_gaussian_of_independent_coordinates() -> None:
    variance = torch.tensor([0.4, 2.0, 0.9, 0.1]).double()
    plain, law = Gaussian(mean=MEAN, variance=variance), covariant(MEAN, cov=torch.diag(variance))
    for level in LEVELS:
        for name in ("denoised", "log_prob", "posterior_variance"):
            ours, theirs = (getattr(one, name)(X, level) for one in (law, plain))
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)
    assert law.width == pytest.approx(plain.width, rel=1e-14)


@both
def test_narrowed_and_noised_again_a_law_is_itself(law: Covariant) -> None:
    narrow, offset = law.absorbed()
    assert offset == pytest.approx(0.3, rel=1e-12)
    assert narrow.width == pytest.approx(0, abs=1e-15)
    level, plain = VarianceExploding(offset=offset).at(0.7), VarianceExploding().at(0.7)
    torch.testing.assert_close(narrow.score(X, level), law.score(X, plain), rtol=1e-10, atol=1e-11)
    clean = VarianceExploding(offset=offset).at(0.0)
    torch.testing.assert_close(narrow.log_prob(X, clean), law.log_prob(X), rtol=1e-11, atol=1e-11)


def test_a_thousand_dimensions_of_rank_ten_hold_no_square_matrix() -> None:
    stream = np.random.default_rng(0)
    factor = torch.from_numpy(stream.standard_normal((1000, 10)))
    law = covariant(torch.zeros(1000).double(), factor=factor, diag=0.5)
    assert law.basis.shape == (1000, 10)
    level, x = NoiseLevel(time=2.0), torch.from_numpy(stream.standard_normal((3, 1000)))
    # The matrix determinant lemma and the Woodbury identity, in the other order of multiplication.
    inner = torch.eye(10).double() + factor.T @ factor / 2.5
    solved = x / 2.5 - (x @ factor) @ torch.linalg.inv(inner) @ factor.T / 2.5**2
    log_det = 1000 * math.log(2.5) + torch.logdet(inner)
    expected = -((x * solved).sum(1) + log_det + 1000 * math.log(2 * math.pi)) / 2
    torch.testing.assert_close(law.log_prob(x, level), expected, rtol=1e-11, atol=0)


def test_it_is_a_target_like_any_other() -> None:
    pair = Pair(cond=LAWS["low rank"], uncond=covariant(-MEAN, cov=2 * COV))
    assert pair.width == pytest.approx(0.3, rel=1e-12)
    assert pair.conditional(0) is LAWS["low rank"]
    with pytest.raises(ConfigError, match="label 99 is not present"):
        LAWS["full"].conditional(99)


@pytest.mark.parametrize(
    ("description", "error", "message"),
    [
        ({}, ConfigError, "either as cov, or as factor with diag"),
        ({"cov": COV, "factor": FACTOR, "diag": 1.0}, ConfigError, "either as cov"),
        ({"factor": FACTOR}, ConfigError, "factor with diag"),
        ({"cov": COV[:2, :2]}, ShapeError, "for 4 coordinates"),
        ({"cov": COV + torch.triu(COV)}, ConfigError, "symmetric"),
        ({"cov": COV - torch.eye(4).double()}, ConfigError, "no negative eigenvalue"),
        ({"cov": COV * math.nan}, ConfigError, "finite"),
        ({"factor": FACTOR, "diag": -1.0}, ConfigError, "diag is a variance"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_unusable_covariances_are_refused(description: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        covariant(MEAN, **description)
