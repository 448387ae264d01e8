"""Charts do not matter: a schedule written in noise level gives one endpoint law in every process's own coordinates.

The reference is written from alpha(t) and sigma(t) alone: in the state y = alpha x with noise Sigma = alpha sigma,
dy/dt = f y - g^2/2 * score(y), f = d log(alpha)/dt, g^2 = d(Sigma^2)/dt - 2 f Sigma^2.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from orthoscope.denoise import ExactDenoiser
from orthoscope.guidance.guided import classifier_free
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Linear, Step, Tabulated
from orthoscope.process import EDM, OrnsteinUhlenbeck, Process, RectifiedFlow, VarianceExploding
from orthoscope.sampling import Exponential, geometric, grid, sample
from tests.sampling.linear import gaussian_pair

T_MAX = 5.0
TOLERANCE = 1e-6
C, U, MU_C, MU_U = 0.3, 1.4, 1.0, -0.5
START = np.array([-7.0, -1.0, 0.5, 6.0])


@dataclass(frozen=True)
class Chart:
    """A process written down again: scale, noise of the scaled state squared, their logarithmic drift and diffusion."""

    process: type[Process]
    alpha: Callable[[float], float]
    noise2: Callable[[float], float]
    drift: Callable[[float], float]
    diffusion2: Callable[[float], float]
    clock: Callable[[float], float]  # of variance time


CHARTS = {
    "exploding": Chart(VarianceExploding, lambda t: 1.0, lambda t: t, lambda t: 0.0, lambda t: 1.0, lambda v: v),
    "preserving": Chart(
        OrnsteinUhlenbeck,
        lambda t: np.exp(-t),
        lambda t: 1 - np.exp(-2 * t),
        lambda t: -1.0,
        lambda t: 2.0,
        lambda v: np.log(1 + v) / 2,
    ),
    "edm": Chart(EDM, lambda t: 1.0, lambda t: t**2, lambda t: 0.0, lambda t: 2 * t, lambda v: np.sqrt(v)),
    "flow": Chart(
        RectifiedFlow,
        lambda t: 1 - t,
        lambda t: t**2,
        lambda t: -1 / (1 - t),
        lambda t: 2 * t + 2 * t**2 / (1 - t),
        lambda v: np.sqrt(v) / (1 + np.sqrt(v)),
    ),
}

SCHEDULES = {
    "constant": Constant(value=2.0),
    "linear": Linear(w0=-0.5, slope=0.4),
    "sigma": Tabulated(at=(0.3, 1.5), strengths=(0.5, 2.5), clock="sigma"),
    "step": Step(early=3.0, late=-0.6, switch=0.8),
}


def own_coordinates(chart: Chart, schedule: GuidanceSchedule) -> np.ndarray:
    """End of the guided probability-flow ODE, integrated in the chart's own state and clock."""

    def rates(t: float, y: np.ndarray) -> np.ndarray:
        a, s2 = chart.alpha(t), chart.noise2(t)
        w = float(schedule.at_time(s2 / a**2))
        cond = -(y - a * MU_C) / (a**2 * C + s2)
        uncond = -(y - a * MU_U) / (a**2 * U + s2)
        return chart.drift(t) * y - chart.diffusion2(t) / 2 * ((1 + w) * cond - w * uncond)

    marks = [chart.clock(v) for v in (T_MAX, *schedule.switches(), 0.0)]
    y = chart.alpha(marks[0]) * START
    for high, low in itertools.pairwise(marks):
        inner = (high - 1e-12 * (high - low), low + 1e-12 * (high - low))  # never on a jump itself
        y = solve_ivp(rates, inner, y, method="DOP853", rtol=1e-11, atol=1e-12).y[:, -1]
    return y / chart.alpha(marks[-1])


def library(process: Process, schedule: GuidanceSchedule, spacing: str) -> np.ndarray:
    """The same by the library, extrapolated from three step sizes; steps end on the schedule's jumps."""
    narrow, offset = gaussian_pair(C, U, MU_C, MU_U).absorbed()
    denoiser = classifier_free(ExactDenoiser(narrow), schedule)
    carrier = type(process)(offset=offset)
    x, ends = torch.from_numpy(START)[:, None], []
    for n in (60, 120, 240):
        marks, times = [T_MAX, *schedule.switches(), 0.0], []
        for high, low in itertools.pairwise(marks):
            times += list(piece(carrier, high, low, n, spacing))[:-1]
        ends.append(sample(denoiser, x, grid(carrier, [*times, 0.0]), step=Exponential(lam=0.0), label=0).x[:, 0])
    once = [(4 * fine - coarse) / 3 for coarse, fine in itertools.pairwise(ends)]
    return ((8 * once[1] - once[0]) / 7).numpy()


def piece(process: Process, high: float, low: float, n: int, spacing: str) -> np.ndarray:
    """Variance times from high to low, at equal ratios of the denoiser's variance or equal distances on the clock."""
    if spacing == "geometric":
        times = np.geomspace(high + process.offset, low + process.offset, n + 1) - process.offset
    else:
        times = process.variance(np.linspace(process.chart_time(high), process.chart_time(low), n + 1))
    times[0], times[-1] = high, low
    return times


@pytest.mark.slow
@pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_one_endpoint_in_all_coordinates(chart: Chart, schedule: GuidanceSchedule) -> None:
    expected = own_coordinates(chart, schedule)
    found = library(chart.process(), schedule, "geometric")
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)
def test_grids_uniform_on_each_clock_converge_to_the_same_endpoint(chart: Chart) -> None:
    schedule = SCHEDULES["step"]
    expected = own_coordinates(CHARTS["exploding"], schedule)
    np.testing.assert_allclose(library(chart.process(), schedule, "uniform"), expected, rtol=0, atol=TOLERANCE)


def test_a_schedule_read_on_another_clock_ends_elsewhere() -> None:
    # Negative control: 0.8 as a chart time instead of a variance time.
    process = OrnsteinUhlenbeck()
    moved = Step(early=3.0, late=-0.6, switch=float(process.variance(0.8)))
    right, wrong = (own_coordinates(CHARTS["preserving"], s) for s in (SCHEDULES["step"], moved))
    assert np.abs(right - wrong).max() > 0.05


@pytest.mark.parametrize("switch", [0.09, 0.3, 1.0, 2.0, 7.3])
def test_runs_do_not_depend_on_the_clock_in_which_a_step_is_written(switch: float) -> None:
    narrow, offset = gaussian_pair(C, U, MU_C, MU_U).absorbed()
    process = VarianceExploding(offset=offset)
    x = torch.from_numpy(START)[:, None]
    ends = []
    for clock, position in (("variance", switch), ("sigma", np.sqrt(switch)), ("logsnr", -np.log(switch))):
        schedule = Step(early=3.0, late=-0.6, switch=float(position), clock=clock)
        base = geometric(process, T_MAX, 10)
        levels = grid(process, sorted({*base.times, *schedule.switches()}, reverse=True))
        denoiser = classifier_free(ExactDenoiser(narrow), schedule)
        ends.append(sample(denoiser, x, levels, step=Exponential(lam=0.0), label=0).x)
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=1e-12, atol=1e-12)
