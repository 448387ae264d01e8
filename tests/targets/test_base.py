"""What every target must satisfy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from orthoscope import rng
from orthoscope.errors import ConfigError
from orthoscope.process import EDM, NoiseLevel, OrnsteinUhlenbeck, VarianceExploding
from orthoscope.targets import CLEAN, Target
from tests.stat.expect import expect_mean
from tests.targets.cases import every_target

TARGETS = every_target()
every = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
LEVELS = [NoiseLevel(time=t) for t in (1e-3, 0.4, 30.0)]


def points(seed: int, n: int = 9) -> torch.Tensor:
    return 3 * torch.from_numpy(rng.stream(seed, "points").standard_normal((n, 3)))


@every
def test_score_is_the_gradient_of_the_log_density(target: Target, seed: int) -> None:
    for level in LEVELS:
        x = points(seed).requires_grad_()
        (gradient,) = torch.autograd.grad(target.log_prob(x, level).sum(), x)
        torch.testing.assert_close(target.score(x.detach(), level), gradient, rtol=1e-9, atol=1e-10)


@every
def test_posterior_variance_is_the_divergence_of_the_denoised_mean(target: Target, seed: int) -> None:
    for level in [*LEVELS, NoiseLevel(time=np.linspace(0.2, 1.8, 9))]:
        x = points(seed).requires_grad_()
        denoised = target.denoised(x, level)
        divergence = sum(
            torch.autograd.grad(denoised[:, k].sum(), x, retain_graph=True)[0][:, k] for k in range(target.dim)
        )
        expected = torch.as_tensor(level.variance, dtype=torch.float64) * divergence
        torch.testing.assert_close(target.posterior_variance(x.detach(), level), expected, rtol=1e-8, atol=1e-10)


@every
def test_noising_is_a_semigroup(target: Target, seed: int) -> None:
    # Narrowed by some offset and noised again, a law is itself at every later level.
    x, offset = points(seed), 0.6 * target.width
    narrow = target.narrowed(offset)
    for time in (0.0, 0.3, 8.0):
        plain, counted = VarianceExploding().at(time), VarianceExploding(offset=offset).at(time)
        torch.testing.assert_close(narrow.log_prob(x, counted), target.log_prob(x, plain), rtol=1e-12, atol=1e-12)
        if time:
            torch.testing.assert_close(narrow.score(x, counted), target.score(x, plain), rtol=1e-10, atol=1e-10)


@every
def test_the_absorbed_law_with_its_offset_is_the_law(target: Target, seed: int) -> None:
    x = points(seed)
    narrow, offset = target.absorbed()
    assert offset == target.width > 0
    assert narrow.width == pytest.approx(0, abs=1e-15)
    for chart in (VarianceExploding, OrnsteinUhlenbeck, EDM):
        level, plain = chart(offset=offset).at(0.7), chart().at(0.7)
        torch.testing.assert_close(narrow.score(x, level), target.score(x, plain), rtol=1e-10, atol=1e-10)


@every
def test_levels_may_differ_from_row_to_row(target: Target, seed: int) -> None:
    x, times = points(seed, 3), np.array([0.2, 5.0, 0.9])
    rows = NoiseLevel(time=times, offset=0.1)
    for name in ("denoised", "score", "log_prob", "posterior_variance"):
        whole = getattr(target, name)(x, rows)
        for k in range(3):
            alone = getattr(target, name)(x[k : k + 1], NoiseLevel(time=float(times[k]), offset=0.1))
            torch.testing.assert_close(whole[k : k + 1], alone, rtol=1e-12, atol=1e-12)


@every
def test_everything_is_finite_a_thousand_deviations_away(target: Target) -> None:
    x = 1e3 * torch.eye(3, dtype=torch.float64)
    for level in LEVELS:
        for name in ("denoised", "score", "log_prob", "posterior_variance"):
            assert torch.isfinite(getattr(target, name)(x, level)).all()


@every
def test_samples_have_the_law_of_the_density(target: Target, seed: int) -> None:
    # The score has mean zero under its own law, and x.score has mean -dim (Stein).
    level, n = NoiseLevel(time=0.5), 100_000
    stream = rng.stream(seed, "samples")
    x = target.sample(n, stream) + np.sqrt(0.5) * torch.from_numpy(stream.standard_normal((n, 3)))
    score = target.score(x, level)
    for coordinate in score.T.numpy():
        expect_mean(coordinate, 0, sd=float(coordinate.std()), detect=0.05, false_fail=1e-6 / 4)
    stein = (x * score).sum(1).numpy()
    expect_mean(stein, -3, sd=float(stein.std()), detect=0.15, false_fail=1e-6 / 4)


@every
def test_transport_is_a_function_of_its_base_noise(target: Target, seed: int) -> None:
    stream = rng.stream(seed, "base")
    uniform, normal = torch.from_numpy(stream.random(5)), torch.from_numpy(stream.standard_normal((5, 3)))
    whole = target.transport(uniform, normal)
    torch.testing.assert_close(whole[2:], target.transport(uniform[2:], normal[2:]), rtol=1e-14, atol=1e-15)
    assert whole.dtype == target.dtype


@every
def test_a_class_that_is_not_there_is_named(target: Target) -> None:
    with pytest.raises(ConfigError, match="label 99 is not present"):
        target.conditional(99)
    assert target.conditional(0).dim == target.dim == 3


@every
def test_no_more_than_the_width_can_be_counted_as_noise(target: Target) -> None:
    for offset in (-0.1, 1.01 * target.width):
        with pytest.raises(ConfigError, match="expected an offset from 0 to the width"):
            target.narrowed(offset)


def test_clean_is_no_noise() -> None:
    assert (CLEAN.variance, CLEAN.sigma) == (0.0, 0.0)
