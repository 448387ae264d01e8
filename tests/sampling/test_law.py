"""The law that a run ends in: exactly for affine denoisers, statistically for mixtures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats

from orthoscope import rng
from orthoscope.bench.textbook import Score, mixture_score, textbook_sample, textbook_times
from orthoscope.denoise import Denoiser, Evaluation, ExactDenoiser, Label, Memory
from orthoscope.guidance import schedules
from orthoscope.guidance.guided import classifier_free
from orthoscope.guidance.schedules import Constant, Linear
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.sampling import (
    Exponential,
    Grid,
    IndependentNoise,
    Multistep,
    Step,
    geometric,
    grid,
    sample,
    start,
    through,
)
from orthoscope.targets import Mixture, mixture
from tests.sampling.linear import affine_law, gaussian_pair, guided_pair, moment_equations
from tests.stat.expect import expect_cdf, expect_same_law

T_MAX = 20.0
LAMS = (0.0, 0.5, 1.0)


def slope(sizes: list[int], errors: list[float]) -> tuple[float, float]:
    fit = stats.linregress(np.log(sizes), np.log(np.abs(errors)))
    return -float(fit.slope), float(fit.stderr)


@pytest.mark.parametrize("lam", LAMS)
@pytest.mark.parametrize(
    ("kind", "order", "last"),
    [(partial(Exponential, order=1), 1, 2e-2), (partial(Exponential, order=2), 2, 2e-5), (Multistep, 2, 5e-5)],
    ids=["first order", "second order", "multistep"],
)
def test_moments_converge_to_the_moment_equations_with_the_claimed_order(
    lam: float, kind: Callable[..., Step], order: int, last: float
) -> None:
    pair, schedule = gaussian_pair(), Constant(value=3.0)
    denoiser, process = guided_pair(pair, schedule)
    expected = moment_equations(pair, schedule, lam, T_MAX)
    sizes = [16, 32, 64, 128, 256]
    step = kind(lam=lam)
    laws = [affine_law(denoiser, geometric(process, T_MAX, n), step, 1.0, 0.3 + T_MAX) for n in sizes]
    for part in (0, 1):
        errors = [law[part] - expected[part] for law in laws]
        found, stderr = slope(sizes, errors)
        assert abs(found - order) < 3 * stderr + 0.1, (part, found, stderr, errors)
        assert abs(errors[-1]) < last


@pytest.mark.parametrize("lam", LAMS)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_frozen_mean_is_sampled_exactly_by_any_number_of_steps(lam: float, steps: int) -> None:
    # The conditional law is as narrow as the absorbed width, so its denoised mean never moves.
    denoiser, process = guided_pair(gaussian_pair(), Constant(value=0.0))
    law = affine_law(denoiser, geometric(process, T_MAX, steps), Exponential(lam=lam), 1.0, 0.3 + T_MAX)
    assert law == pytest.approx((1.0, 0.3), rel=1e-12)


@pytest.mark.parametrize("w", [-0.8, -0.2, 1.0, 4.0])
def test_endpoint_from_nearly_infinite_noise_has_the_closed_form(w: float) -> None:
    c, u, mu_c, mu_u, t_max = 0.3, 1.4, 1.0, -0.5, 1e7
    denoiser, process = guided_pair(gaussian_pair(c, u, mu_c, mu_u), Constant(value=w))
    laws = [
        np.array(affine_law(denoiser, geometric(process, t_max, n), Exponential(), mu_c, c + t_max)) for n in (150, 300)
    ]
    mean, variance = (4 * laws[1] - laws[0]) / 3
    r = c / u
    assert mean == pytest.approx((mu_c * (1 - r ** (1 + w)) - mu_u * (r - r ** (1 + w))) / (1 - r), abs=5e-5)
    assert variance == pytest.approx(c * (1 - r ** (1 + 2 * w)) / ((1 + 2 * w) * (1 - r)), abs=5e-5)


@pytest.mark.parametrize("lam", LAMS)
def test_a_jump_on_the_grid_keeps_second_order(lam: float) -> None:
    pair, schedule = gaussian_pair(), schedules.Step(early=3.0, late=-0.5, switch=0.7)
    denoiser, process = guided_pair(pair, schedule)
    expected = moment_equations(pair, schedule, lam, T_MAX, schedule.switches())

    def error(levels: Grid) -> float:
        return abs(affine_law(denoiser, levels, Exponential(lam=lam), 1.0, 0.3 + T_MAX)[1] - expected[1])

    sizes = [16, 32, 64, 128, 256]
    plain = [geometric(process, T_MAX, n) for n in sizes]
    found, stderr = slope(sizes, [error(through(levels, process, schedule.switches())) for levels in plain])
    assert abs(found - 2) < 3 * stderr + 0.1
    # Negative control: a step across the jump costs an order.
    assert max(error(levels) for levels in plain[3:]) > 20 * error(through(plain[3], process, schedule.switches()))


@pytest.mark.parametrize(
    "schedule", [Constant(value=2.0), Linear(w0=-0.3, slope=0.2), schedules.Step(early=2.0, late=-1.0, switch=1.0)]
)
def test_strength_minus_one_ends_in_the_unconditional_law(schedule: Constant) -> None:
    # Guidance by the law itself: conditional and unconditional swap roles at w -> -1 - w.
    pair = gaussian_pair()
    swapped = gaussian_pair(1.4, 0.3, -0.5, 1.0)
    t = np.linspace(0.01, T_MAX, 7)
    mirrored = type(schedule)(**_mirrored(schedule))
    np.testing.assert_allclose(mirrored.at_time(t), -1 - schedule.at_time(t), atol=1e-12)
    laws = []
    for target, guidance in ((pair, schedule), (swapped, mirrored)):
        denoiser, process = guided_pair(target, guidance)
        levels = through(geometric(process, T_MAX, 20), process, guidance.switches())
        laws.append(affine_law(denoiser, levels, Exponential(), 0.0, 1 + T_MAX))
    assert laws[0] == pytest.approx(laws[1], rel=1e-10)


def _mirrored(schedule: schedules.GuidanceSchedule) -> dict[str, float]:
    match schedule:
        case Constant():
            return {"value": -1 - schedule.value}
        case Linear():
            return {"w0": -1 - schedule.w0, "slope": -schedule.slope}
        case _:
            return {"early": -1 - schedule.early, "late": -1 - schedule.late, "switch": schedule.switch}


# Mixtures


def many_modes() -> Mixture:
    centroids = torch.tensor([[-2.0], [0.4], [2.5], [-0.6], [1.2]], dtype=torch.float64)
    weights = torch.tensor([1.0, 2.0, 1.0, 1.5, 0.5], dtype=torch.float64)
    return mixture(centroids, std=0.3, labels=torch.tensor([0, 0, 0, 1, 1]), weights=weights)


def class_cdf(x: np.ndarray) -> np.ndarray:
    return sum(p * stats.norm.cdf(x, m, 0.3) for p, m in ((0.25, -2.0), (0.5, 0.4), (0.25, 2.5)))


class Misplaced(Denoiser):
    """Sees every level one step too late."""

    def __init__(self, denoiser: Denoiser, levels: Grid) -> None:
        self.denoiser = denoiser
        self.ratio = levels.levels[1].variance / levels.levels[0].variance

    def evaluate(self, x: torch.Tensor, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        late = replace(level, time=self.ratio * level.variance - level.offset)
        return self.denoiser.evaluate(x, late, label)


def run_class(lam: float, seed: int, *, is_misplaced: bool = False) -> np.ndarray:
    """Draws of a class without guidance; discretization moves their distribution function by less than 0.004."""
    target, n = many_modes(), 60_000
    narrow, offset = target.absorbed()
    levels = geometric(VarianceExploding(offset=offset), T_MAX, 24)
    stream = rng.stream(seed, "class")

    def normal(*levels: NoiseLevel) -> torch.Tensor:
        return torch.from_numpy(stream.standard_normal((n, 1)))

    x = target.conditional(0).sample(n, stream) + np.sqrt(T_MAX) * normal()
    denoiser = Misplaced(ExactDenoiser(narrow), levels) if is_misplaced else ExactDenoiser(narrow)
    return sample(denoiser, x, levels, step=Exponential(lam=lam), noise=normal, label=0).x[:, 0].numpy()


@pytest.mark.parametrize("lam", LAMS)
def test_without_guidance_every_noise_content_samples_the_class(lam: float, seed: int) -> None:
    expect_cdf(run_class(lam, seed), class_cdf, detect=0.022)


@pytest.mark.parametrize("lam", LAMS)
def test_levels_off_by_one_do_not_sample_the_class(lam: float, seed: int) -> None:
    draws = run_class(lam, seed, is_misplaced=True)
    with pytest.raises(AssertionError, match="Kolmogorov"):
        expect_cdf(draws, class_cdf, detect=0.022)


@pytest.mark.slow
def test_the_textbook_sampler_ends_in_the_same_guided_law(seed: int) -> None:

    target, n, w = many_modes(), 10_000, 1.5
    stream = rng.stream(seed, "textbook")
    clean = target.conditional(0).sample(n, stream)
    x = clean + np.sqrt(T_MAX) * torch.from_numpy(stream.standard_normal((n, 1)))
    own = target.conditional(0)

    def score(law: Mixture) -> Score:
        return lambda x, t: mixture_score(x, law.centroids, law.log_weights, law.std**2 + t)

    book = textbook_sample(
        x,
        score(own),
        score(target),
        strength=w,
        times=textbook_times(T_MAX, 600),
        normal=lambda t, t_next: torch.from_numpy(stream.standard_normal((n, 1))),
    )
    narrow, offset = target.absorbed()
    levels = geometric(VarianceExploding(offset=offset), T_MAX, 64)
    streams = rng.row_streams(seed, "ours", rows=range(n))
    x = start("exact", target.conditional(0), levels.levels[0], streams, prior_variance=0.0)
    denoiser = classifier_free(ExactDenoiser(narrow), Constant(value=w))
    ours = sample(denoiser, x, levels, noise=IndependentNoise(streams, (1,), like=x), label=0).x
    expect_same_law(book[:, 0].numpy(), ours[:, 0].numpy(), detect=0.12)


@pytest.mark.slow
@pytest.mark.parametrize("w", [0.0, 1.0])
def test_absorbed_and_plain_coordinates_lead_to_the_same_point(w: float) -> None:
    target = many_modes()
    narrow, offset = target.absorbed()
    x = torch.linspace(-9, 9, 13, dtype=torch.float64)[:, None]
    ends = []
    for law, process, floor in (
        (narrow, VarianceExploding(offset=offset), offset),
        (target, VarianceExploding(), 1e-7),
    ):
        extrapolated = []
        for n in (150, 300):
            v = np.geomspace(T_MAX + floor, floor, n + 1)
            times = [*(v - floor)[:-1], 0.0]
            denoiser = classifier_free(ExactDenoiser(law), Constant(value=w))
            extrapolated.append(sample(denoiser, x, grid(process, times), step=Exponential(lam=0.0), label=0).x)
        ends.append((4 * extrapolated[1] - extrapolated[0]) / 3)
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=2e-4)
