"""Restarts leave the law of an exact denoiser as it is and forget what went wrong before; with guidance they do not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from orthoscope import rng
from orthoscope.denoise import ExactDenoiser
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant
from orthoscope.process import VarianceExploding
from orthoscope.sampling import (
    Exponential,
    IndependentNoise,
    Multistep,
    Restart,
    Step,
    geometric,
    grid,
    sample,
    start,
    trajectory,
)
from tests.sampling.linear import affine_law, affine_run, gaussian_pair, guided_pair, moment_equations
from tests.sampling.test_law import class_cdf, many_modes
from tests.stat.expect import expect_cdf

T_MAX = 20.0
TIMES = [20.0, 9.0, 4.0, 2.0, 0.9, 0.3, 0.0]  # an interval from 5 to 0.5 begins at 4 and ends at 0.3
LAW = (1.0, 0.3)


def frozen() -> tuple[ExactDenoiser, VarianceExploding]:
    """The conditional law is as narrow as the absorbed width: its mean never moves and every step is exact."""
    return guided_pair(gaussian_pair(), Constant(value=0.0))


@pytest.mark.parametrize("times", [0, 1, 3])
@pytest.mark.parametrize("inner", [Exponential(lam=0.0), Exponential(lam=1.0, order=1), Multistep(lam=0.4)], ids=repr)
def test_restarts_leave_an_exact_law_as_it_is(inner: Step, times: int) -> None:
    denoiser, process = frozen()
    step = Restart(low=0.5, high=5.0, times=times, step=inner)
    draws = times + (6 + 3 * times) * inner.needs_noise
    law = affine_law(denoiser, grid(process, TIMES), step, 1.0, 0.3 + T_MAX, draws)
    assert law == pytest.approx(LAW, rel=1e-12)


@pytest.mark.parametrize("times", [1, 4])
def test_each_return_forgets_as_much_as_the_interval_contracts(times: int) -> None:
    denoiser, process = frozen()
    plain = affine_run(denoiser, grid(process, TIMES), Exponential(lam=0.0), 0)
    again = affine_run(denoiser, grid(process, TIMES), Restart(low=0.5, high=5.0, times=times), times)
    contraction = math.sqrt((0.3 + 0.3) / (4.0 + 0.3))
    assert again[1] == pytest.approx(plain[1] * contraction**times, rel=1e-12)


def test_an_interval_that_reaches_clean_data_ends_there() -> None:
    denoiser, process = frozen()
    *_, last = trajectory(
        denoiser, torch.zeros(2, 1).double(), grid(process, TIMES), step=Restart(low=0.0, high=1.0, times=2),
        noise=lambda *_: torch.zeros(2, 1).double(), label=0,
    )  # fmt: skip
    assert last.calls == 2 * (6 + 2 * 2)  # levels 0.9 and 0.3 start a step each, again and again
    assert last.level.time == 0.0


def test_the_law_of_a_moving_mean_is_kept_to_the_order_of_the_step() -> None:
    # Strength -1 is the unconditional law, wider than the absorbed width: its mean moves, and steps err like h^2.
    pair = gaussian_pair()
    denoiser, process = guided_pair(pair, Constant(value=-1.0))
    errors = []
    for steps in (20, 40, 80):
        levels = geometric(process, T_MAX, steps)
        law = affine_law(denoiser, levels, Restart(low=0.3, high=6.0, times=2), -0.5, 1.4 + T_MAX, 2)
        errors.append(np.subtract(law, (-0.5, 1.4)))
    assert np.abs(errors[-1]).max() < 5e-4
    orders = np.log2(np.abs(np.divide(*np.array([errors[:-1], errors[1:]])[:, :, 1])))
    np.testing.assert_allclose(orders, 2, atol=0.15)


def test_under_guidance_restarts_sample_another_law() -> None:
    # What guidance makes of a level is not what noise makes of a later one: returning is no longer free.
    pair, schedule = gaussian_pair(), Constant(value=3.0)
    denoiser, process = guided_pair(pair, schedule)
    expected = moment_equations(pair, schedule, 0.0, T_MAX)
    levels = geometric(process, T_MAX, 200)
    plain, again = (
        affine_law(denoiser, levels, Restart(low=0.3, high=6.0, times=times), 1.0, 0.3 + T_MAX, times)
        for times in (0, 4)
    )
    assert plain == pytest.approx(expected, abs=1e-4)
    assert abs(again[1] / expected[1] - 1) > 0.1


def test_a_class_of_many_modes_is_sampled_after_restarts(seed: int) -> None:
    # 24 steps move the distribution function by less than 0.001 (a million draws): a false-fail rate of 1e-8 without
    # that is one below 1e-6 with it.
    target, n = many_modes(), 60_000
    narrow, offset = target.absorbed()
    levels = geometric(VarianceExploding(offset=offset), T_MAX, 24)
    streams = [rng.stream(seed, "restart")]
    x = start("exact", target.conditional(0), levels.levels[0], rng.row_streams(seed, "x", rows=range(n)),
              prior_variance=0.0)  # fmt: skip
    noise = IndependentNoise(streams, (n, 1), like=x)
    step = Restart(low=0.1, high=3.0, times=2)
    run = sample(ExactDenoiser(narrow), x, levels, step=step, noise=lambda *ends: noise(*ends)[0], label=0)
    expect_cdf(run.x[:, 0].numpy(), class_cdf, detect=0.026, false_fail=1e-8)


def test_a_restart_outside_the_run_is_refused() -> None:
    denoiser, process = frozen()
    x, z = torch.zeros(2, 1).double(), torch.zeros(2, 1).double()
    for low, high in ((5.0, 8.0), (25.0, 30.0), (0.01, 0.1)):
        with pytest.raises(ConfigError, match="no level of the run lies in the restart interval"):
            sample(denoiser, x, grid(process, TIMES), step=Restart(low=low, high=high), noise=lambda *_: z, label=0)
    with pytest.raises(ConfigError, match="0 <= low < high"):
        Restart(low=2.0, high=1.0)
    with pytest.raises(ConfigError, match="must be >= 0"):
        Restart(low=1.0, high=2.0, times=-1)
