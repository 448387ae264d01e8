from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy import stats

from orthoscope import rng
from orthoscope.denoise import Denoiser, Evaluation, ExactDenoiser, Label, Memory
from orthoscope.errors import ConfigError, DivergenceError
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Linear, Step
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.quantities import Estimate
from orthoscope.sampling import IndependentNoise, State, geometric, trajectory
from orthoscope.sampling.density import GuidedFlow
from orthoscope.sampling.langevin import look, move
from orthoscope.sampling.tilted import sample_tilted
from orthoscope.sampling.weighted import Weighted, Weights, systematic
from orthoscope.targets import Gaussian, Pair, mixture
from orthoscope.targets.covariant import covariant
from tests.sampling.linear import gaussian_pair
from tests.stat.expect import expect_estimate, expect_variance

GAUSSIANS = gaussian_pair(c=1.0, u=2.0, mu_c=0.0, mu_u=0.0)
LINE = mixture(
    torch.tensor([[-2.4], [-0.6], [1.0], [3.0]]).double(),
    std=0.6,
    labels=torch.tensor([1, 0, 0, 1]),
    weights=torch.tensor([0.3, 0.3, 0.2, 0.2]).double(),
)
MIXTURES = Pair(cond=LINE.conditional(0), uncond=LINE)
SMALL = {"particles": 512, "islands": 24, "steps": 30, "t_max": 100.0}


def expect_islands(found: Estimate, expected: float, *, detect: float, false_fail: float = 1e-6) -> None:
    """An estimate whose error is the spread of a few islands: Student's t, brought to the normal law's quantile."""
    wider = stats.t.isf(false_fail / 2, found.dof) / stats.norm.isf(false_fail / 2)
    expect_estimate(found.value, wider * found.stderr, expected, detect=detect, false_fail=false_fail)


def by_quadrature(pair: Pair, w: float, level: NoiseLevel) -> tuple[float, float, float]:
    """Mean, variance and log-normalizer of the tilted law on a line."""
    x = torch.linspace(-20, 20, 20001).double()[:, None]
    logs = ((1 + w) * pair.cond.log_prob(x, level) - w * pair.uncond.log_prob(x, level)).numpy()
    z, x = np.exp(logs), x[:, 0].numpy()
    mean = z @ x / z.sum()
    return mean, z @ (x - mean) ** 2 / z.sum(), math.log(z.sum() * (x[1] - x[0]))


@pytest.mark.parametrize(("lam", "moves"), [(1.0, 0), (1.0, 2), (0.0, 0), (0.5, 1)])
def test_weighted_paths_between_gaussians_have_the_tilted_law(lam: float, moves: int, seed: int) -> None:
    # Unweighted they have 0.3875 (SDE) or 0.25 (ODE). Steps of 0.15 in log-variance leave an error below 0.005.
    # Without moves weights have long tails: more of them, or the error is now and then too large to show a wrong law.
    size = SMALL | ({"particles": 2048} if moves else {"particles": 8192, "islands": 96})
    found = sample_tilted(GAUSSIANS, Constant(value=2.0), lam=lam, moves=moves, seed=seed, **size)
    (mean,), (variance,) = found.mean, found.variance
    expect_islands(mean, 0, detect=0.2, false_fail=1e-6 / 3)
    expect_islands(variance, 0.5, detect=0.1 if moves or lam else 0.2, false_fail=1e-6 / 3)
    expect_islands(found.log_normalizer, math.log(2) / 2, detect=0.05 if moves or lam else 0.1, false_fail=1e-6 / 3)


def test_the_same_paths_without_weights_do_not(seed: int) -> None:
    found = sample_tilted(GAUSSIANS, Constant(value=2.0), moves=0, threshold=0.0, seed=seed, **SMALL)
    # Undo the start's weights too: between Gaussians it is drawn from the tilted law exactly, so there are none.
    x = found.x[:, 0].numpy()
    assert found.resampled == 0
    expect_variance(x, 0.3875, detect=0.2)
    with pytest.raises(AssertionError):
        expect_variance(x, 0.5, detect=0.2)


CASES = {  # schedule, noise content of the sampler, strength at the end
    "constant": (Constant(value=2.0), 1.0, 2.0),
    "constant, ode": (Constant(value=2.0), 0.0, 2.0),
    "negative": (Constant(value=-0.5), 1.0, -0.5),
    "linear": (Linear(w0=1.5, slope=-0.02), 1.0, 1.5),
    "sigma, ode": (Linear(w0=1.0, slope=0.2, clock="sigma"), 0.0, 1.0),
    "late": (Step(early=0.0, late=2.0, switch=1.0), 1.0, 2.0),
    "early, half": (Step(early=2.0, late=1.0, switch=0.5), 0.5, 1.0),
    "steps": (Step(early=2.0, late=1.0, switch=0.5, clock="step"), 1.0, 1.0),
}


@pytest.mark.slow
@pytest.mark.parametrize(("schedule", "lam", "w"), CASES.values(), ids=CASES)
def test_mixtures_have_the_tilted_law_of_the_last_strength(
    schedule: GuidanceSchedule, lam: float, w: float, seed: int
) -> None:
    found = sample_tilted(MIXTURES, schedule, lam=lam, seed=seed, **SMALL)
    mean, variance, log_normalizer = by_quadrature(MIXTURES, w, NoiseLevel(time=0.0))
    expect_islands(found.mean[0], mean, detect=0.45, false_fail=1e-6 / 3)
    expect_islands(found.variance[0], variance, detect=0.4, false_fail=1e-6 / 3)
    expect_islands(found.log_normalizer, log_normalizer, detect=0.3, false_fail=1e-6 / 3)


@pytest.mark.slow
def test_laws_without_width_are_tilted_down_to_the_noise_where_the_grid_ends(seed: int) -> None:
    points = mixture(torch.tensor([[-1.0], [0.5], [2.0]]).double(), std=0.0, labels=torch.tensor([0, 0, 1]))
    pair = Pair(cond=points.conditional(0), uncond=points)
    found = sample_tilted(pair, Constant(value=1.5), end=0.3, seed=seed, **SMALL)
    mean, variance, _ = by_quadrature(pair, 1.5, NoiseLevel(time=0.3))
    assert found.times[-1] == 0.3
    expect_islands(found.mean[0], mean, detect=0.2, false_fail=1e-6 / 2)
    expect_islands(found.variance[0], variance, detect=0.2, false_fail=1e-6 / 2)


def test_without_guidance_every_weight_is_the_same() -> None:
    for w in (0.0, -1.0):
        found = sample_tilted(gaussian_pair(), Constant(value=w), particles=8, islands=2, steps=5)
        torch.testing.assert_close(found.weights, torch.full((2, 8), 1 / 8).double(), rtol=1e-11, atol=0)
        assert found.log_normalizer.value == pytest.approx(0, abs=1e-11)
        np.testing.assert_allclose(found.ess, 1, rtol=1e-11)


def test_weights_are_of_second_order_in_the_step() -> None:
    # Along the ODE the weight of a trajectory is its strain, which the flow integrates to fourth order.
    pair, errors = gaussian_pair(), []
    for steps in (20, 40, 80):
        run = {"lam": 0.0, "moves": 0, "particles": 16, "islands": 2, "steps": steps, "t_max": 30.0}
        found = sample_tilted(pair, Constant(value=2.0), **run)
        strain = GuidedFlow(pair, Constant(value=2.0), t_max=30.0, steps=160).up(found.x).strain.reshape(2, 16)
        exact = strain - strain.mean(1, keepdim=True)
        logs = found.weights.log()
        errors.append(float((logs - logs.mean(1, keepdim=True) - exact).abs().max()))
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    np.testing.assert_allclose(orders, 2, atol=0.3)


def test_equal_seeds_give_equal_samples_and_others_others() -> None:
    run = {"particles": 16, "islands": 2, "steps": 8}
    first, again, other = (sample_tilted(MIXTURES, Constant(value=2.0), seed=seed, **run) for seed in (3, 3, 4))
    assert torch.equal(first.x, again.x)
    assert torch.equal(first.weights, again.weights)
    assert not torch.equal(first.x, other.x)


def test_an_ode_without_moves_is_never_resampled() -> None:
    run = {"particles": 64, "islands": 4, "steps": 20, "threshold": 1.0}
    assert sample_tilted(MIXTURES, Constant(value=2.0), lam=0.0, moves=0, **run).resampled == 0
    assert sample_tilted(MIXTURES, Constant(value=2.0), lam=0.0, moves=1, **run).resampled == 4 * 20


def test_moves_leave_the_tilted_law_as_it_is(seed: int) -> None:
    # From exact samples of the tilted law; without refusals the variance would settle about a sixth too high.
    stream, level, n = rng.stream(seed, "moves"), NoiseLevel(time=0.2), 20_000
    variance = 1 / (3 / 1.2 - 2 / 2.2)
    x = math.sqrt(variance) * torch.from_numpy(stream.standard_normal((n, 1)))
    seen, refused = look(GAUSSIANS, x, level), 0.0
    for _ in range(10):
        normal, uniform = torch.from_numpy(stream.standard_normal((n, 1))), torch.from_numpy(stream.random(n))
        x, seen, taken = move(GAUSSIANS, x, seen, level, 2.0, normal, uniform)
        refused += float((~taken).double().mean()) / 10
    expect_variance(x[:, 0].numpy(), variance, detect=0.15)
    assert refused > 0
    torch.testing.assert_close(seen.log_cond, GAUSSIANS.cond.log_prob(x, level))


def weighted_states(denoiser: Denoiser, moves: int, threshold: float) -> Iterator[State]:
    """The states of a weighted run of two islands of four particles, every weight equal at the start."""
    stream = rng.stream(0, "weighted")
    step = Weighted(
        pair=GAUSSIANS, schedule=Constant(value=2.0), lam=1.0, threshold=threshold, moves=moves, choices=stream
    )
    levels = geometric(VarianceExploding(), 10.0, 3, end=0.1)
    x = 3 * torch.from_numpy(stream.standard_normal((8, 1)))
    start = Weights(
        log_weights=torch.zeros(2, 4).double(),
        log_normalizer=torch.zeros(2).double(),
        seen=look(GAUSSIANS, x, levels.levels[0]),
    )
    noise = IndependentNoise([rng.stream(1, "noise")], (8, 1), like=x)
    return trajectory(denoiser, x, levels, step=step, noise=lambda *ends: noise(*ends)[0], label=0, carried=start)


def test_a_weighted_step_keeps_what_it_was_given_and_counts_every_look() -> None:
    states = list(weighted_states(ExactDenoiser(GAUSSIANS), moves=2, threshold=1.0))
    assert [state.calls for state in states] == [0, 8, 16, 24]  # two laws: after the step, after two moves, half-way
    assert [len(state.carried.accepted) for state in states] == [0, 2, 4, 6]
    assert torch.equal(states[0].carried.log_weights, torch.zeros(2, 4).double())  # resampling copies
    assert torch.equal(states[0].carried.log_normalizer, torch.zeros(2).double())
    assert states[-1].carried.resampled > 0
    assert states[-1].carried.log_normalizer.abs().min() > 0


def test_a_weighted_path_that_is_not_finite_is_reported_by_the_loop() -> None:
    class Broken(Denoiser):
        def evaluate(
            self, x: torch.Tensor, level: NoiseLevel, label: Label = None, memory: Memory = None
        ) -> Evaluation:
            return Evaluation(denoised=x * math.nan)

    states = weighted_states(Broken(), moves=0, threshold=0.0)
    first = next(states)
    with pytest.raises(DivergenceError, match="not finite after step 0") as caught:
        next(states)
    assert caught.value.last_good is first.x


def test_systematic_resampling_copies_in_proportion() -> None:
    weights = torch.tensor([0.05, 0.4, 0.0, 0.3, 0.25]).double()
    counts = np.stack(
        [np.bincount(systematic(weights, u).numpy(), minlength=5) for u in (np.arange(1000) + 0.5) / 1000]
    )
    expected = 5 * weights.numpy()
    assert (np.abs(counts - expected) < 1).all()
    np.testing.assert_allclose(counts.mean(0), expected, atol=2e-3)


# What has no tilted law, and other unusable input


def law(variance: list[float]) -> Gaussian:
    values = torch.tensor(variance).double()
    return Gaussian(mean=torch.zeros_like(values), variance=values)


def hidden(direction: torch.Tensor) -> Pair:
    """In one oblique direction, and only there, the unconditional law is too narrow."""
    unit = direction / direction.norm()
    narrow = torch.eye(3).double() * 2 - 1.4 * torch.outer(unit, unit)
    return Pair(cond=covariant(torch.zeros(3).double(), cov=torch.eye(3).double()),
                uncond=covariant(torch.zeros(3).double(), cov=narrow))  # fmt: skip


@pytest.mark.parametrize(
    "pair",
    [
        Pair(cond=law([2.0]), uncond=law([1.0])),
        Pair(cond=law([1.0, 2.0]), uncond=law([2.0, 1.0])),
        hidden(torch.tensor([1.0, -2.0, 0.7]).double()),
    ],
    ids=["everywhere", "one coordinate", "one oblique direction"],
)
def test_a_tilt_that_cannot_be_normalized_is_refused(pair: Pair) -> None:
    with pytest.raises(ConfigError, match=r"cannot be normalized at w = 3, t = 0: .* use a smaller one"):
        sample_tilted(pair, Constant(value=3.0), particles=4, islands=2, steps=5)


def test_a_tilt_that_can_be_normalized_is_not() -> None:
    # (1 + w) u > w c up to w = 1.
    pair = Pair(cond=law([2.0]), uncond=law([1.0]))
    assert sample_tilted(pair, Constant(value=0.95), particles=4, islands=2, steps=5).x.shape == (8, 1)
    with pytest.raises(ConfigError, match="cannot be normalized at w = 3, t = "):
        # Fine at the end, not half way.
        sample_tilted(pair, Step(early=3.0, late=0.5, switch=0.5), particles=4, islands=2, steps=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"islands": 1}, "at least 2 islands"),
        ({"particles": 1}, "at least 2 islands of 2 particles"),
        ({"threshold": 1.5}, "share of the particles"),
        ({"moves": -1}, "moves must be >= 0"),
        ({"steps": 0}, "steps must be >= 1"),
        ({"lam": 2.0}, "`lam` must lie"),
    ],
)
def test_unusable_numbers_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sample_tilted(GAUSSIANS, Constant(value=1.0), **options)


def test_a_strength_that_diverges_at_clean_data_is_refused() -> None:
    with pytest.raises(ConfigError, match="no finite strength at clean data"):
        sample_tilted(GAUSSIANS, Linear(w0=0.0, slope=1.0, clock="logsnr"))
