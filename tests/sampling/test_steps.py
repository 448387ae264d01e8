from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthoscope.denoise import Denoiser, Evaluation, Label, Memory
from orthoscope.errors import ConfigError
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.sampling import (
    BrownianPath,
    CFGPlusPlus,
    Exponential,
    Multistep,
    PredictorCorrector,
    Step,
    geometric,
    grid,
    sample,
    trajectory,
    transition,
)

UNIT = torch.ones(1, 1, dtype=torch.float64)
variances = st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3, unique=True).map(lambda v: sorted(v)[::-1])


def coefficients(lam: float, v: float, v_next: float) -> tuple[float, float, float]:
    """Weights of state, denoised mean and noise in one step."""
    zero, level, next_level = torch.zeros_like(UNIT), NoiseLevel(time=v), NoiseLevel(time=v_next)
    return tuple(
        float(transition(x, level, next_level, d, z, lam=lam))
        for x, d, z in ((UNIT, zero, zero), (zero, UNIT, zero), (zero, zero, UNIT))
    )


@given(v=variances, lam=st.floats(0, 1))
def test_two_steps_with_a_frozen_mean_are_one(v: list[float], lam: float) -> None:
    (a, b, c), (a2, b2, c2) = coefficients(lam, v[0], v[1]), coefficients(lam, v[1], v[2])
    a1, b1, c1 = coefficients(lam, v[0], v[2])
    assert a2 * a == pytest.approx(a1, rel=1e-12)
    assert a2 * b + b2 == pytest.approx(b1, rel=1e-12)
    assert (a2 * c) ** 2 + c2**2 == pytest.approx(c1**2, rel=1e-9, abs=1e-15)


@given(v=variances, lam=st.floats(0, 1))
def test_the_conditional_law_moves_to_the_conditional_law(v: list[float], lam: float) -> None:
    # N(D, v) is the noised law of the point D: every noise content must carry it to N(D, v').
    a, b, c = coefficients(lam, v[0], v[1])
    assert a**2 * v[0] + c**2 == pytest.approx(v[1], rel=1e-12)
    assert a + b == pytest.approx(1, rel=1e-12)


def test_a_step_to_clean_data_ends_on_the_mean() -> None:
    assert coefficients(0.7, 2.0, 0.0) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize("lam", [0.3, 1.0])
def test_one_brownian_path_gives_two_steps_and_one_step_the_same_end(lam: float, seed: int) -> None:
    levels = [NoiseLevel(time=v - 0.25, offset=0.25) for v in (9.0, 1.7, 0.25)]
    path = BrownianPath(seed=seed, rows=3, dim=2, variances=[level.variance for level in levels], lam=lam)
    x, mean = torch.full((3, 2), 4.0, dtype=torch.float64), torch.full((3, 2), -1.0, dtype=torch.float64)
    middle = transition(x, levels[0], levels[1], mean, path(levels[0], levels[1]), lam=lam)
    twice = transition(middle, levels[1], levels[2], mean, path(levels[1], levels[2]), lam=lam)
    once = transition(x, levels[0], levels[2], mean, path(levels[0], levels[2]), lam=lam)
    torch.testing.assert_close(twice, once, rtol=1e-12, atol=1e-12)


def test_noise_cannot_be_forgotten() -> None:
    level, next_level = NoiseLevel(time=2.0), NoiseLevel(time=1.0)
    with pytest.raises(ConfigError, match="lam = 1 needs noise"):
        transition(UNIT, level, next_level, UNIT, None, lam=1.0)
    assert float(transition(2 * UNIT, level, next_level, UNIT, None, lam=0.0)) == pytest.approx(1 + math.sqrt(0.5))


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"lam": 1.5}, "`lam` must lie"), ({"lam": math.nan}, "`lam` must lie"), ({"order": 3}, "order must be")],
)
def test_nonsense_is_refused(setting: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Exponential(**setting)


def test_no_step_takes_a_noise_content_that_does_not_exist() -> None:
    for make in (Multistep, partial(CFGPlusPlus, reference=Probe())):
        with pytest.raises(ConfigError, match="`lam` must lie"):
            make(lam=-0.1)


# The contract, by every step


class Probe(Denoiser):
    """A mean that is linear in log-variance, whatever the state; a memory that counts; costs of its own."""

    def evaluate(self, x: torch.Tensor, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        mean = torch.full_like(x, 1.0 - 0.4 * math.log(level.variance))
        return Evaluation(denoised=mean, memory=(memory or 0) + 1, calls=2, modes_read=len(x))


STEPS: dict[str, tuple[Callable[[], Step], int]] = {  # and evaluations per step
    "exponential, first order": (lambda: Exponential(order=1), 1),
    "exponential, second order": (lambda: Exponential(lam=0.3), 2),
    "exponential, ode": (lambda: Exponential(lam=0.0), 2),
    "multistep": (Multistep, 1),
    "multistep, ode": (lambda: Multistep(lam=0.0), 1),
    "cfg++": (lambda: CFGPlusPlus(reference=Probe()), 2),
    "cfg++, sde": (lambda: CFGPlusPlus(reference=Probe(), lam=1.0), 2),
    "predictor-corrector": (lambda: PredictorCorrector(corrector=Probe(), corrections=2), 3),
}
LEVELS = geometric(VarianceExploding(offset=0.2), 10.0, 5)


@pytest.mark.parametrize(("make", "evaluations"), STEPS.values(), ids=STEPS)
def test_every_step_goes_to_the_next_level_counts_what_it_asks_and_commits_one_memory(
    make: Callable[[], Step], evaluations: int
) -> None:
    step, asked = make(), []
    assert isinstance(step, Step)

    def noise(level: NoiseLevel, next_level: NoiseLevel) -> torch.Tensor:
        asked.append((level.step, next_level.step))
        return torch.ones(3, 2)

    states = list(trajectory(Probe(), torch.ones(3, 2), LEVELS, step=step, noise=noise, label=1))
    assert [state.level for state in states] == list(LEVELS.levels)
    assert [state.memory for state in states] == [None, 1, 2, 3, 4, 5]
    assert [state.calls for state in states] == [2 * evaluations * k for k in range(6)]
    assert [state.modes_read for state in states] == [3 * evaluations * k for k in range(6)]
    assert {state.label for state in states} == {1}
    assert set(asked) == ({(k, k + 1) for k in range(5)} if step.needs_noise else set())


@pytest.mark.parametrize("make", [make for make, _ in STEPS.values()], ids=STEPS)
def test_only_a_step_that_says_so_needs_noise(make: Callable[[], Step]) -> None:
    step = make()
    if step.needs_noise:
        with pytest.raises(ConfigError, match="this step needs noise"):
            sample(Probe(), torch.ones(3, 2), LEVELS, step=step)
    else:
        assert sample(Probe(), torch.ones(3, 2), LEVELS, step=step).x.isfinite().all()


# What each of them does


@pytest.mark.parametrize("lam", [0.0, 0.6])
def test_a_multistep_takes_a_mean_linear_in_log_variance_at_the_middle_of_its_step(lam: float) -> None:
    levels = grid(VarianceExploding(offset=0.2), [9.0, 5.0, 1.1, 0.8, 0.0])  # as uneven as can be
    z = torch.full((1, 1), 0.7, dtype=torch.float64)
    states = list(trajectory(Probe(), UNIT, levels, step=Multistep(lam=lam), noise=lambda *_: z))
    for k, (before, after) in enumerate(itertools.pairwise(states)):
        middle = math.sqrt(before.level.variance * (after.level.variance if k else before.level.variance))
        mean = torch.full_like(UNIT, 1.0 - 0.4 * math.log(middle))
        expected = transition(before.x, before.level, after.level, mean, z, lam=lam)
        torch.testing.assert_close(after.x, expected, rtol=1e-12, atol=1e-12)


def test_a_multistep_ends_on_clean_data_without_offset() -> None:
    levels = grid(VarianceExploding(), [4.0, 1.0, 0.3, 0.0])
    end = sample(Probe(), UNIT, levels, step=Multistep(lam=0.0)).x
    torch.testing.assert_close(end, torch.full_like(UNIT, 1.0 - 0.4 * math.log(0.3)), rtol=1e-12, atol=0)


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_cfg_plus_plus_against_itself_is_the_plain_step(lam: float) -> None:
    z = torch.full((1, 1), -0.3, dtype=torch.float64)
    ends = [
        sample(Probe(), UNIT, LEVELS, step=step, noise=lambda *_: z).x
        for step in (CFGPlusPlus(reference=Probe(), lam=lam), Exponential(lam=lam, order=1))
    ]
    assert torch.equal(*ends)
