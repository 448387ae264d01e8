from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from orthoscope import rng
from orthoscope.denoise import ExactDenoiser
from orthoscope.errors import ConfigError
from orthoscope.guidance.guided import classifier_free
from orthoscope.guidance.schedules import Constant
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.sampling import BrownianPath, Exponential, State, geometric, sample
from orthoscope.targets import Mixture, mixture
from orthoscope.theory.odds import leaving, mean_displacement, scale, stopping_odds
from tests.stat.expect import expect_estimate, expect_rate
from tests.targets.cases import random_mixture_of

F64 = torch.float64
STRENGTHS = (-3.0, -1.0, -0.6, -0.5, 0.0, 0.7, 3.0)


def path_divergence(odds: np.ndarray | float, strength: float) -> np.ndarray:
    """Divergence of paths without guidance from those of constant strength, nats: equation (4) of the derivation."""
    return np.asarray(strength**2 * np.log1p(odds))


def path_distance(odds: float, strengths: float | list[float]) -> float:
    """Bound on the total variation distance of paths without guidance from guided ones: equation (5)."""
    w = np.atleast_1d(np.asarray(strengths, dtype=np.float64))
    falls = np.maximum(w[:-1] - w[1:], 0).sum()
    turns = max(w[-1], 0.0) + max(-w.min(), 0.0) + falls + max((w * (1 + w)).max(), 0.0)
    return float(min(turns * np.log1p(odds), 1.0))


# The identities behind everything, by differentiation: any mixture, any state


def scale_of_state(target: Mixture, x: torch.Tensor, v: torch.Tensor, strength: float) -> torch.Tensor:
    """The scale function of the odds of leaving class 0, written with nothing but densities."""
    squares = (x - target.centroids).square().sum(1)
    logs = target.log_weights - squares / (2 * v)
    inside = target.labels == 0
    odds = (logs[~inside].logsumexp(0) - logs[inside].logsumexp(0)).exp()
    power = 1 + 2 * strength
    return torch.log1p(odds) if power == 0 else ((1 + odds) ** power - 1) / power


def drift_of_scale(target: Mixture, x: torch.Tensor, v: float, of: float, under: float) -> float:
    """Expected rate of change of the scale function of one strength under the reverse SDE of another."""
    x, variance = x.clone().requires_grad_(), torch.tensor(v, dtype=F64, requires_grad=True)
    value = scale_of_state(target, x, variance, of)
    at_x, in_v = torch.autograd.grad(value, (x, variance), create_graph=True)
    laplacian = sum(torch.autograd.grad(part, x, retain_graph=True)[0][k] for k, part in enumerate(at_x))
    denoiser = classifier_free(ExactDenoiser(target.narrowed(target.width)), Constant(value=under))
    drift = (denoiser(x.detach()[None], NoiseLevel(time=v), 0)[0] - x.detach()) / v
    return float((-in_v + drift @ at_x + laplacian / 2).detach())


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_scale_function_has_no_drift_at_its_own_strength(seed: int, strength: float) -> None:
    target = random_mixture_of(seed)  # several modes per class, unequal weights
    x = torch.from_numpy(2 * rng.stream(seed, "state").standard_normal(3))
    size = abs(drift_of_scale(target, x, 1.3, strength, strength + 1))
    assert size > 1e-4  # something that could be missed
    assert abs(drift_of_scale(target, x, 1.3, strength, strength)) < 1e-10 * max(size, 1)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_it_falls_under_every_larger_strength_and_rises_under_every_smaller(strength: float) -> None:
    target = random_mixture_of(3)
    x = torch.from_numpy(rng.stream(3, "state").standard_normal(3))
    assert drift_of_scale(target, x, 0.9, strength, strength + 0.1) < 0
    assert drift_of_scale(target, x, 0.9, strength, strength - 0.1) > 0


def test_guidance_costs_the_rate_at_which_the_log_posterior_falls() -> None:
    # -log p = log(1 + O) falls, without guidance, by half of |(1-p) grad log O|^2 = |guidance drift of strength 1|^2.
    target = random_mixture_of(4)
    x = torch.from_numpy(rng.stream(4, "state").standard_normal(3))
    plain, guided = (
        classifier_free(ExactDenoiser(target.narrowed(target.width)), Constant(value=w))(
            x[None], NoiseLevel(time=0.9), 0
        )
        for w in (0.0, 1.0)
    )
    cost = float(((guided - plain) / 0.9).square().sum())
    assert drift_of_scale(target, x, 0.9, -0.5, 0.0) == pytest.approx(-cost / 2, rel=1e-10)


# The functions


@given(st.floats(1e-12, 1e6))
def test_the_scale_is_the_odds_the_posterior_and_its_logarithm(odds: float) -> None:
    p = 1 / (1 + odds)
    assert scale(odds, 0.0) == pytest.approx(odds, rel=1e-12)
    assert scale(odds, -1.0) == pytest.approx(odds * p, rel=1e-12)
    assert scale(odds, -0.5) == pytest.approx(math.log1p(odds), rel=1e-12)
    assert scale(odds, -0.5 + 1e-9) == pytest.approx(math.log1p(odds), rel=1e-6)


@given(st.floats(1e-9, 1e3), st.floats(-4, 4))
def test_a_class_is_lost_only_by_strengths_below_a_half(odds: float, strength: float) -> None:
    lost = float(leaving(odds, math.inf, strength))
    kept = (1 + odds) ** (1 + 2 * strength) if strength < -0.5 else 1.0
    assert lost == pytest.approx(1 - kept, rel=1e-6, abs=1e-12)


@given(st.floats(1e-9, 1e3), st.floats(1e-9, 1e3), st.floats(-4, 4), st.floats(0, 2))
def test_leaving_is_a_probability_that_guidance_lowers(odds: float, limit: float, strength: float, more: float) -> None:
    here, guided = leaving(odds, limit, strength), leaving(odds, limit, strength + more)
    assert 0 <= guided <= here * (1 + 1e-12) <= 1 + 1e-12
    assert (odds < limit) or here == 1


@pytest.mark.parametrize("strength", [-1.0, -0.5, 0.0, 1.0])
def test_a_class_that_is_lost_has_been_left(strength: float) -> None:
    assert leaving(math.inf, math.inf, strength) == 1


@given(st.floats(1e-9, 10), st.floats(-4, 4))
def test_distances_cover_the_probability_of_losing_the_class(odds: float, strength: float) -> None:
    lost = float(leaving(odds, math.inf, strength))
    assert path_distance(odds, strength) >= lost * (1 - 1e-9)
    assert math.sqrt(path_divergence(odds, strength) / 2) >= lost * (1 - 1e-9)  # Pinsker
    assert mean_displacement(odds, strength, radius=1.0) >= lost * (1 - 1e-9) * min(1, abs(strength))


def test_the_unconditional_path_is_the_conditional_one_given_the_class() -> None:
    odds = np.array([0.01, 1.0, 9.0])
    np.testing.assert_allclose(path_divergence(odds, -1.0), -np.log(1 / (1 + odds)), rtol=1e-12)


def test_no_guidance_changes_nothing() -> None:
    assert path_distance(1.0, [0.0, 0.0]) == 0
    assert path_divergence(1.0, 0.0) == 0
    assert mean_displacement(1.0, 0.0, radius=5.0) == 0
    assert stopping_odds(1e-9, 0.0) == stopping_odds(1e-9, 0.0, radius=3.0) == 0.5


@given(st.floats(1e-9, 0.1), st.lists(st.floats(-2, 4), min_size=1, max_size=5), st.floats(0.1, 100))
def test_stopping_odds_keep_their_tolerance(tolerance: float, strengths: list[float], radius: float) -> None:
    odds = stopping_odds(tolerance, strengths)
    assert 0 < odds <= 0.5
    assert path_distance(odds, strengths) <= tolerance * (1 + 1e-9)
    odds = stopping_odds(tolerance, strengths, radius=radius)
    assert 0 < odds <= 0.5
    assert mean_displacement(odds, strengths, radius=radius) <= tolerance * (1 + 1e-9)


def test_a_tolerance_and_a_radius_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="tolerance must be > 0, got 0"):
        stopping_odds(0.0, 1.0)
    with pytest.raises(ConfigError, match="radius must be > 0, got -1"):
        stopping_odds(0.1, 1.0, radius=-1.0)


# By simulation

POINTS = mixture(torch.tensor([[1.0, 0.0], [-1.0, 0.3]], dtype=F64), std=0.0)
SEVERAL = random_mixture_of(5).narrowed(0.36)
ROWS = 7000


@functools.cache
def odds_along(target: Mixture, strength: float, odds: float, *, end: float, steps: int) -> np.ndarray:
    """Odds of leaving class 0 at every level, from a state in which they are given."""
    process = VarianceExploding()
    levels = geometric(process, 2.0, steps, end=end)
    first, other = (target.conditional(k).centroids.mean(0) for k in (0, 1))
    low, high = 0.0, 1.0
    for _ in range(60):  # between two classes the odds take every value
        middle = (low + high) / 2
        x = first + middle * (other - first)
        above = float(target.log_odds(x[None], 0, levels.levels[0])) < -math.log(odds)
        low, high = (low, middle) if above else (middle, high)
    noise = BrownianPath(0, ROWS, target.dim, [level.variance for level in levels.levels])

    def observe(state: State) -> np.ndarray:
        return np.exp(-target.log_odds(state.x, 0, state.level).numpy())

    run = sample(
        classifier_free(ExactDenoiser(target), Constant(value=strength)),
        x.expand(ROWS, -1).clone(),
        levels,
        step=Exponential(order=1),
        noise=noise,
        label=0,
        observe=observe,
    )
    return np.stack(run.observed)


@pytest.mark.parametrize("target", [POINTS, SEVERAL], ids=["two points", "several modes"])
@pytest.mark.parametrize("strength", [-1.5, -1.0, -0.5])
def test_the_mean_of_the_scale_function_stays(target: Mixture, strength: float) -> None:
    values = scale(odds_along(target, strength, 0.4, end=0.6, steps=60), strength)
    end = values[-1]
    # Only strengths at which the scale function has a variance that so many rows can measure. Steps of 2% in v.
    expect_estimate(
        end.mean(),
        float(end.std() / math.sqrt(ROWS)),
        values[0, 0],
        bias=0.02 * values[0, 0],
        detect=0.5 * values[0, 0],
    )


def test_the_scale_function_of_another_strength_does_not_stay() -> None:
    values = scale(odds_along(POINTS, -1.0, 0.4, end=0.6, steps=60), -0.5)
    end, start = values[-1], values[0, 0]
    with pytest.raises(AssertionError, match="standard errors"):
        expect_estimate(end.mean(), float(end.std() / math.sqrt(ROWS)), start, bias=0.02 * start, detect=0.5 * start)


@pytest.mark.parametrize("strength", [-1.5, -1.0, -0.75, 0.0])
def test_the_probability_of_losing_the_class_is_known_exactly(strength: float) -> None:
    end = odds_along(POINTS, strength, 0.6, end=0.02, steps=150)[-1]
    expect_rate(end > 1, float(leaving(0.6, math.inf, strength)), detect=0.08)


def expect_at_most(hits: np.ndarray, rate: float) -> None:
    """Yes-or-no draws say yes at this rate or less; false-fail 1e-6."""
    assert hits.sum() <= stats.binom.isf(1e-6, hits.size, min(rate, 1.0))


@pytest.mark.parametrize("strength", [0.0, 1.0, 3.0, -0.4, -1.0])
@pytest.mark.parametrize("limit", [1.0, 4.0])
def test_odds_exceed_a_limit_as_rarely_as_stated(strength: float, limit: float) -> None:
    largest = odds_along(SEVERAL, strength, 0.3, end=0.05, steps=60).max(0)
    expect_at_most(largest > limit, float(leaving(0.3, limit, strength)))


def test_the_statement_of_a_larger_strength_would_be_wrong() -> None:
    largest = odds_along(SEVERAL, -1.0, 0.3, end=0.05, steps=60).max(0)
    with pytest.raises(AssertionError):
        expect_at_most(largest > 4.0, float(leaving(0.3, 4.0, 0.0)))


# Likelihoods of paths, for two points +-1 in one dimension: log O = -2 x / v, and x / v is a Brownian motion in 1 / v


def committed_paths(odds: float, strengths: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Along paths without guidance: the integral of their cost at strength 1, and their likelihood under guidance.

    Each strength holds for an equal share of the time; at the end odds are below 1e-6 but for one path in a million.
    """
    count, step, end = 12_000, 0.01, 20.0
    stream = rng.stream(0, "paths")
    y, cost, log_ratio = np.full(count, -math.log(odds) / 2), np.zeros(count), np.zeros(count)
    steps = round(end / step)
    for k in range(steps):
        w = strengths[k * len(strengths) // steps]
        push = 2 / (1 + np.exp(2 * y))  # (1 - p) times the distance of the points
        noise = math.sqrt(step) * stream.standard_normal(count)
        cost += push**2 * step
        log_ratio += w * push * noise - (w * push) ** 2 * step / 2
        y += step + noise
    return cost, np.exp(log_ratio)


def test_the_divergence_of_paths_is_the_log_posterior() -> None:
    cost, _ = committed_paths(0.3, [0.0])
    # First order in steps of 0.04 in the squared clock of log O.
    half = cost / 2
    expected = float(path_divergence(0.3, 1.0))
    expect_estimate(half.mean(), float(half.std() / math.sqrt(half.size)), expected, bias=0.01, detect=0.1)


@pytest.mark.parametrize(
    "strengths", [[-2.0], [-1.0], [-0.5], [0.5], [1.0], [3.0], [3.0, -1.0], [-1.0, 2.0, 0.0, 2.0]], ids=str
)
def test_paths_are_no_further_apart_than_stated(strengths: list[float]) -> None:
    _, ratio = committed_paths(0.05, strengths)
    apart = np.maximum(1 - ratio, 0)
    error = stats.norm.isf(1e-6) * apart.std() / math.sqrt(apart.size)
    assert apart.mean() - error <= path_distance(0.05, strengths)
    assert apart.mean() + error > path_distance(0.05, strengths) / 12  # and it says something


def test_an_unconditional_path_is_as_far_as_the_class_is_unlikely() -> None:
    _, ratio = committed_paths(0.3, [-1.0])
    np.testing.assert_allclose(np.maximum(1 - ratio, 0).mean(), 1 - 1 / 1.3, rtol=0.02)
