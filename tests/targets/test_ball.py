"""The uniform ball against closed forms in one and three dimensions, radial quadrature, and far limits."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import gammainc, ive

from orthoscope import rng
from orthoscope.errors import ConfigError
from orthoscope.process import NoiseLevel
from orthoscope.targets.ball import Ball, log_gamma_cdf
from orthoscope.targets.intervals import box
from tests.stat.expect import expect_cdf, expect_mean

F64 = torch.float64


def ball(dim: int, radius: float = 1.5) -> Ball:
    return Ball(center=torch.linspace(-0.3, 0.4, dim, dtype=F64), radius=radius)


def beside(target: Ball, *distances: float) -> torch.Tensor:
    """States at these distances from the center, in one direction."""
    direction = torch.ones(target.dim, dtype=F64) / math.sqrt(target.dim)
    return target.center + torch.tensor(distances, dtype=F64)[:, None] * direction


@pytest.mark.parametrize("sigma", [1e-6, 1e-3, 0.3, 5.0])
def test_in_one_dimension_it_is_an_interval(sigma: float) -> None:
    target = ball(1)
    segment = box(target.center - target.radius, target.center + target.radius)
    x = beside(target, 0.4, 1.5 - sigma, 1.5, 1.5 + sigma, 1.5 + 50 * sigma, 2.5)
    level = NoiseLevel(time=sigma**2)
    torch.testing.assert_close(target.denoised(x, level), segment.denoised(x, level), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(target.log_prob(x, level), segment.log_prob(x, level), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        target.posterior_variance(x, level), segment.posterior_variance(x, level), rtol=1e-9, atol=0
    )


@pytest.mark.parametrize("dim", [2, 3, 7])
@pytest.mark.parametrize("sigma", [0.05, 0.4, 3.0])
def test_it_agrees_with_radial_quadrature(dim: int, sigma: float) -> None:
    # Another cut through the ball: spheres about its center, with Bessel functions for the angle.
    target, order, radius = ball(dim), dim / 2 - 1, 1.5
    for r in (0.3, 1.4, 1.5 + sigma, 1.5 + 50 * sigma):
        peak = min(r, radius)

        def weight(rho: float, r: float = r, peak: float = peak) -> float:
            k = r * rho / sigma**2
            fall = ((rho - r) ** 2 - (peak - r) ** 2) / (2 * sigma**2)
            return rho ** (dim - 1) * math.exp(-fall) * ive(order, k) * k**-order

        marks = [peak - c * sigma for c in (10, 3, 1, 0.3, 0.1, 0.03)] + [peak + c * sigma for c in (1, 3, 10)]
        edges = np.array([0.0, *sorted(p for p in marks if 0 < p < radius), radius])

        def integral(function: object, edges: np.ndarray = edges) -> float:
            pieces = (quad(function, a, b, epsabs=0, epsrel=1e-12, limit=200) for a, b in itertools.pairwise(edges))
            return sum(piece[0] for piece in pieces)

        def radial(rho: float, r: float = r, weight: object = weight) -> float:
            k = r * rho / sigma**2
            return weight(rho) * rho * ive(order + 1, k) / ive(order, k)

        total = integral(weight)
        mean = integral(radial) / total
        second = integral(lambda rho, weight=weight: weight(rho) * rho**2) / total
        log_prob = (
            math.log(total) - (peak - r) ** 2 / (2 * sigma**2) - target.log_volume
            + dim / 2 * math.log(2 * math.pi) - dim / 2 * math.log(2 * math.pi * sigma**2)
        )  # fmt: skip
        x, level = beside(target, r), NoiseLevel(time=sigma**2)
        assert float(target.log_prob(x, level)) == pytest.approx(log_prob, rel=1e-10, abs=1e-10)
        torch.testing.assert_close(target.denoised(x, level), beside(target, mean), rtol=0, atol=1e-10)
        assert float(target.posterior_variance(x, level)) == pytest.approx(second - mean**2, abs=1e-10)


@pytest.mark.parametrize("dim", [2, 5, 400])
@pytest.mark.parametrize("sigma", [1e-6, 0.1, 2.0])
def test_the_score_is_the_gradient_of_the_log_density(dim: int, sigma: float) -> None:
    target, level = ball(dim), NoiseLevel(time=sigma**2)
    x = beside(target, 0.7, 1.5 + sigma, 1.5 + 50 * sigma).requires_grad_()
    (gradient,) = torch.autograd.grad(target.log_prob(x, level).sum(), x)
    score = target.score(x.detach(), level)
    torch.testing.assert_close(score, gradient, rtol=1e-8, atol=1e-10 / sigma**2)


@pytest.mark.parametrize("dim", [2, 5, 30])
def test_posterior_variance_is_the_divergence_of_the_denoised_mean(dim: int) -> None:
    target, times = ball(dim), np.array([0.04, 0.5, 3.0])
    x = beside(target, 0.7, 1.6, 2.0).requires_grad_()
    level = NoiseLevel(time=times)
    denoised = target.denoised(x, level)
    divergence = sum(torch.autograd.grad(denoised[:, k].sum(), x, retain_graph=True)[0][:, k] for k in range(dim))
    expected = torch.from_numpy(times) * divergence
    torch.testing.assert_close(target.posterior_variance(x.detach(), level), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dim", [2, 3, 50, 1000])
def test_far_outside_the_surface_is_approached_and_deep_inside_nothing_is_seen(dim: int) -> None:
    target, sigma = ball(dim, radius=2.0), 1e-6
    level = NoiseLevel(time=sigma**2)
    inside, outside = beside(target, 1.0), beside(target, 3.0)
    torch.testing.assert_close(target.denoised(inside, level), inside, rtol=0, atol=1e-11)
    assert float(target.posterior_variance(inside, level)) == pytest.approx(dim * sigma**2, rel=1e-8)
    assert float(target.log_prob(inside, level)) == pytest.approx(-target.log_volume, abs=1e-8)
    # Flat surface, exponential law under it, to first order in sigma: mean depth sigma^2 / gap from one direction and
    # from the sag of the others, which the curvature stretches by R / (R + gap) * (dim - 1) / 2.
    depth = 2.0 - float((target.denoised(outside, level) - target.center).norm())
    spread = (dim - 1) / 2 * sigma**2 * (2.0 / 3.0) / 2.0
    assert depth == pytest.approx(sigma**2 + spread, rel=1e-2, abs=2e-14)


def test_incomplete_gamma_functions_reach_below_the_range_of_floats() -> None:
    orders = [0.5, 3.0, 40.0]
    x = torch.tensor([1e-3, 0.5, 4.0, 60.0], dtype=F64)
    for order in orders:
        expected = torch.from_numpy(np.log(gammainc(order, x.numpy())))
        torch.testing.assert_close(log_gamma_cdf(order, x), expected, rtol=1e-12, atol=1e-14)
    # P(a, x) = P(a + 1, x) + x^a e^-x / Gamma(a + 1), at a probability of 10^-1000 and less.
    order, x = 500.0, torch.tensor([1.0, 60.0, 200.0], dtype=F64)
    last = order * x.log() - x - math.lgamma(order + 1)
    assert float(last.min()) < -2000
    torch.testing.assert_close(
        log_gamma_cdf(order, x), torch.logaddexp(log_gamma_cdf(order + 1, x), last), rtol=1e-13, atol=1e-11
    )
    assert log_gamma_cdf(0.0, x).tolist() == [0.0, 0.0, 0.0]


def test_samples_fill_the_ball_evenly(seed: int) -> None:
    target = ball(3)
    x = (target.sample(60_000, rng.stream(seed, "samples")) - target.center).numpy()
    distance = np.linalg.norm(x, axis=1)
    expect_cdf((distance / 1.5) ** 3, lambda u: np.clip(u, 0, 1), detect=0.03, false_fail=5e-7)
    expect_mean(x[:, 0], 0.0, sd=1.5 / math.sqrt(5), detect=0.05, false_fail=5e-7)


def test_the_clean_law_and_its_class() -> None:
    target = ball(2, radius=1.0)
    x = beside(target, 0.5, 1.5)
    assert target.log_prob(x).tolist() == [pytest.approx(-math.log(math.pi)), -math.inf]
    assert target.width == 0
    assert target.conditional(0) is target
    assert target.narrowed(0.0).radius == 1.0
    with pytest.raises(ConfigError, match="label 1 is not present"):
        target.conditional(1)
    with pytest.raises(ConfigError, match="radius > 0, got 0"):
        ball(2, radius=0.0)
    with pytest.raises(ConfigError, match="center must be finite"):
        Ball(center=torch.tensor([math.nan]), radius=1.0)
