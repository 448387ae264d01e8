"""Rules beside linear guidance: each against its published formula, written once more by hand, on exact targets."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from orthoscope.denoise import ExactDenoiser, FixedLabel
from orthoscope.errors import ConfigError, ShapeError
from orthoscope.guidance.guided import Guided, classifier_free
from orthoscope.guidance.renoised import renoised, renoising_factors
from orthoscope.guidance.rules import (
    LinearCFG,
    PowerLaw,
    Projected,
    Renoised,
    Rescaled,
    Rule,
    ZeroStar,
    format_rule,
)
from orthoscope.guidance.schedules import Constant, Linear
from orthoscope.process import EDM, NoiseLevel, OrnsteinUhlenbeck, Process, RectifiedFlow, VarianceExploding
from orthoscope.sampling import CFGPlusPlus, Exponential, grid, sample
from orthoscope.targets import Mixture, mixture

NEUTRAL: list[Rule] = [
    Rescaled(phi=0.0),
    PowerLaw(alpha=0.0),
    Projected(eta=1.0),
    Projected(eta=1.0, threshold=1e9),
]
BENT: list[Rule] = [Rescaled(), PowerLaw(), Projected(eta=0.2, threshold=0.4), ZeroStar(zero_steps=0)]
RUN = NoiseLevel(time=0.8, step=3, steps=10)


def target(dim: int = 3) -> Mixture:
    centroids = torch.tensor([[1.0, 0.0, 0.3], [-1.0, 0.5, 0.1], [0.2, -1.4, -1.0], [1.5, 1.5, 0.4]])
    return mixture(centroids[:, :dim].double(), std=0.4, labels=torch.tensor([0, 0, 1, 2]))


def states(rows: int = 5, seed: int = 0) -> Tensor:
    return torch.randn(rows, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 1.4


def pair(x: Tensor, level: NoiseLevel, label: int = 0) -> tuple[Tensor, Tensor]:
    exact = ExactDenoiser(target())
    return exact(x, level, label), exact(x, level)


def guided(rule: Rule, w: Any, x: Tensor, level: NoiseLevel = RUN) -> Tensor:
    return classifier_free(ExactDenoiser(target()), Constant(value=w), rule)(x, level, 0)


# Published formulas, with scales and one row at a time


def by_hand(rule: Rule, w: float, x: Tensor, level: NoiseLevel) -> Tensor:
    scale, variance, sigma = 1 + w, float(level.variance), math.sqrt(level.variance)
    rows = []
    for y, c, u in zip(x.numpy(), *(p.numpy() for p in pair(x, level)), strict=True):
        match rule:
            case Rescaled():
                pos, neg = (y - c) / sigma, (y - u) / sigma
                cfg = neg + scale * (pos - neg)
                noise = rule.phi * (cfg * (np.std(pos) / np.std(cfg))) + (1 - rule.phi) * cfg
                rows.append(y - sigma * noise)
            case PowerLaw():
                of_chart = variance * level.alpha  # the chart's state is alpha * y
                sc, su = (c - y) / of_chart, (u - y) / of_chart
                score = sc + w * (sc - su) * np.linalg.norm(sc - su) ** rule.alpha
                rows.append(y + of_chart * score)
            case Projected():
                d = c - u
                d = d * min(1.0, rule.threshold / np.linalg.norm(d)) if rule.threshold else d
                parallel = (d @ c) / (c @ c) * c
                rows.append(c + (scale - 1) * (d - parallel + rule.eta * parallel))
            case ZeroStar():
                vc, vu = (y - c) / sigma - c, (y - u) / sigma - u
                a = (vc @ vu) / (vu @ vu)
                v = (1 - scale) * a * vu + scale * vc
                rows.append((y - sigma * v) / (1 + sigma))
    return torch.from_numpy(np.array(rows))


@pytest.mark.parametrize("rule", BENT, ids=format_rule)
@given(w=st.floats(-2, 9), time=st.floats(0.05, 30))
def test_the_published_formula(rule: Rule, w: float, time: float) -> None:
    x, level = states(), replace(RUN, time=time)
    torch.testing.assert_close(guided(rule, w, x, level), by_hand(rule, w, x, level), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rule", BENT, ids=format_rule)
def test_bent_rules_say_so_and_mean_it(rule: Rule) -> None:
    # Negative control of all reductions below: they do differ from linear guidance, and with the space.
    x = states()
    assert not rule.is_linear
    assert (guided(rule, 2.0, x) - guided(LinearCFG(), 2.0, x)).abs().max() > 0.01
    elsewhere = replace(rule, space="noise" if rule.space != "noise" else "denoised")
    assert (guided(rule, 2.0, x) - guided(elsewhere, 2.0, x)).abs().max() > 0.01


# Reductions


@pytest.mark.parametrize("rule", NEUTRAL, ids=format_rule)
@given(w=st.floats(-3, 12))
def test_neutral_settings_are_linear_guidance(rule: Rule, w: float) -> None:
    x = states()
    torch.testing.assert_close(guided(rule, w, x), guided(LinearCFG(), w, x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("rule", [*BENT, Projected(momentum=-0.5, threshold=1.0)], ids=format_rule)
def test_no_strength_is_the_conditional_prediction_bit_for_bit(rule: Rule) -> None:
    cond, uncond = pair(states(), RUN)
    found, _ = rule(states(), RUN, {"cond": cond, "uncond": uncond}, 0.0, None)
    assert torch.equal(found, cond)
    assert rule.needed(0.0) == (("cond", "uncond") if getattr(rule, "momentum", 0) else ("cond",))
    assert rule.needed(-1.0) == rule.needed(np.zeros(2)) == ("cond", "uncond")


def test_full_rescaling_keeps_the_spread_of_the_conditional_noise() -> None:
    x, sigma = states(), float(RUN.sigma)
    noise = (x - guided(Rescaled(phi=1.0), 6.0, x)) / sigma
    expected = (x - pair(x, RUN)[0]) / sigma
    torch.testing.assert_close(noise.std(dim=1), expected.std(dim=1), rtol=1e-12, atol=0)


@given(w=st.floats(-3, 12))
def test_projected_guidance_moves_across_the_conditional_prediction(w: float) -> None:
    x = states()
    cond, _ = pair(x, RUN)
    along = ((guided(Projected(), w, x) - cond) * cond).sum(dim=1)
    assert along.abs().max() < 1e-11 * (1 + abs(w))


def test_a_threshold_is_the_longest_step() -> None:
    cond, _ = pair(states(), RUN)
    step = guided(Projected(eta=1.0, threshold=0.3), 2.0, states()) - cond
    plain = guided(LinearCFG(), 2.0, states()) - cond
    torch.testing.assert_close(step.norm(dim=1), plain.norm(dim=1).clamp_max(0.6), rtol=1e-12, atol=0)
    assert (plain.norm(dim=1) > 0.6).any()
    assert (plain.norm(dim=1) < 0.6).any()


def test_the_best_multiple_is_the_one_nearest_to_the_conditional_velocity() -> None:
    cond, uncond = torch.tensor([[1.0, 2.0]]).double(), torch.tensor([[0.5, -1.5]]).double()
    found, _ = ZeroStar(zero_steps=0)(cond, RUN, {"cond": cond, "uncond": uncond}, -1.0, None)
    multiples = torch.linspace(-3, 3, 60001, dtype=torch.float64)[:, None] * uncond
    best = multiples[(multiples - cond).norm(dim=1).argmin()]
    torch.testing.assert_close(found[0], best, rtol=0, atol=2e-4)


# Shapes, rows, precision


def every_rule() -> list[Rule]:
    return [*BENT, LinearCFG(), Renoised().resolved(np.linspace(5.0, 0.5, 11).tolist())]


@pytest.mark.parametrize("rule", every_rule(), ids=lambda rule: rule.name)
def test_an_event_may_have_any_shape(rule: Rule) -> None:
    flat = torch.randn(3, 4, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x, cond, uncond, _ = flat.transpose(0, 1)
    expected, _ = rule(x, RUN, {"cond": cond, "uncond": uncond}, 2.5, None)
    images = [a.reshape(-1, 2, 3, 4) for a in (x, cond, uncond)]
    found, _ = rule(images[0], RUN, {"cond": images[1], "uncond": images[2]}, 2.5, None)
    torch.testing.assert_close(found.flatten(1), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rule", every_rule(), ids=lambda rule: rule.name)
def test_rows_do_not_see_each_other_and_may_have_strengths_of_their_own(rule: Rule) -> None:
    x, w = states(3), np.array([0.0, 2.0, -1.0])
    cond, uncond = pair(x, RUN)
    rows, _ = rule(x, RUN, {"cond": cond, "uncond": uncond}, w, None)
    for k in range(3):
        one = slice(k, k + 1)
        alone, _ = rule(x[one], RUN, {"cond": cond[one], "uncond": uncond[one]}, float(w[k]), None)
        torch.testing.assert_close(rows[one], alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("rule", [*every_rule(), Projected(momentum=-0.5)], ids=lambda rule: rule.name)
def test_half_precision_stays_half_and_is_reduced_in_single(rule: Rule, dtype: torch.dtype) -> None:
    # The squared norm of 40,000 entries of size 4 overflows half precision.
    x, cond, uncond = (4 * torch.randn(3, 2, 40000, generator=torch.Generator().manual_seed(2))).to(dtype)
    found, memory = rule(x, RUN, {"cond": cond, "uncond": uncond}, 1.0, None)
    exact, _ = rule(x.double(), RUN, {"cond": cond.double(), "uncond": uncond.double()}, 1.0, None)
    assert found.dtype == dtype
    assert memory is None or memory.dtype == dtype
    error = (found.double() - exact).norm() / exact.norm()
    assert error < 2 * torch.finfo(dtype).eps


@pytest.mark.parametrize("rule", BENT, ids=format_rule)
def test_equal_predictions_are_left_alone(rule: Rule) -> None:
    cond, _ = pair(states(), RUN)
    found, _ = rule(states(), RUN, {"cond": cond, "uncond": cond.clone()}, 5.0, None)
    torch.testing.assert_close(found, cond, rtol=1e-7, atol=1e-7)


def test_one_number_has_no_spread() -> None:
    x = torch.ones(2, 1)
    with pytest.raises(ShapeError, match="two entries or more"):
        Rescaled()(x, RUN, {"cond": x, "uncond": 2 * x}, 1.0, None)


# Charts


@pytest.mark.parametrize("process", [OrnsteinUhlenbeck(), RectifiedFlow(), EDM()], ids=lambda p: type(p).__name__)
def test_the_power_law_measures_the_score_of_the_chart(process: Process) -> None:
    level, x = process.at(0.7), states()
    torch.testing.assert_close(guided(PowerLaw(), 1.5, x, level), by_hand(PowerLaw(), 1.5, x, level))
    same = guided(PowerLaw(), 1.5, x, NoiseLevel(time=0.7))
    assert torch.equal(guided(PowerLaw(), 1.5, x, level), same) == isinstance(process, EDM)


def test_the_power_law_of_flows() -> None:
    level, x, alpha = RectifiedFlow().at(1.3), states(), 0.6
    t, (cond, uncond) = float(level.t), pair(x, level)
    velocity, other = ((x - d) / float(level.sigma) - d for d in (cond, uncond))
    gap = velocity - other
    field = velocity + 2.0 * ((1 - t) / t) ** alpha * gap.norm(dim=1, keepdim=True) ** alpha * gap
    found = guided(PowerLaw(alpha=alpha), 2.0, x, level)
    torch.testing.assert_close((x - found) / float(level.sigma) - found, field, rtol=1e-11, atol=1e-11)


# Memory


TIMES = [4.0, 2.0, 1.1, 0.5, 0.2, 0.0]


def run_with(rule: Rule, order: int) -> tuple[Tensor, list[Any]]:
    exact = classifier_free(ExactDenoiser(target()), Linear(w0=0.5, slope=0.2), rule)
    seen: list[Any] = []
    run = sample(
        exact,
        states(),
        grid(VarianceExploding(), TIMES),
        step=Exponential(lam=0, order=order),
        label=0,
        observe=lambda state: seen.append(state.memory.rule if state.memory else None),
    )
    return run.x, seen


@pytest.mark.parametrize("order", [1, 2])
def test_momentum_gathers_one_direction_per_step(order: int) -> None:
    rule = Projected(eta=0.3, momentum=-0.6, threshold=0.8)
    found, seen = run_with(rule, order)
    levels = grid(VarianceExploding(), TIMES).levels
    x, running = states(), torch.zeros(5, 3, dtype=torch.float64)

    def denoised(x: Tensor, level: NoiseLevel, w: float) -> tuple[Tensor, Tensor]:
        c, u = pair(x, level)
        total = c - u - 0.6 * running
        d = total * (0.8 / total.norm(dim=1, keepdim=True)).clamp_max(1)
        across = d - (d * c).sum(1, keepdim=True) / (c * c).sum(1, keepdim=True) * c
        return c + w * (across + 0.3 * (d - across)), total

    for k, (level, after) in enumerate(itertools.pairwise(levels)):
        first, total = denoised(x, level, 0.5 + 0.2 * level.time)
        ratio = math.sqrt(after.time / level.time)
        end = first + ratio * (x - first)
        if order == 2 and after.time > 0:
            second, _ = denoised(end, after, 0.5 + 0.2 * after.time)
            mean = (first + second) / 2
            end = mean + ratio * (x - mean)
        x, running = end, total
        torch.testing.assert_close(seen[k + 1], running, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found, x, rtol=1e-9, atol=1e-9)


def test_without_momentum_nothing_is_remembered() -> None:
    assert set(run_with(Projected(threshold=0.5), 2)[1]) == {None}


def test_a_zero_velocity_leaves_the_state_of_the_flow_where_it_is() -> None:
    process = RectifiedFlow()
    levels = grid(process, [process.variance(t) for t in (0.9, 0.7, 0.5, 0.2)])
    for order in (1, 2):
        run = sample(
            classifier_free(ExactDenoiser(target()), Constant(value=2.0), ZeroStar(zero_steps=2)),
            states(),
            levels,
            step=Exponential(lam=0, order=order),
            label=0,
            observe=lambda state: float(state.level.alpha) * state.x,
        )
        start, first, second, third = run.observed
        torch.testing.assert_close(first, start, rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(second, start, rtol=1e-13, atol=1e-13)
        assert (third - second).abs().max() > 0.01


# CFG++


@pytest.mark.parametrize("lam", [0.0, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("process", [VarianceExploding(), OrnsteinUhlenbeck()], ids=lambda p: type(p).__name__)
def test_cfg_plus_plus_is_linear_guidance_at_its_own_strengths(lam: float, process: Process) -> None:
    levels = grid(process, [9.0, 4.0, 2.5, 0.6, 0.1, 0.0])
    x = states()
    y = x * float(levels.levels[0].alpha)
    for level, after in itertools.pairwise(levels.levels):
        # The published step, in the chart's own scaled state.
        a, b = float(level.alpha), float(after.alpha)
        sa, sb = a * math.sqrt(level.time), b * math.sqrt(after.time)
        noise_c, noise_u = ((y - a * d) / sa for d in pair(y / a, level))
        clean = (y - sa * (noise_u + lam * (noise_c - noise_u))) / a
        y = b * clean + sb * noise_u
    step, exact = Exponential(lam=0, order=1), ExactDenoiser(target())
    by_schedule = classifier_free(exact, renoised(lam, levels.times))
    by_rule = classifier_free(exact, Constant(value=lam - 1), Renoised().resolved(levels.times))
    for denoiser in (by_schedule, by_rule):
        found = sample(denoiser, x, levels, step=step, label=0).x
        torch.testing.assert_close(found, y, rtol=1e-10, atol=1e-10)
    plain = sample(classifier_free(exact, Constant(value=lam - 1)), x, levels, step=step, label=0).x
    by_step = CFGPlusPlus(reference=FixedLabel(exact))
    found = sample(classifier_free(exact, Constant(value=lam - 1)), x, levels, step=by_step, label=0).x
    torch.testing.assert_close(found, y, rtol=1e-10, atol=1e-10)
    assert lam == 0 or (plain - y).abs().max() > 0.01  # and it is not linear guidance of scale lam


def test_a_geometric_grid_makes_cfg_plus_plus_a_constant_that_grows_with_the_steps() -> None:
    factors = {n: renoising_factors(np.geomspace(100.0, 0.01, n + 1).tolist()) for n in (10, 20)}
    for n, found in factors.items():
        np.testing.assert_allclose(found, 1 / (1 - 1e-4 ** (0.5 / n)), rtol=1e-10)
    assert renoising_factors([4.0, 1.0, 0.0])[-1] == 1


def test_a_level_finds_its_step_with_or_without_its_number() -> None:
    times = (9.0, 4.0, 1.0, 0.0)
    rule, factors = Renoised(times=times), renoising_factors(times)
    for k in range(3):
        level = NoiseLevel(time=times[k])
        expected = 0.5 * factors[k] - 1
        assert rule.strength(level, -0.5) == expected
        assert rule.strength(replace(level, step=k, steps=3), -0.5) == expected
        after = NoiseLevel(time=times[k + 1])
        assert rule.strength(after.from_noise_side(None), -0.5) == expected
        assert rule.strength(after.from_noise_side(k), -0.5) == expected
    several = rule.strength(NoiseLevel(time=np.array([5.0, 1.0])), np.array([-0.5, 0.0]))
    np.testing.assert_array_equal(several, [0.5 * factors[0] - 1, factors[2] - 1])


@pytest.mark.parametrize(
    ("level", "message"),
    [
        (NoiseLevel(time=9.5), "starts at none of them"),
        (NoiseLevel(time=0.0), "starts at none of them"),
        (NoiseLevel(time=4.0, step=1, steps=5), "resolved for 2 steps"),
    ],
)
def test_cfg_plus_plus_belongs_to_its_grid(level: NoiseLevel, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Renoised(times=(9.0, 4.0, 0.0)).strength(level, -0.5)
    with pytest.raises(ConfigError, match="needs the levels of its run"):
        Renoised().strength(level, -0.5)


@pytest.mark.parametrize("times", [(1.0,), (1.0, 2.0), (2.0, 2.0), (1.0, -1.0), (math.inf, 1.0)])
def test_cfg_plus_plus_refuses_what_is_no_grid(times: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="strictly descending"):
        Renoised(times=times)


def test_other_rules_need_no_grid() -> None:
    rule = Projected(eta=0.5)
    assert rule.resolved([2.0, 1.0]) is rule


# Guided


def test_bent_rules_refuse_an_absorbed_target() -> None:
    for rule in BENT:
        with pytest.raises(ConfigError, match="is not linear"):
            Guided(
                main=ExactDenoiser(target()), reference=ExactDenoiser(target()), schedule=Constant(value=1.0), rule=rule
            )(states(), NoiseLevel(time=0.5, offset=0.16))


def test_standing_still_needs_a_run() -> None:
    with pytest.raises(ConfigError, match="zero_steps=0"):
        guided(ZeroStar(), 1.0, states(), NoiseLevel(time=0.5))
