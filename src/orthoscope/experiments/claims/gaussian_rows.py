"""Claims about joint Gaussians, where everything has a closed form."""

from __future__ import annotations

import numpy as np
import torch

from orthoscope import metrics, rng
from orthoscope.experiments.claims.claim import Claim, Effort, Finding, at_least, at_most, claim, equal, found
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Tabulated
from orthoscope.numerics import Array
from orthoscope.quantities import Estimate
from orthoscope.simulation.pairs import sample_pair
from orthoscope.targets import Gaussian, Pair
from orthoscope.theory import guided_gaussian
from orthoscope.theory.gaussian import constant_gaussian, scheduled_gaussian

_COORDINATES = 32  # independent copies of the one-dimensional law: rows are drawn one stream each
_RANDOM_SCHEDULES = (10, 200)  # with and without --quick


def gaussian_pair(cond_var: float, uncond_var: float, cond_mean: float = 0.0, *, dim: int = _COORDINATES) -> Pair:
    """Independent copies of one pair of Gaussians."""

    def law(mean: float, variance: float) -> Gaussian:
        ones = torch.ones(dim, dtype=torch.float64)
        return Gaussian(mean=mean * ones, variance=variance * ones)

    return Pair(cond=law(cond_mean, cond_var), uncond=law(0.0, uncond_var))


def _samples(pair: Pair, schedule: GuidanceSchedule, effort: Effort) -> Array:
    """Guided samples, by steps whose bias is a small part of the error."""
    return sample_pair(
        pair,
        schedule,
        samples=effort.pick(2000, 20000),
        steps=effort.pick(100, 200),
        seed=effort.seed,
    )


@claim(
    "tilted-not-sampled",
    "Guidance does not sample the tilted law p_c^(1+w) p_u^(-w).",
    source="chidambaram2024does",
    setting="N(0, 1) against N(0, 2), w = 2, reverse SDE from T = 10^4; the tilted law has variance 0.5",
)
def tilted_not_sampled(effort: Effort) -> Finding:
    """The variance is that of the guided law, not of the tilted one."""
    measured = metrics.variance(_samples(gaussian_pair(1.0, 2.0), Constant(value=2.0), effort))
    guided = guided_gaussian(0.0, 1.0, 0.0, 2.0, 2.0, t_max=1e4, start="exact")
    return found(
        equal("variance", measured, float(guided.variance)),
        at_most("variance, below that of the tilted law", measured, float(guided.tilted_variance)),
    )


def random_schedule(stream: np.random.Generator, *, t_max: float) -> GuidanceSchedule:
    """A non-negative schedule that is piecewise linear in time with one to eight knots and jumps."""
    knots = int(stream.integers(1, 9))
    at = np.sort(np.exp(stream.uniform(np.log(1e-3), np.log(t_max), knots)))
    strengths = stream.exponential(2.0, knots) * (stream.random(knots) < 0.7)
    strengths[stream.integers(knots)] += 0.1  # not zero almost everywhere
    return Tabulated(at=tuple(at), strengths=tuple(strengths))


@claim(
    "no-positive-schedule",
    "No non-negative schedule avoids the shrinkage of the variance.",
    source="ventura2026emergence",
    setting=f"{_RANDOM_SCHEDULES[1]} random schedules ({_RANDOM_SCHEDULES[0]} with --quick), SDE and ODE; N(0, 1) "
    "against N(0, 2), exact start at T = 100; the largest variance ratio that the sample can tell from 1, sampled "
    "beside no guidance on the same noise",
)
def no_positive_schedule(effort: Effort) -> Finding:
    """Theory over the family, and a simulation of the schedule that comes closest, precise enough to tell it from 1."""
    stream, t_max = rng.stream(effort.seed, "schedules"), 100.0
    family = [random_schedule(stream, t_max=t_max) for _ in range(effort.pick(*_RANDOM_SCHEDULES))]
    ratios = {
        (k, lam): float(scheduled_gaussian(1.0, 2.0, schedule, lam=lam, t_max=t_max, start="exact")[1])
        for k, schedule in enumerate(family)
        for lam in (1.0, 0.0)
    }
    resolved = {key: ratio for key, ratio in ratios.items() if ratio < 1 - (0.02 if effort.quick else 0.004)}
    (k, lam), largest = max(resolved.items(), key=lambda item: item[1])
    guided, plain = (
        sample_pair(
            gaussian_pair(1.0, 2.0, dim=256), schedule, samples=effort.pick(1000, 16_000), steps=effort.pick(40, 60),
            seed=effort.seed, lam=lam, t_max=t_max,
        )
        for schedule in (family[k], Constant(value=0.0))
    )  # fmt: skip
    # Without guidance the variance is 1 exactly, and most of the noise cancels in the difference.
    ratio = metrics.mean_of((guided**2 - plain**2).mean(1)).affine(shift=1.0)
    return found(
        equal("variance ratio", ratio, largest),
        at_most("variance ratio", ratio, 1.0),
        at_most("largest of all ratios by theory", max(ratios.values()), 1.0),
    )


@claim(
    "rectified-coefficients",
    "With conditional N(c, 1), c ~ N(0, 1), the guided mean is c phi(scale): phi(3) = 2.",
    source="xia2025rectified",
    setting="probability-flow ODE, scale 3 (w = 2), T = infinity; sampled at c = 1 from T = 10^4, "
    "for which theory is shown",
)
def rectified_coefficients(effort: Effort) -> Finding:
    """The closed form, and sampled from a finite time, whose theory is known too."""
    limit = guided_gaussian(1.0, 1.0, 0.0, 2.0, 2.0, lam=0.0)
    here = guided_gaussian(1.0, 1.0, 0.0, 2.0, 2.0, lam=0.0, t_max=1e4, start="exact")
    x = sample_pair(
        gaussian_pair(1.0, 2.0, cond_mean=1.0),
        Constant(value=2.0),
        samples=effort.pick(500, 5000),
        steps=200,
        seed=effort.seed,
        lam=0.0,
    )
    return found(
        equal("mean", metrics.mean_of(x.mean(1)), float(here.mean)),
        equal("phi(3) from infinite noise", float(limit.mean), 2.0, allowance=1e-10, because="rounding of the theory"),
    )


def _participation(wide: float, narrow: float, effort: Effort) -> tuple[Estimate, float, float]:
    """Participation ratio of guided samples where half of the directions are wide (variance 2) and half narrow (0.5).

    Args:
        wide: Unconditional over conditional variance in the wide directions.
        narrow: The same in the narrow ones.
        effort: How much to sample.

    Returns:
        Measured, predicted, and without guidance.
    """
    half = torch.ones(_COORDINATES // 2, dtype=torch.float64)
    cond, ratio = torch.cat([2.0 * half, 0.5 * half]), torch.cat([wide * half, narrow * half])
    mean = torch.zeros_like(cond)
    pair = Pair(cond=Gaussian(mean=mean, variance=cond), uncond=Gaussian(mean=mean, variance=ratio * cond))
    x = _samples(pair, Constant(value=2.0), effort)
    _, guided = constant_gaussian(cond.numpy(), (ratio * cond).numpy(), 2.0)
    predicted, plain = (float(c.sum() ** 2 / (c**2).sum()) for c in (guided, cond.numpy()))
    return metrics.participation_ratio(x), predicted, plain


@claim(
    "participation-ratio",
    "Guidance changes the participation ratio of the covariance.",
    source="ventura2026emergence",
    setting="w = 2, 32 directions: all alike (an isotropic class), the wide half shrunk most, the narrow half shrunk "
    "most; shown is the second",
    verdict="depends",
)
def participation_ratio(effort: Effort) -> Finding:
    """Up, down, or not at all: it sees only how unevenly the directions shrink."""
    up, up_theory, plain = _participation(4.0, 1.1, effort)
    down, down_theory, _ = _participation(1.1, 4.0, effort)
    alike = metrics.participation_ratio(_samples(gaussian_pair(1.0, 2.0), Constant(value=2.0), effort))
    return found(
        equal("wide half shrunk most", up, up_theory),
        at_least("wide half shrunk most, above unguided", up, plain),
        equal("narrow half shrunk most", down, down_theory),
        at_most("narrow half shrunk most, below unguided", down, plain),
        equal("all alike", alike, float(_COORDINATES)),
    )


ROWS: tuple[Claim, ...] = (
    tilted_not_sampled,
    no_positive_schedule,
    participation_ratio,
    rectified_coefficients,
)
