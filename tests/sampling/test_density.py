from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Linear, Step
from orthoscope.process import NoiseLevel
from orthoscope.sampling.density import GuidedFlow, entropy_change
from orthoscope.targets import Mixture, Pair, mixture
from orthoscope.theory import guided_gaussian
from tests.sampling.linear import gaussian_pair
from tests.stat.expect import expect_estimate

LINE = mixture(
    torch.tensor([[-2.0], [0.5], [2.0]]).double(),
    std=0.5,
    labels=torch.tensor([0, 1, 0]),
    weights=torch.tensor([0.5, 0.3, 0.2]).double(),
)
PLANE = mixture(torch.tensor([[-1.0, 0.2], [0.9, 0.6], [0.4, -1.1]]).double(), std=0.7, labels=torch.tensor([0, 0, 1]))
SCHEDULES = {
    "constant": Constant(value=2.0),
    "window": Linear(w0=-0.5, slope=0.5),
    "step": Step(early=3.0, late=-1.0, switch=1.0),
    "sigma": Linear(w0=1.0, slope=-0.1, clock="sigma"),
}
every = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)


def pair(law: Mixture) -> Pair:
    return Pair(cond=law.conditional(0), uncond=law)


def line(points: int, half: float = 8.0) -> torch.Tensor:
    return torch.linspace(-half, half, points).double()[:, None]


@every
def test_density_on_a_line_integrates_to_one(schedule: GuidanceSchedule) -> None:
    x = line(801)
    density = GuidedFlow(pair(LINE), schedule, t_max=100.0, steps=60).log_prob(x).exp()
    assert float(torch.trapezoid(density, x[:, 0])) == pytest.approx(1, abs=5e-6)


@pytest.mark.slow
@every
def test_density_carried_down_integrates_to_one(schedule: GuidanceSchedule) -> None:
    # The points themselves move: the integral is over where they end, whatever their spacing there.
    flow = GuidedFlow(pair(LINE), schedule, t_max=100.0, steps=60)
    start = flow.up(line(801)).x
    end = flow.down(start)
    density = (LINE.conditional(0).log_prob(start, NoiseLevel(time=100.0)) + end.change).exp()
    assert float(torch.trapezoid(density, end.x[:, 0])) == pytest.approx(1, abs=5e-6)


@pytest.mark.slow
def test_up_is_the_inverse_of_down() -> None:
    flow, x = GuidedFlow(pair(PLANE), Constant(value=1.0), t_max=20.0, steps=80), torch.cat([line(9, 2.0)] * 2, 1)
    up = flow.up(x)
    down = flow.down(up.x)
    torch.testing.assert_close(down.x, x, rtol=0, atol=1e-5)
    torch.testing.assert_close(down.change, up.change, rtol=0, atol=1e-5)
    torch.testing.assert_close(down.strain, up.strain, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_density_in_a_plane_integrates_to_one() -> None:
    axis = line(111, 5.0)[:, 0]
    x = torch.cartesian_prod(axis, axis)
    density = GuidedFlow(pair(PLANE), Constant(value=1.5), t_max=50.0, steps=40).log_prob(x).exp()
    assert float(density.sum() * (axis[1] - axis[0]) ** 2) == pytest.approx(1, abs=1e-4)


def test_a_wrong_divergence_does_not_integrate_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = Mixture.posterior_variance
    monkeypatch.setattr(Mixture, "posterior_variance", lambda self, x, level: 0.9 * exact(self, x, level))
    x = line(401)
    density = GuidedFlow(pair(LINE), Constant(value=2.0), t_max=100.0, steps=60).log_prob(x).exp()
    assert abs(float(torch.trapezoid(density, x[:, 0])) - 1) > 0.01


@pytest.mark.slow
def test_density_is_of_fourth_order_in_the_step() -> None:
    x = line(11, 2.0)
    fine = GuidedFlow(pair(PLANE), Constant(value=1.0), t_max=20.0, steps=128)
    rows = torch.cat([x, 0.3 * x], 1)
    errors = [
        float((GuidedFlow(pair(PLANE), Constant(value=1.0), t_max=20.0, steps=n).log_prob(rows)
               - fine.log_prob(rows)).abs().max()) for n in (8, 16, 32)
    ]  # fmt: skip
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 4, atol=0.4)


@pytest.mark.parametrize("w", [-0.6, 1.0, 4.0])
def test_between_gaussians_it_is_the_gaussian_of_the_theory(w: float) -> None:
    exact = guided_gaussian(1.0, 0.3, -0.5, 1.4, w, lam=0.0, t_max=100.0, start="exact")
    x = line(9, 2.0)
    found = GuidedFlow(gaussian_pair(), Constant(value=w), t_max=100.0, steps=200).log_prob(x)
    expected = -((x[:, 0] - exact.mean) ** 2) / (2 * exact.variance) - math.log(2 * math.pi * exact.variance) / 2
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("w", [1.0, -0.7])
def test_the_strain_is_what_separates_guided_and_tilted_density(w: float) -> None:
    x = line(9, 2.0)
    flow = GuidedFlow(pair(PLANE), Constant(value=w), t_max=50.0, steps=80)
    rows = torch.cat([x, -x], 1)
    torch.testing.assert_close(flow.log_prob_by_strain(rows), flow.log_prob(rows), rtol=0, atol=2e-5)


def test_precision_at_scale_seven_is_sixty_four_by_either_route() -> None:
    # N(0, 1) in N(0, 2): 4 for the tilted law, and 60 from the strain; a finite start takes 6e-6 of it at T = 1e6.
    flow = GuidedFlow(gaussian_pair(1.0, 2.0, 0.0, 0.0), Constant(value=6.0), t_max=1e6, steps=300)
    x = torch.tensor([[0.0], [0.3]]).double()
    for route in (flow.log_prob, flow.log_prob_by_strain):
        logs = route(x)
        assert float(-2 * (logs[1] - logs[0]) / 0.09) == pytest.approx(64, abs=2e-3)
    strain = flow.up(x).strain
    assert float(2 * (strain[1] - strain[0]) / 0.09) == pytest.approx(60, abs=2e-3)


# Entropy


def test_entropy_between_gaussians_changes_by_the_logarithm(seed: int) -> None:
    exact = guided_gaussian(1.0, 0.3, -0.5, 1.4, 2.0, lam=0.0, t_max=1e4, start="exact")
    found = entropy_change(gaussian_pair(), Constant(value=2.0), samples=16, steps=200, seed=seed)
    assert found.value == pytest.approx(math.log(exact.variance / 0.3) / 2, abs=1e-6)
    assert found.stderr < 1e-9  # the divergence is the same everywhere: no randomness is left


@pytest.mark.slow
@pytest.mark.parametrize("schedule", [SCHEDULES["constant"], SCHEDULES["step"]], ids=["constant", "step"])
def test_entropy_of_a_mixture_is_that_of_the_density(schedule: GuidanceSchedule, seed: int) -> None:
    x = line(801)
    flows = [GuidedFlow(pair(LINE), one, t_max=100.0, steps=50) for one in (schedule, Constant(value=0.0))]
    logs = [flow.log_prob(x) for flow in flows]
    guided, plain = (-float(torch.trapezoid(log.exp() * log, x[:, 0])) for log in logs)
    found = entropy_change(pair(LINE), schedule, samples=2000, steps=50, t_max=100.0, seed=seed)
    expect_estimate(found.value, found.stderr, guided - plain, detect=0.4)


@pytest.mark.slow
def test_entropy_of_one_mode_in_many_falls_by_the_spread_of_the_modes(seed: int) -> None:
    # Minus half of int w tr Cov[centroid | x] / v^2 dv along every trajectory: no divergence of the class itself.
    law = mixture(torch.tensor([[0.0, 0.0], [1.5, 0.3], [-0.8, 1.1]]).double(), std=0.5)
    one, w, t_max = Pair(cond=law.conditional(0), uncond=law), 1.5, 100.0
    guided, plain = (GuidedFlow(one, Constant(value=value), t_max=t_max, steps=100) for value in (w, 0.0))
    start = math.sqrt(t_max + 0.25) * torch.from_numpy(np.random.default_rng(seed).standard_normal((50, 2)))
    x, expected, narrow = start, 0.0, guided.pair.uncond
    levels = guided.grid.levels
    for level, following in itertools.pairwise(levels):
        span = math.log(level.variance / following.variance)
        slope = (x + w * narrow.denoised(x, level)) / 2  # the class is a point at the origin: x - D_w
        trial = x - span * slope
        ahead = (trial + w * narrow.denoised(trial, following)) / 2
        spread = narrow.posterior_variance(x, level) / level.variance
        x = x - span * (slope + ahead) / 2
        expected = expected - w / 4 * span * (spread + narrow.posterior_variance(x, following) / following.variance)
    found = plain.down(start).change - guided.down(start).change
    torch.testing.assert_close(found, expected, rtol=0, atol=0.01)
    assert bool((found < -0.1).any())
    assert bool((found < 0).all())


@pytest.mark.parametrize(
    ("schedule", "options", "message"),
    [
        (Step(early=1.0, late=0.0, switch=0.5, clock="step"), {}, "a flow has no steps"),
        (Linear(w0=0.0, slope=1.0, clock="logsnr"), {}, "no finite strength at clean data"),
        (Constant(value=1.0), {"steps": 0}, "steps must be >= 1"),
    ],
)
def test_unusable_flows_are_refused(schedule: GuidanceSchedule, options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GuidedFlow(pair(LINE), schedule, **options)


def test_an_entropy_needs_samples_for_its_error() -> None:
    with pytest.raises(ConfigError, match="at least 2 samples"):
        entropy_change(gaussian_pair(), Constant(value=1.0), samples=1)


def test_the_strain_alone_needs_a_constant_strength() -> None:
    flow = GuidedFlow(pair(LINE), Linear(w0=0.0, slope=0.1), t_max=10.0)
    with pytest.raises(ConfigError, match="constant strength"):
        flow.log_prob_by_strain(line(3))
