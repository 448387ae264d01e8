"""Exact guided sampling of one setting.

A simulation draws the modes anew several times, samples one class under guidance each time, and pools the estimates, so
that every standard error covers both trajectories and modes. All estimators are coupled here; `sample` knows of none.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from orthoscope import metrics, rng
from orthoscope.denoise import Active, Committed, Denoiser, Exact, Fixed
from orthoscope.errors import ConfigError
from orthoscope.guidance.guided import Guided
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.process import VarianceExploding
from orthoscope.progress import Progress
from orthoscope.quantities import Estimate, pool
from orthoscope.sampling import (
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
from orthoscope.simulation.setting import Simulation
from orthoscope.targets import Mixture, Planted, Target, class_count, random_mixture, random_planted
from orthoscope.targets.streamed import OnFile, Regenerated, Streamed, streamed
from orthoscope.theory import predict
from orthoscope.theory.odds import stopping_odds

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


class Estimator(Protocol):
    """A better estimator of some quantities, made anew for each draw of the modes."""

    def watch(self, state: State) -> None:
        """Told of the state at every level."""
        ...

    def estimates(self, simulation: Simulation, target: Mixture, run: Run, index: int) -> Mapping[str, Estimate]:
        """What the finished run of a draw comes to, by quantity name."""
        ...

    @staticmethod
    def known(simulation: Simulation) -> Mapping[str, Estimate]:
        """What has to be added to the mean over draws, from elsewhere."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """One draw of the modes, sampled.

    Attributes:
        estimates: Final estimates by quantity name.
        run: The run they come from.
    """

    estimates: Mapping[str, Estimate]
    run: Run


def simulate(
    simulation: Simulation,
    *,
    estimator: Callable[[], Estimator] | None = None,
    progress: Progress | None = None,
) -> SimulationResult:
    """Run a simulation.

    Args:
        simulation: The setting.
        estimator: Makes what replaces some of a draw's final estimates; for modes that are not planted.
        progress: Called with levels visited and levels in all, over all draws.

    Raises:
        DivergenceError: if a state stops being finite.
    """
    begin = time.perf_counter()
    every = draws(simulation, estimator=estimator, progress=progress)
    done = [next(every) for _ in range(simulation.draws)]
    paths = [draw.run.observed for draw in done]
    q, v = ([pool([at[part] for at in level]) for level in zip(*paths, strict=True)] for part in (0, 1))
    return SimulationResult(
        simulation=simulation,
        estimates=pooled(simulation, [draw.estimates for draw in done], estimator),
        times=done[0].run.grid.times,
        overlap=tuple(q),
        variance=tuple(v),
        seconds=time.perf_counter() - begin,
        model_calls=sum(draw.run.calls for draw in done),
        modes_read=sum(draw.run.modes_read for draw in done),
    )


def draws(
    simulation: Simulation,
    *,
    estimator: Callable[[], Estimator] | None = None,
    progress: Progress | None = None,
) -> Iterator[Draw]:
    """Draws of the modes, each sampled, without end; the grid is that of the first. Arguments as `simulate`."""
    levels = None
    for index in itertools.count():
        target = draw_target(simulation, index)
        levels = levels or make_grid(simulation, target)
        better = estimator() if estimator is not None else None
        watchers = [better.watch] if better is not None else []
        if progress is not None:
            watchers.append(partial(_tick, progress, index, simulation.draws, levels.steps))
        run = run_draw(simulation, target, levels, index, watchers=watchers)
        final = final_estimates(simulation, target, run)
        if better is not None:
            if not isinstance(target, Mixture):
                raise ConfigError("only modes held in memory can be estimated better; use the plain estimator")
            final |= better.estimates(simulation, target, run, index)
        yield Draw(estimates=final, run=run)


def pooled(
    simulation: Simulation,
    finals: Sequence[Mapping[str, Estimate]],
    estimator: Callable[[], Estimator] | None = None,
) -> dict[str, Estimate]:
    """Final estimates over several draws."""
    found = {name: pool([final[name] for final in finals]) for name in finals[0]}
    if estimator is None:
        return found
    found |= {name: found[name].plus(part) for name, part in estimator().known(simulation).items()}
    return found | {"variance_ratio": found["variance_shift"].affine(1 / simulation.std**2, 1.0)}


def _tick(progress: Progress, draw: int, draws: int, steps: int, state: State) -> None:
    progress(draw * (steps + 1) + (state.level.step or 0) + 1, draws * (steps + 1))


def draw_target(simulation: Simulation, index: int) -> Mixture | Planted | Streamed:
    """The modes of one draw; the class that is sampled is label 0."""
    if simulation.modes != "memory":
        return stream_target(simulation, index)
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


def stream_target(simulation: Simulation, index: int) -> Streamed:
    """The modes of one draw, left where they come from."""
    source = (
        Regenerated(
            dim=simulation.dim,
            modes=class_count(simulation.dim, rate=simulation.rate, classes=simulation.classes),
            stream=partial(rng.stream, simulation.seed, "modes", index),
            ensemble=simulation.ensemble,
        )
        if simulation.modes == "regenerated"
        else OnFile(path=Path(simulation.modes))
    )
    return streamed(source, std=simulation.std, dtype=simulation.torch_dtype, device=simulation.device)


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
    target: Mixture | Planted | Streamed,
    levels: Grid,
    index: int,
    *,
    watchers: Sequence[Callable[[State], None]] = (),
) -> Run:
    """Sample the class once, recording overlap and variance at every level; `watchers` are told of each state."""
    narrow, _ = target.absorbed()
    law = target.conditional(0)
    centroid = class_centroid(target)
    streams = rng.row_streams(simulation.seed, "trajectory", index, rows=range(simulation.samples))
    x = start(simulation.start, law, levels.levels[0], streams, prior_variance=1 + simulation.std**2)
    x = x.to(simulation.device, simulation.torch_dtype)

    def observe(state: State) -> tuple[Estimate, Estimate]:
        for watch in watchers:
            watch(state)
        rows = state.x.cpu().numpy()
        return metrics.overlap(rows, centroid), metrics.variance(rows)

    return sample(
        guided(simulation, narrow, levels),
        x,
        levels,
        step=Exponential(lam=simulation.lam, order=simulation.order),
        noise=Independent(streams, (simulation.dim,), like=x),
        label=0,
        observe=observe,
    )


def guided(simulation: Simulation, law: Target, levels: Grid) -> Guided:
    """The guided denoiser of a run."""
    schedule = simulation.schedule
    return Guided(main=Exact(law), reference=reference(simulation, law, levels, (schedule,)), schedule=schedule)


def reference(simulation: Simulation, law: Target, levels: Grid, schedules: Sequence[GuidanceSchedule]) -> Denoiser:
    """The unconditional denoiser; with a tolerance, one that reads fewer modes once none of the schedules needs them.

    Raises:
        ConfigError: if a tolerance is given for an ODE whose modes are not in memory.
    """
    if simulation.tolerance == 0 or not isinstance(law, Mixture | Streamed):
        return Fixed(Exact(law))
    if simulation.lam < 1:
        if not isinstance(law, Mixture):
            raise ConfigError("only modes in memory can be left out of an ODE's scans: use a tolerance of 0")
        return Fixed(Active(law, tolerance=simulation.tolerance * math.sqrt(law.dim)))
    strengths = ([float(schedule.strength(level)) for level in levels.levels[:-1]] for schedule in schedules)
    return Committed(law, 0, odds=min(stopping_odds(simulation.tolerance, one) for one in strengths))


def class_centroid(target: Mixture | Planted | Streamed) -> Any:
    """Centroid of the sampled class, as an array."""
    centroid = target.centroid if isinstance(target, Planted) else target.conditional(0).centroids[0]
    return centroid.cpu().numpy()


def final_estimates(simulation: Simulation, target: Mixture | Planted | Streamed, run: Run) -> dict[str, Estimate]:
    """Every estimate at the end of one draw, by quantity name."""
    rows, m, std = run.x.cpu().numpy(), class_centroid(target), simulation.std
    estimates = {
        "mean_shift": metrics.mean_shift(rows, m),
        "variance_shift": metrics.variance_shift(rows, std),
        "variance_shift_along": metrics.variance_shift(rows, std, m, part="along"),
        "variance_ratio": metrics.variance_ratio(rows, std),
        "class_posterior": metrics.share_of(target.class_posterior(run.x, 0).cpu().numpy()),
        "participation_ratio": metrics.participation_ratio(rows),
    }
    if simulation.dim > 1:
        estimates["variance_shift_across"] = metrics.variance_shift(rows, std, m, part="across")
    if len(rows) >= _FRECHET_ROWS_PER_DIM * simulation.dim:
        law = target.conditional(0)
        covariance = torch.eye(law.dim, dtype=torch.float64) * std**2  # one isotropic mode per class
        estimates["frechet_distance"] = metrics.frechet_distance(rows, m, covariance.numpy())
    return estimates
