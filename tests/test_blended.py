"""Denoisers in shares, the Gaussian of a mixture's moments, and modes that are their own classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from orthoscope.denoise import Blended, Bounded, Counted, Denoiser, Evaluation, ExactDenoiser, FixedLabel, OwnMode
from orthoscope.errors import ConfigError
from orthoscope.guidance.guided import Guided
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.sampling import Exponential, geometric, sample
from orthoscope.targets import mixture, random_mixture
from tests.targets.cases import random_mixture_of

MIXED = random_mixture_of(0)
EXACT, GAUSSIAN = ExactDenoiser(MIXED), ExactDenoiser(MIXED.gaussian())
LEVEL = NoiseLevel(time=0.7)
X = torch.tensor([[0.1, 1.0, -2.0], [2.0, 0.3, 0.5], [-1.0, -1.0, 0.2], [0.4, 0.1, 0.0]], dtype=torch.float64)


class Counting(Denoiser):
    """Remembers how often it was asked."""

    def evaluate(self, x: torch.Tensor, level: NoiseLevel, label: object = None, memory: object = None) -> Evaluation:
        return Evaluation(denoised=x, memory=(memory or 0) + 1, modes_read=5)


def test_shares_of_two_denoisers() -> None:
    found = Blended(EXACT, GAUSSIAN, 0.3)(X, LEVEL)
    torch.testing.assert_close(found, 0.3 * EXACT(X, LEVEL) + 0.7 * GAUSSIAN(X, LEVEL), rtol=1e-14, atol=1e-14)
    assert torch.equal(Blended(EXACT, GAUSSIAN, 1)(X, LEVEL, 1), EXACT(X, LEVEL, 1))
    assert torch.equal(Blended(EXACT, GAUSSIAN, 0.0)(X, LEVEL), GAUSSIAN(X, LEVEL))


def test_a_share_may_depend_on_the_level_and_differ_from_row_to_row() -> None:
    blended = Blended(EXACT, GAUSSIAN, lambda level: level.time / 2)
    assert torch.equal(blended(X, NoiseLevel(time=2.0)), EXACT(X, NoiseLevel(time=2.0)))
    rows = blended(X, NoiseLevel(time=np.array([0.2, 1.0, 2.0, 0.0])))
    alone = blended(X[1:2], NoiseLevel(time=1.0))
    torch.testing.assert_close(rows[1:2], alone, rtol=1e-14, atol=1e-14)


def test_each_keeps_its_own_memory_and_only_who_is_asked_costs() -> None:
    half, first = Blended(Counting(), Counting(), 0.5), Blended(Counting(), Counting(), 1.0)
    one = half.evaluate(X, LEVEL)
    assert (one.memory, one.calls, one.modes_read) == ((1, 1), 2, 10)
    two = first.evaluate(X, LEVEL, memory=one.memory)
    assert (two.memory, two.calls, two.modes_read) == ((2, 1), 1, 5)


@pytest.mark.parametrize("share", [math.nan, "half", lambda level: math.inf], ids=["nan", "text", "infinite"])
@pytest.mark.usefixtures("unchecked")
def test_what_is_no_share_is_refused(share: object) -> None:
    with pytest.raises(ConfigError, match="`share` must be a finite number"):
        Blended(EXACT, GAUSSIAN, share)(X, LEVEL)


def test_the_gaussian_of_a_mixture_has_its_moments() -> None:
    mean, cov = MIXED.moments()
    gaussian = MIXED.gaussian()
    torch.testing.assert_close(gaussian.mean, mean, rtol=1e-13, atol=1e-13)
    rebuilt = gaussian.basis @ torch.diag(gaussian.variances) @ gaussian.basis.T
    torch.testing.assert_close(rebuilt, cov, rtol=1e-13, atol=1e-13)
    # The best affine guess of clean data is the posterior mean of that Gaussian.
    gain = cov @ torch.linalg.inv(cov + 0.7 * torch.eye(3, dtype=cov.dtype))
    torch.testing.assert_close(GAUSSIAN(X, LEVEL), mean + (X - mean) @ gain.T, rtol=1e-12, atol=1e-12)


def test_few_modes_leave_directions_of_bare_width_which_can_be_counted_as_noise(seed: int) -> None:
    few = random_mixture(6, classes=3, std=0.4, stream=np.random.default_rng(seed), dtype=torch.float32)
    narrow = few.gaussian().narrowed(few.width)
    assert float(narrow.variances[:4].abs().max()) < 1e-6  # three modes span two directions about their mean
    level, x = NoiseLevel(time=0.7), torch.ones(1, 6)
    counted = ExactDenoiser(narrow)(x, NoiseLevel(time=0.7, offset=few.width))
    torch.testing.assert_close(
        counted, Counted(ExactDenoiser(few.gaussian()))(x, NoiseLevel(time=0.7, offset=few.width)), rtol=1e-4, atol=1e-5
    )
    assert torch.isfinite(few.gaussian().denoised(x, level)).all()


def test_own_modes_are_the_classes_of_an_exact_denoiser(seed: int) -> None:
    target = random_mixture(5, classes=7, std=0.5, stream=np.random.default_rng(seed), dtype=torch.float64)
    labels = torch.tensor([3, 0, 3, 6])
    x = torch.from_numpy(np.random.default_rng(seed + 1).standard_normal((4, 5)))
    for law, level in ((target, LEVEL), (target.narrowed(0.25), NoiseLevel(time=0.7, offset=0.25))):
        own, exact = OwnMode(law), ExactDenoiser(law)
        torch.testing.assert_close(own(x, level, labels), exact(x, level, labels), rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(own(x, level, 2), exact(x, level, 2), rtol=1e-13, atol=1e-13)
        assert torch.equal(own(x, level), exact(x, level))
    with pytest.raises(ConfigError, match="absorbed"):
        OwnMode(target)(x, NoiseLevel(time=0.7, offset=0.25), labels)


def test_guidance_against_the_gaussian_alone_is_a_linear_equation() -> None:
    """Classes at +-1 in one dimension: q - 1 and V of the ODE from t = 50 in closed form, with r = v/(1 + v)."""
    target = mixture(torch.tensor([[1.0], [-1.0]], dtype=torch.float64), std=0.5)
    narrow, offset = target.absorbed()
    reference = Blended(ExactDenoiser(narrow), ExactDenoiser(target.gaussian().narrowed(offset)), 0.0)
    guided = Guided(main=OwnMode(narrow), reference=FixedLabel(reference), schedule=3.0)
    levels = geometric(VarianceExploding(offset=offset), 50.0, 800)
    begin = torch.tensor([[1.0], [1.0 + math.sqrt(50.25)]], dtype=torch.float64)  # the mean, and a deviation above it
    end = sample(guided, begin, levels, step=Exponential(lam=0.0), label=0).x
    r, far = 0.25 / 1.25, 50.25 / 51.25
    assert float(end[1] - end[0]) ** 2 / 0.25 == pytest.approx((r / far) ** 3, rel=1e-4)


def test_the_best_of_a_linear_set_has_the_learned_fraction_as_its_slope() -> None:
    """Cubic polynomials beside the exact answer for two modes on a line, by quadrature over the noised law."""
    target = mixture(torch.tensor([[1.0], [-1.0]], dtype=torch.float64), std=0.3)
    x = torch.linspace(-6, 6, 2001, dtype=torch.float64)[:, None]
    root = (target.log_prob(x, LEVEL) / 2).exp()
    exact, affine = (ExactDenoiser(law)(x, LEVEL) for law in (target, target.gaussian()))
    powers = torch.cat([x**n for n in range(4)], 1)
    found = powers @ torch.linalg.lstsq(powers * root[:, None], exact * root[:, None]).solution
    unknown, said = (exact - affine)[:, 0] * root, (found - affine)[:, 0] * root
    fraction = 1 - float((said - unknown).square().sum() / unknown.square().sum())
    assert 0.5 < fraction < 1
    assert float(said @ unknown / unknown.square().sum()) == pytest.approx(fraction, rel=1e-6)
    rest = said - fraction * unknown
    assert float(rest.square().sum() / unknown.square().sum()) == pytest.approx(fraction * (1 - fraction), rel=1e-5)


def test_answers_are_cut_to_a_length_and_shorter_ones_left() -> None:
    x = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    found = Bounded(Counting(), 2.0)(x, LEVEL)
    torch.testing.assert_close(found, torch.tensor([[1.2, 1.6], [0.3, 0.4], [0.0, 0.0]]))
    with pytest.raises(ConfigError, match="largest"):
        Bounded(Counting(), 0.0)
