"""Gaussian classes of one covariance: against SciPy's densities, numerical gradients, and a mixture of balls."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import softmax

from orthoscope.errors import ConfigError, ShapeError
from orthoscope.process import NoiseLevel
from orthoscope.targets import GaussianClasses, gaussian_classes, mixture

POINTS = torch.tensor(
    [[0.0, 1.0, 2.0], [1.0, 1.5, 0.0], [0.3, -1.0, 1.0], [4.0, 0.2, 1.0], [5.0, 1.0, -1.0], [-2.0, -3.0, 0.0],
     [-2.5, -2.0, 0.7], [-1.0, -2.2, 0.1]]
).double()  # fmt: skip
LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
LAW = gaussian_classes(POINTS, LABELS)
MEANS = np.stack([POINTS[LABELS == k].numpy().mean(0) for k in range(3)])
INNER = POINTS.numpy() - MEANS[LABELS]
WITHIN = INNER.T @ INNER / (8 - 3)
X = torch.tensor([[0.5, 0.0, 1.0], [2.0, 1.0, 0.0], [-1.0, -1.0, 0.4]]).double()
LEVELS = [NoiseLevel(time=0.4), NoiseLevel(time=np.array([0.1, 1.0, 9.0]))]
at_levels = pytest.mark.parametrize("level", LEVELS, ids=["one level", "rows"])


def noised(row: int, level: NoiseLevel) -> np.ndarray:
    return WITHIN + float(np.broadcast_to(level.variance, 3)[row]) * np.eye(3)


def densities(row: int, level: NoiseLevel) -> np.ndarray:
    cov = noised(row, level)
    return np.array([stats.multivariate_normal(mean, cov).logpdf(X[row]) for mean in MEANS])


@at_levels
def test_posterior_density_and_denoised_mean_are_those_of_the_full_matrices(level: NoiseLevel) -> None:
    for row in range(3):
        logs, x = densities(row, level), X[row].numpy()
        posterior = softmax(logs)
        assert float(LAW.log_prob(X, level)[row]) == pytest.approx(np.log(np.exp(logs).mean()), rel=1e-12)
        np.testing.assert_allclose(LAW.class_posteriors(X, level)[row], posterior, rtol=1e-11)
        gain = WITHIN @ np.linalg.inv(noised(row, level))
        each = MEANS + (x - MEANS) @ gain.T
        np.testing.assert_allclose(LAW.denoised(X, level)[row], posterior @ each, rtol=1e-11, atol=1e-13)
        within = np.trace(WITHIN - gain @ WITHIN)
        between = posterior @ np.square(each - posterior @ each).sum(1)
        assert float(LAW.posterior_variance(X, level)[row]) == pytest.approx(within + between, rel=1e-11)
        one = LAW.conditional(1)
        np.testing.assert_allclose(one.denoised(X, level)[row], each[1], rtol=1e-11, atol=1e-13)


def test_score_is_the_gradient_of_the_log_density() -> None:
    x = X.clone().requires_grad_()
    LAW.log_prob(x, LEVELS[0]).sum().backward()
    torch.testing.assert_close(LAW.score(X, LEVELS[0]), x.grad, rtol=1e-10, atol=1e-12)


def test_equal_widths_in_all_directions_are_a_mixture_of_balls() -> None:
    balls = mixture(torch.from_numpy(MEANS), std=0.7)
    same = GaussianClasses(
        means=torch.from_numpy(MEANS), basis=torch.eye(3).double(), variances=torch.full((3,), 0.49).double()
    )
    for name in ("denoised", "posterior_variance", "log_prob"):
        found, expected = (getattr(law, name)(X, LEVELS[0]) for law in (same, balls))
        torch.testing.assert_close(found, expected.to(found), rtol=1e-7, atol=1e-7)  # of its width, a float32
    gaussian, expected = same.gaussian(), balls.gaussian()
    torch.testing.assert_close(gaussian.denoised(X, LEVELS[0]), expected.denoised(X, LEVELS[0]), rtol=1e-7, atol=1e-7)


def test_samples_have_its_moments_and_noise_taken_is_noise() -> None:
    stream = np.random.default_rng(3)
    drawn = LAW.sample(200_000, stream).numpy()
    cov = WITHIN + (MEANS - MEANS.mean(0)).T @ (MEANS - MEANS.mean(0)) / 3
    np.testing.assert_allclose(drawn.mean(0), MEANS.mean(0), atol=6 * np.sqrt(cov.diagonal().max() / 200_000))
    np.testing.assert_allclose(np.cov(drawn.T), cov, atol=0.05 * cov.max())
    narrow, offset = LAW.absorbed()
    assert offset == pytest.approx(np.linalg.eigvalsh(WITHIN)[0], rel=1e-9)
    np.testing.assert_allclose(narrow.log_prob(X, NoiseLevel(time=0.4 + offset)), LAW.log_prob(X, LEVELS[0]), rtol=1e-9)


def test_what_is_no_labelled_data_is_refused() -> None:
    with pytest.raises(ShapeError, match="one label per row, got 2 labels for 8 rows"):
        gaussian_classes(POINTS, LABELS[:2])
    for labels in (
        torch.zeros(8, dtype=torch.long),
        torch.tensor([0, 0, 0, 0, 2, 2, 2, 2]),
        torch.tensor([0] * 7 + [1]),
    ):
        with pytest.raises(ConfigError, match=r"at least 2 classes, 0, 1, ... without a gap, and 2 points of each"):
            gaussian_classes(POINTS, labels)
    with pytest.raises(ConfigError, match="label 3 is not present; labels are 0 to 2"):
        LAW.conditional(3)
