"""Exact guided sampling of one setting.

A simulation draws the modes anew several times, samples one class under guidance each time, and pools the estimates, so
that every standard error covers both trajectories and modes. All estimators are coupled here; `sample` knows of none.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from orthoscope import metrics, rng
from orthoscope.denoise import Exact
from orthoscope.guidance.guided import classifier_free
from orthoscope.process import VarianceExploding
from orthoscope.quantities import Estimate, pool
from orthoscope.sample import (
    Exponential,
    Grid,
    Independent,
    Run,
    State,
    equalized,
    geometric,
    posterior_variance,
    refined,
    sample,
    start,
    through,
)
from orthoscope.study.simulation import Simulation
from orthoscope.targets import Mixture, Planted, Target, random_mixture, random_planted
from orthoscope.theory import predict

REFINED_WIDTH = 8.0  # in units of dim**-0.5; measured by benchmarks/grids.py
_FRECHET_ROWS_PER_DIM = 2  # below, the covariance is too ill-determined for a distance to mean anything


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationResult:
    """What a simulation measured, pooled over draws.

    Attributes:
        simulation: The setting.
        estimates: Final estimates by quantity name.
        times: Variance times of the grid, descending.
        overlap: Overlap with the class centroid at each time.
        variance: Variance per coordinate at each time.
        seconds: Wall time.
        model_calls: Denoiser evaluations, over all draws.
        modes_read: Rows times modes read, over all draws.
    """

    simulation: Simulation
    estimates: Mapping[str, Estimate]
    times: tuple[float, ...]
    overlap: tuple[Estimate, ...]
    variance: tuple[Estimate, ...]
    seconds: float
    model_calls: int
    modes_read: int


def simulate(simulation: Simulation, *, progress: Callable[[int, int], None] | None = None) -> SimulationResult:
    """Run a simulation.

    Args:
        simulation: The setting.
        progress: Called with levels visited and levels in all, over all draws.

    Raises:
        DivergenceError: if a state stops being finite.
    """
    begin = time.perf_counter()
    levels = None
    finals: list[Mapping[str, Estimate]] = []
    paths: list[tuple[tuple[Estimate, Estimate], ...]] = []
    calls = read = 0
    for index in range(simulation.draws):
        target = draw_target(simulation, index)
        levels = levels or make_grid(simulation, target)
        tick = partial(_tick, progress, index, simulation.draws) if progress is not None else None
        run = run_draw(simulation, target, levels, index, tick=tick)
        finals.append(final_estimates(simulation, target, run))
        paths.append(run.observed)
        calls, read = calls + run.calls, read + run.modes_read
    assert levels is not None
    q, v = ([pool([path[k][part] for path in paths]) for k in range(levels.steps + 1)] for part in (0, 1))
    return SimulationResult(
        simulation=simulation,
        estimates={name: pool([final[name] for final in finals]) for name in finals[0]},
        times=levels.times,
        overlap=tuple(q),
        variance=tuple(v),
        seconds=time.perf_counter() - begin,
        model_calls=calls,
        modes_read=read,
    )


def _tick(progress: Callable[[int, int], None], draw: int, draws: int, level: int, levels: int) -> None:
    progress(draw * levels + level, draws * levels)


def draw_target(simulation: Simulation, index: int) -> Mixture | Planted:
    """The modes of one draw; the class that is sampled is label 0."""
    stream = rng.stream(simulation.seed, "modes", index)
    if simulation.planted:
        planted = random_planted(
            simulation.dim,
            std=simulation.std,
            log_classes=simulation.log_classes,
            stream=stream,
            dtype=simulation.torch_dtype,
        )
        return replace(planted, centroid=planted.centroid.to(simulation.device))
    drawn = random_mixture(
        simulation.dim,
        std=simulation.std,
        stream=stream,
        rate=simulation.rate,
        classes=simulation.classes,
        ensemble=simulation.ensemble,
        dtype=simulation.torch_dtype,
    )
    return drawn.to(simulation.device)


def make_grid(simulation: Simulation, target: Target) -> Grid:
    """The levels to visit: as asked for, with the schedule's jumps inserted.

    A schedule with clock=step means something only on a given grid: it always gets the geometric one.
    """
    narrow, offset = target.absorbed()
    process = VarianceExploding(offset=offset)
    t_max, steps = simulation.t_max, simulation.steps
    if simulation.schedule.clock == "step":
        return geometric(process, t_max, steps)
    match simulation.grid:
        case "equalized":
            base = equalized(process, t_max, steps, posterior_variance=posterior_variance(narrow, seed=simulation.seed))
        case "refined" if (center := decision_time(simulation)) is not None:
            base = refined(process, t_max, steps, center=center, width=REFINED_WIDTH / math.sqrt(simulation.dim))
        case _:
            base = geometric(process, t_max, steps)
    return through(base, process, simulation.schedule.switches())


def decision_time(simulation: Simulation) -> float | None:
    """Variance time at which the path is committed or captured, by mean-field theory; None if neither."""
    found = predict(simulation.setting)
    times = [t for t in (found.speciation_time, found.capture_time) if t is not None]
    return max(times) if times else None


def run_draw(
    simulation: Simulation,
    target: Mixture | Planted,
    levels: Grid,
    index: int,
    *,
    tick: Callable[[int, int], None] | None = None,
) -> Run:
    """Sample the class once, recording overlap and variance at every level; `tick` is told of each."""
    narrow, _ = target.absorbed()
    law = target.conditional(0)
    centroid = class_centroid(target)
    streams = rng.row_streams(simulation.seed, "trajectory", index, rows=range(simulation.samples))
    x = start(simulation.start, law, levels.levels[0], streams, prior_variance=1 + simulation.std**2)
    x = x.to(simulation.device, simulation.torch_dtype)

    def observe(state: State) -> tuple[Estimate, Estimate]:
        if tick is not None:
            tick((state.level.step or 0) + 1, levels.steps + 1)
        rows = state.x.cpu().numpy()
        return metrics.overlap(rows, centroid), metrics.variance(rows)

    return sample(
        classifier_free(Exact(narrow), simulation.schedule),
        x,
        levels,
        step=Exponential(lam=simulation.lam, order=simulation.order),
        noise=Independent(streams, (simulation.dim,), like=x),
        label=0,
        observe=observe,
    )


def class_centroid(target: Mixture | Planted) -> Any:
    """Centroid of the sampled class, as an array."""
    centroid = target.centroid if isinstance(target, Planted) else target.conditional(0).centroids[0]
    return centroid.cpu().numpy()


def final_estimates(simulation: Simulation, target: Mixture | Planted, run: Run) -> dict[str, Estimate]:
    """Every estimate at the end of one draw, by quantity name."""
    rows, m, std = run.x.cpu().numpy(), class_centroid(target), simulation.std
    estimates = {
        "mean_shift": metrics.mean_shift(rows, m),
        "variance_shift": metrics.variance_shift(rows, std),
        "variance_shift_along": metrics.variance_shift(rows, std, m, part="along"),
        "variance_ratio": metrics.variance_ratio(rows, std),
        "class_posterior": metrics.mean_of(target.class_posterior(run.x, 0).cpu().numpy()),
        "participation_ratio": metrics.participation_ratio(rows),
    }
    if simulation.dim > 1:
        estimates["variance_shift_across"] = metrics.variance_shift(rows, std, m, part="across")
    if len(rows) >= _FRECHET_ROWS_PER_DIM * simulation.dim:
        law = target.conditional(0)
        covariance = torch.eye(law.dim, dtype=torch.float64) * std**2  # one isotropic mode per class
        estimates["frechet_distance"] = metrics.frechet_distance(rows, m, covariance.numpy())
    return estimates
