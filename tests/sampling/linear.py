"""The exact law of a run whose denoiser is affine in the state: no sampling, no statistics.

Then a run is x_end = shift + gain * x_start + sum over steps of response * noise, and a few rows reveal every number.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from scipy.integrate import solve_ivp

from orthoscope.denoise import Denoiser, ExactDenoiser
from orthoscope.guidance.guided import classifier_free
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.sampling import Grid, Step, sample
from orthoscope.targets import Gaussian, Pair


class Impulses:
    """No noise but a unit impulse in the k-th draw, counted from 0, for row k + 2."""

    def __init__(self, draws: int) -> None:
        self.draws, self.asked = draws, 0

    def __call__(self, level: NoiseLevel, next_level: NoiseLevel) -> torch.Tensor:
        noise = torch.zeros(self.draws + 2, 1, dtype=torch.float64)
        noise[self.asked + 2] = 1
        self.asked += 1
        return noise


def affine_run(denoiser: Denoiser, grid: Grid, step: Step, draws: int) -> tuple[float, float, np.ndarray]:
    """Shift, gain on the start and response to every draw of noise of a one-dimensional run."""
    x = torch.zeros(draws + 2, 1, dtype=torch.float64)
    x[1] = 1
    end = sample(denoiser, x, grid, step=step, noise=Impulses(draws), label=0).x[:, 0].numpy()
    return float(end[0]), float(end[1] - end[0]), end[2:] - end[0]


def affine_law(
    denoiser: Denoiser, grid: Grid, step: Step, mean: float, variance: float, draws: int | None = None
) -> tuple[float, float]:
    """Exact mean and variance at the end of a one-dimensional run started from a Gaussian.

    `draws` is how often the step asks for noise in all: once per step unless given.
    """
    shift, gain, responses = affine_run(denoiser, grid, step, grid.steps if draws is None else draws)
    return shift + gain * mean, gain**2 * variance + responses @ responses


def gaussian_pair(c: float = 0.3, u: float = 1.4, mu_c: float = 1.0, mu_u: float = -0.5) -> Pair:
    cond, uncond = (
        Gaussian(mean=torch.tensor([m], dtype=torch.float64), variance=torch.tensor([v], dtype=torch.float64))
        for m, v in ((mu_c, c), (mu_u, u))
    )
    return Pair(cond=cond, uncond=uncond)


def guided_pair(pair: Pair, schedule: GuidanceSchedule) -> tuple[Denoiser, VarianceExploding]:
    """The guided denoiser in absorbed coordinates, and their process."""
    narrow, offset = pair.absorbed()
    return classifier_free(ExactDenoiser(narrow), schedule), VarianceExploding(offset=offset)


def moment_equations(
    pair: Pair, schedule: GuidanceSchedule, lam: float, t_max: float, switches: tuple[float, ...] = ()
) -> tuple[float, float]:
    """Mean and variance of the guided reverse process from the exact start, by an adaptive solver in plain time."""
    mu_c, c = float(pair.cond.mean), float(pair.cond.variance)  # type: ignore[attr-defined]
    mu_u, u = float(pair.uncond.mean), float(pair.uncond.variance)  # type: ignore[attr-defined]
    k = (1 + lam**2) / 2

    def rates(t: float, state: np.ndarray) -> list[float]:
        w = float(schedule.at_time(t))
        pull = (1 + w) / (c + t) - w / (u + t)
        push = (1 + w) * mu_c / (c + t) - w * mu_u / (u + t)
        return [k * (pull * state[0] - push), 2 * k * pull * state[1] - lam**2]

    state, marks = [mu_c, c + t_max], [t_max, *switches, 0.0]
    for high, low in itertools.pairwise(marks):
        # One side of a jump only: an open interval, so that no evaluation lands on the wrong strength.
        inner = (high * (1 - 1e-14), low * (1 + 1e-14))
        state = solve_ivp(rates, inner, state, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    return float(state[0]), float(state[1])
