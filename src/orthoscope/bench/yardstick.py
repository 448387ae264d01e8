"""The yardstick: one class of one draw of the modes, to one standard error, by the textbook and by the engine.

The textbook's cost is measured per step and trajectory on the real modes, and the spread of its samples on the planted
ensemble, where its bias is measured too; their product is extrapolated to the trajectories that the error asks for. The
engine's time is measured whole. Both start from the same centroids in memory.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from orthoscope import rng
from orthoscope.bench.textbook import TEXTBOOK_STEPS, mixture_score, textbook_sample, textbook_times
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant
from orthoscope.metrics import mean_of
from orthoscope.numerics import Array
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.quantities import Estimate
from orthoscope.sampling import BrownianPath, sample, start
from orthoscope.simulation.control import FEWEST_DIM
from orthoscope.simulation.draw import Draw, Modes
from orthoscope.simulation.setting import Simulation
from orthoscope.targets import Mixture, Planted

BATCHES = (64, 256)  # trajectories followed together by the textbook; the cheaper counts
FINE_STEPS = 120  # second order: nothing is left of their bias
BLOCKS, BLOCK = 4, 250  # planted trajectories that the textbook's spread and bias are measured on


@dataclass(frozen=True, slots=True, kw_only=True)
class Yardstick:
    """The problem that both have to solve.

    Attributes:
        dim: Dimension.
        rate: log(classes)/dim.
        std: Within-class standard deviation.
        strength: Guidance strength.
        t_max: Variance time at which runs start.
        stderr: Standard error wanted of the mean shift.
        seed: Root seed.
        device: Torch device.
    """

    dim: int = 64
    rate: float = 0.2
    std: float = 0.5
    strength: float = 1.0
    t_max: float = 50.0
    stderr: float = 1e-3
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Reject what cannot be compared, before anything is timed."""
        if not (math.isfinite(self.stderr) and self.stderr > 0):
            raise ConfigError(f"expected a standard error > 0, got {self.stderr}")
        if self.strength == 0:
            raise ConfigError("without guidance there is no shift to compare: expected a strength other than 0")
        if self.dim < FEWEST_DIM:
            raise ConfigError(f"the planted control variate needs at least {FEWEST_DIM} dimensions, got {self.dim}")

    @classmethod
    def quick(cls) -> Yardstick:
        """A small version that shows the same in seconds."""
        return cls(dim=32)

    @property
    def simulation(self) -> Simulation:
        """The setting, one draw of the modes."""
        return Simulation.of(
            dim=self.dim,
            std=self.std,
            rate=self.rate,
            schedule=Constant(value=self.strength),
            t_max=self.t_max,
            draws=1,
            seed=self.seed,
            device=self.device,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TextbookCost:
    """What the textbook pays.

    Attributes:
        per_step: Seconds per trajectory and step.
        batch: Trajectories followed together when that was measured.
        measured_seconds: How long that measurement ran.
        spread: Standard deviation of one trajectory's mean shift.
        trajectories: How many the wanted error needs.
        seconds: Extrapolated to all of them.
        bias: Of its mean shift, on the planted ensemble.
    """

    per_step: float
    batch: int
    measured_seconds: float
    spread: float
    trajectories: int
    seconds: float
    bias: Estimate


def textbook_cost(problem: Yardstick, draw: Draw) -> TextbookCost:
    """Measure a few textbook steps on the real modes, and what its samples are worth on the planted ensemble."""
    begin = time.perf_counter()
    per_step, batch = min((_step_seconds(problem, draw.target, batch), batch) for batch in BATCHES)
    measured = time.perf_counter() - begin
    shifts, gaps = _on_planted(problem, draw.planted())
    spread = float(shifts.std(ddof=1))
    trajectories = math.ceil((spread / problem.stderr) ** 2)
    return TextbookCost(
        per_step=per_step,
        batch=batch,
        measured_seconds=measured,
        spread=spread,
        trajectories=trajectories,
        seconds=per_step * TEXTBOOK_STEPS * trajectories,
        bias=mean_of(gaps),
    )


def _step_seconds(problem: Yardstick, target: Modes, batch: int) -> float:
    """Seconds per trajectory of one textbook step on the real modes, the fastest of three."""
    assert isinstance(target, Mixture)
    centroids = target.centroids
    weights = torch.zeros(len(centroids), dtype=centroids.dtype, device=centroids.device)
    own, width = centroids[:1], problem.std**2
    times = textbook_times(problem.t_max, TEXTBOOK_STEPS)[:2]
    x = math.sqrt(problem.t_max) * torch.ones(batch, problem.dim).to(centroids)

    def step() -> Tensor:
        return textbook_sample(
            x,
            lambda x, t: mixture_score(x, own, weights[:1], t + width),
            lambda x, t: mixture_score(x, centroids, weights, t + width),
            strength=problem.strength,
            times=times,
            normal=lambda t, t_next: torch.zeros_like(x),
        )

    return fastest(step, x.device) / batch


def fastest(call: Callable[[], Any], device: torch.device, repeats: int = 3) -> float:
    """Seconds of the fastest of several calls, the first not counted."""
    seconds = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - begin)
    return min(seconds[1:])


def _on_planted(problem: Yardstick, control: Draw) -> tuple[Array, Array]:
    """Mean shifts of textbook samples of the planted ensemble, and their gaps to fine runs on the same paths."""
    assert isinstance(control.target, Planted)
    planted = replace(control.target, centroid=control.target.centroid.double().cpu())
    fine = problem.simulation.but(steps=FINE_STEPS, samples=BLOCK, dtype="float64", device="cpu")
    draw = Draw(simulation=fine, index=0, target=planted)
    grid = draw.levels
    process = VarianceExploding(offset=problem.std**2)
    times = textbook_times(problem.t_max, TEXTBOOK_STEPS)
    variances = sorted(
        {process.at(t).variance for t in times} | {level.variance for level in grid.levels}, reverse=True
    )
    law, m, shifts, gaps = planted.conditional(0), planted.centroid, [], []
    for block in range(BLOCKS):
        streams = rng.row_streams(problem.seed, "textbook", block, rows=range(BLOCK))
        x = start("prior", law, grid.levels[0], streams, prior_variance=1 + problem.std**2)
        seed = rng.key(problem.seed, "textbook path", block)
        path = BrownianPath(seed=seed, rows=BLOCK, dim=problem.dim, variances=variances)
        end = textbook_sample(
            x,
            lambda x, t: law.score(x, NoiseLevel(time=t)),
            lambda x, t: planted.score(x, NoiseLevel(time=t)),
            strength=problem.strength,
            times=times,
            normal=_on(path, process),
        )
        exact = sample(draw.denoiser(grid), x, grid, noise=path, label=0).x
        shifts.append((end @ m / (m @ m) - 1).cpu().numpy())
        gaps.append(((end - exact) @ m / (m @ m)).cpu().numpy())
    return np.concatenate(shifts), np.concatenate(gaps)


def _on(path: BrownianPath, process: VarianceExploding) -> Callable[[float, float], Tensor]:
    return lambda t, t_next: path(process.at(t), process.at(t_next))
