"""Laws on intervals against quadrature, deep outside the support and at tiny noise included."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import truncnorm

from orthoscope import rng
from orthoscope.errors import ConfigError, ShapeError
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.targets import CLEAN
from orthoscope.targets.intervals import Intervals, box
from tests.stat.expect import expect_cdf

F64 = torch.float64
UNIFORM = (1.0, 2.0, 0.0, math.inf)
CUTS = [UNIFORM, (-0.5, 3.0, 0.4, 0.7), (2.0, 2.5, -1.0, 0.3), (-math.inf, 0.3, 0.0, 1.0), (0.0, math.inf, -2.0, 0.5)]
SIGMAS = [1e-6, 1e-3, 0.2, 1.0, 40.0]
FAR = [-50.0, -8.0, -0.7, 0.0, 0.3, 4.0, 50.0]


def law(low: float, high: float, location: float, scale: float) -> Intervals:
    lower, upper, at, width = (torch.tensor([value], dtype=F64) for value in (low, high, location, scale))
    return Intervals(lower=lower, upper=upper, location=at, scale=width)


def by_quadrature(cut: tuple[float, ...], x: float, sigma: float) -> tuple[float, float, float]:
    """Log-density, mean and variance of the posterior by quadrature round its peak."""
    low, high, location, scale = cut
    precision = sigma**-2 + scale**-2
    peak = min(max((x / sigma**2 + location / scale**2) / precision, low), high)
    slope = (peak - x) / sigma**2 + (peak - location) / scale**2
    reach = 45 / max(abs(slope), math.sqrt(precision))
    a, b = max((low - peak) / reach, -1.0), min((high - peak) / reach, 1.0)

    def weight(u: float) -> float:  # relative to the peak, in units of the reach
        return math.exp(-reach * u * (precision * reach * u / 2 + slope))

    def integral(function: Callable[[float], float]) -> float:
        pieces = np.unique(np.clip([a, -0.1, 0.0, 0.1, b], a, b))
        return sum(quad(function, p, q, epsabs=1e-15, epsrel=1e-12)[0] for p, q in itertools.pairwise(pieces))

    total = integral(weight)
    mean = integral(lambda u: weight(u) * u) / total
    variance = integral(lambda u: weight(u) * (u - mean) ** 2) / total
    total, mean, variance = total * reach, mean * reach, variance * reach**2
    at_peak = -((x - peak) ** 2) / (2 * sigma**2) - math.log(2 * math.pi * sigma**2) / 2
    if math.isinf(scale):
        prior = -math.log(high - low)
    else:
        ends = (low - location) / scale, (high - location) / scale
        prior = float(truncnorm(*ends, loc=location, scale=scale).logpdf(peak))
    return math.log(total) + at_peak + prior, peak + mean, variance


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("sigma", SIGMAS)
def test_density_mean_and_variance_agree_with_quadrature(cut: tuple[float, ...], sigma: float) -> None:
    target, level = law(*cut), NoiseLevel(time=sigma**2)
    for end in cut[:2]:
        for z in FAR if math.isfinite(end) else []:
            x = torch.tensor([[end + z * sigma]], dtype=F64)
            log_prob, mean, variance = by_quadrature(cut, float(x), sigma)
            assert float(target.log_prob(x, level)) == pytest.approx(log_prob, rel=1e-10, abs=1e-10)
            assert float(target.denoised(x, level)) == pytest.approx(mean, rel=1e-10, abs=1e-10)
            assert float(target.posterior_variance(x, level)) == pytest.approx(variance, rel=1e-9)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_single_precision_keeps_its_digits_outside_the_support(sigma: float) -> None:
    x = 1 + torch.tensor(FAR)[:, None] * 50 * sigma
    narrow = Intervals(lower=torch.ones(1), upper=2 * torch.ones(1), location=torch.zeros(1),
                       scale=torch.full((1,), math.inf))  # fmt: skip
    level = NoiseLevel(time=sigma**2)
    single, double = narrow.denoised(x, level), law(*UNIFORM).denoised(x.double(), level)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=1e-6, atol=1e-6)
    assert bool(((single >= 1) & (single <= 2)).all())
    assert bool((narrow.posterior_variance(x, level) > 0).all())


@given(
    x=st.floats(-1e6, 1e6),
    log_sigma=st.floats(-14, 8),
    cut=st.sampled_from(CUTS),
)
def test_the_denoised_mean_is_inside_whatever_the_state(x: float, log_sigma: float, cut: tuple[float, ...]) -> None:
    target, level = law(*cut), NoiseLevel(time=math.exp(2 * log_sigma))
    rows = torch.tensor([[x]], dtype=F64)
    denoised, variance = float(target.denoised(rows, level)), float(target.posterior_variance(rows, level))
    slack = 1e-12 * (1 + abs(denoised))
    assert cut[0] - slack <= denoised <= cut[1] + slack
    assert 0 < variance <= (cut[1] - cut[0]) ** 2 / 4
    assert math.isfinite(float(target.log_prob(rows, level)))


def test_score_and_posterior_variance_are_derivatives() -> None:
    target = Intervals(
        lower=torch.tensor([0.0, -1.0], dtype=F64), upper=torch.tensor([1.0, 3.0], dtype=F64),
        location=torch.tensor([0.0, 0.5], dtype=F64), scale=torch.tensor([math.inf, 0.8], dtype=F64),
    )  # fmt: skip
    for level in (NoiseLevel(time=0.01), NoiseLevel(time=np.linspace(0.1, 4.0, 6))):
        x = torch.linspace(-2, 4, 12, dtype=F64).reshape(6, 2).requires_grad_()
        (gradient,) = torch.autograd.grad(target.log_prob(x, level).sum(), x)
        torch.testing.assert_close(target.score(x.detach(), level), gradient, rtol=1e-9, atol=1e-10)
        denoised = target.denoised(x, level)
        divergence = sum(torch.autograd.grad(denoised[:, k].sum(), x, retain_graph=True)[0][:, k] for k in range(2))
        expected = torch.as_tensor(level.variance, dtype=F64) * divergence
        torch.testing.assert_close(target.posterior_variance(x.detach(), level), expected, rtol=1e-8, atol=1e-12)


def test_coordinates_are_independent() -> None:
    product = Intervals(**{
        name: torch.tensor([cut[k] for cut in CUTS], dtype=F64)
        for k, name in enumerate(("lower", "upper", "location", "scale"))
    })  # fmt: skip
    x, level = torch.linspace(-1, 3, len(CUTS), dtype=F64)[None], NoiseLevel(time=0.3)
    alone = [law(*cut) for cut in CUTS]
    parts = [(one, x[:, k : k + 1]) for k, one in enumerate(alone)]
    torch.testing.assert_close(product.log_prob(x, level), sum(one.log_prob(row, level) for one, row in parts))
    torch.testing.assert_close(
        product.denoised(x, level), torch.cat([one.denoised(row, level) for one, row in parts], 1)
    )
    torch.testing.assert_close(
        product.posterior_variance(x, level), sum(one.posterior_variance(row, level) for one, row in parts)
    )


@pytest.mark.parametrize("cut", CUTS)
def test_samples_follow_the_law(cut: tuple[float, ...], seed: int) -> None:
    low, high, location, scale = cut
    x = law(*cut).sample(60_000, rng.stream(seed, "samples"))[:, 0].numpy()
    assert ((x >= low) & (x <= high)).all()
    if math.isinf(scale):
        expect_cdf(x, lambda y: np.clip((y - low) / (high - low), 0, 1), detect=0.03)
    else:
        reference = truncnorm((low - location) / scale, (high - location) / scale, loc=location, scale=scale)
        expect_cdf(x, reference.cdf, detect=0.03)


def test_transport_is_increasing_also_where_the_mass_is_a_far_tail() -> None:
    target = law(40.0, 41.0, 0.0, 1.0)
    normal = torch.linspace(-5, 5, 101, dtype=F64)[:, None]
    x = target.transport(torch.zeros(101, dtype=F64), normal)[:, 0]
    assert bool((x.diff() > 0).all())
    # The tail falls like exp(-40 u): a tenth of the mass lies beyond log(10) / 40.
    middle = float(target.transport(torch.zeros(1, dtype=F64), torch.tensor([[1.2815515655]], dtype=F64)))
    assert middle == pytest.approx(40 + math.log(10) / 40, abs=2e-3)


def test_the_clean_law_ends_sharply() -> None:
    target = box(torch.tensor([0.0, 0.0], dtype=F64), torch.tensor([2.0, 4.0], dtype=F64))
    x = torch.tensor([[1.0, 1.0], [3.0, 1.0]], dtype=F64)
    assert target.log_prob(x).tolist() == [pytest.approx(-math.log(8)), -math.inf]
    assert target.log_prob(x, CLEAN).tolist() == target.log_prob(x).tolist()
    tiny = target.log_prob(x[:1], NoiseLevel(time=1e-12))
    assert float(tiny) == pytest.approx(-math.log(8), rel=1e-12)


def test_it_is_a_single_class_without_width() -> None:
    target = law(*UNIFORM)
    assert target.width == 0
    assert target.conditional(0) is target
    x, level = torch.tensor([[1.3]], dtype=F64), VarianceExploding().at(0.2)
    assert torch.equal(target.absorbed()[0].log_prob(x, level), target.log_prob(x, level))
    with pytest.raises(ConfigError, match="label 3 is not present"):
        target.conditional(3)
    with pytest.raises(ConfigError, match="offset"):
        target.narrowed(0.1)


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        ((2.0, 1.0, 0.0, 1.0), "interval 0 is empty: expected lower < upper, got \\[2, 1\\]"),
        ((1.0, 1.0, 0.0, math.inf), "interval 0 is empty"),
        ((math.nan, 1.0, 0.0, 1.0), "interval 0 is empty"),
        ((0.0, 1.0, 0.0, 0.0), "scale must be > 0"),
        ((0.0, math.inf, 0.0, math.inf), "uniform law needs finite ends"),
        ((0.0, 1.0, math.nan, 1.0), "locations must be finite"),
    ],
)
def test_unusable_intervals_are_refused(cut: tuple[float, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        law(*cut)


@pytest.mark.usefixtures("unchecked")
def test_ragged_ends_are_refused() -> None:
    with pytest.raises(ShapeError, match="equally long"):
        box(torch.zeros(2), torch.ones(3))
