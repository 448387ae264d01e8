"""Exact guided sampling of one setting, beside its theory.

A simulation draws the modes anew several times, samples one class under guidance each time, and pools the estimates, so
that every standard error covers both trajectories and modes. All estimators are coupled here; `sample` knows of none.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from orthoscope import metrics, rng
from orthoscope.denoise import Exact
from orthoscope.errors import ConfigError, unknown
from orthoscope.guidance.guided import classifier_free
from orthoscope.guidance.schedules import GuidanceSchedule
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
from orthoscope.sample.start import Start
from orthoscope.study.predictions import make_rate, on_geometric_steps
from orthoscope.targets import Mixture, Planted, Target, random_mixture, random_planted
from orthoscope.targets.ensembles import Ensemble, class_count, mixture_bytes
from orthoscope.theory import Setting, predict

GRIDS = ("refined", "geometric", "equalized")
REFINED_WIDTH = 8.0  # in units of dim**-0.5; measured by benchmarks/grids.py
_FRECHET_ROWS_PER_DIM = 2  # below, the covariance is too ill-determined for a distance to mean anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """One setting to simulate; equal fields give equal numbers.

    Attributes:
        dim: Dimension.
        std: Within-class standard deviation.
        schedule: Guidance strength over noise.
        rate: log(classes)/dim; give this or `classes`.
        classes: Number of classes.
        lam: Noise content, 1 (reverse SDE) to 0 (probability-flow ODE).
        t_max: Variance time at which runs start.
        start: `prior` or `exact`.
        ensemble: `gaussian` or `sphere`.
        planted: Use the planted ensemble, which stores no modes.
        samples: Trajectories per draw.
        draws: Draws of the modes.
        steps: Steps of the grid.
        grid: `refined`, `geometric` or `equalized`.
        order: 1 or 2.
        seed: Root seed.
        device: Torch device.
        dtype: `float32` or `float64`.
    """

    dim: int
    std: float
    schedule: GuidanceSchedule
    rate: float | None = None
    classes: int | None = None
    lam: float = 1.0
    t_max: float = 50.0
    start: Start = "prior"
    ensemble: Ensemble = "gaussian"
    planted: bool = False
    samples: int = 512
    draws: int = 4
    steps: int = 30
    grid: str = "refined"
    order: int = 2
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        """Reject what cannot be run, before anything is computed."""
        for name, least in (("dim", 1), ("samples", 8), ("draws", 1), ("steps", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not (math.isfinite(self.t_max) and self.t_max > 0):
            raise ConfigError(f"t_max must be finite and > 0 to simulate, got {self.t_max}")
        if self.grid not in GRIDS:
            raise unknown("grid", self.grid, GRIDS)
        if self.dtype not in ("float32", "float64"):
            raise unknown("dtype", self.dtype, ("float32", "float64"))
        if self.planted and self.ensemble != "gaussian":
            raise ConfigError("the planted ensemble averages Gaussian centroids; use it without --ensemble sphere")
        self.setting  # noqa: B018 - validates what theory and simulation share
        if not self.planted:
            self._check_memory()
        self.log_classes  # noqa: B018 - validates the number of classes
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(f"device {self.device!r} cannot be used: {str(error).splitlines()[0]}") from error

    @property
    def torch_dtype(self) -> torch.dtype:
        """The floating-point type as torch knows it."""
        return torch.float64 if self.dtype == "float64" else torch.float32

    @property
    def log_classes(self) -> float:
        """log(M): exact for the planted ensemble, of a whole number of classes otherwise."""
        if self.planted and self.rate is not None:
            return self.rate * self.dim
        return math.log(class_count(self.dim, rate=self.rate, classes=self.classes))

    @property
    def setting(self) -> Setting:
        """What the theory needs to know, for the same time and start, in infinite dimension."""
        schedule = self.schedule
        if schedule.clock == "step":
            schedule = on_geometric_steps(schedule, self.std, self.t_max, self.steps)
        return Setting(
            rate=make_rate(self.rate, self.classes, self.dim),
            std=self.std,
            schedule=schedule,
            t_max=self.t_max,
            start=self.start,
            lam=self.lam,
            ensemble=self.ensemble,
        )

    def _check_memory(self) -> None:
        rate = self.setting.rate
        need, have = mixture_bytes(self.dim, rate * self.dim, self.torch_dtype), available_memory()
        if need > 0.8 * have:
            amount = (
                f"{need / 2**30:,.0f} GiB"
                if need < 2**60
                else f"10^{math.log10(need) - 9:.0f} GB"
                if math.isfinite(need)
                else "more memory than exists"
            )
            raise ConfigError(
                f"exp(rate * dim) = exp({rate * self.dim:.1f}) modes need {amount}, and {have / 2**30:,.1f} GiB are "
                "free; "
                "lower --rate or --dim, or use --planted, which stores no modes"
            )


def available_memory() -> float:
    """Memory in bytes that can be used now."""
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError, AttributeError):  # not every system tells
        return math.inf


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
        progress: Called with draws done and draws in all.

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
        run = run_draw(simulation, target, levels, index)
        finals.append(final_estimates(simulation, target, run))
        paths.append(run.observed)
        calls, read = calls + run.calls, read + run.modes_read
        if progress is not None:
            progress(index + 1, simulation.draws)
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
            base = equalized(process, t_max, steps, posterior_variance=posterior_variance(narrow))
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


def run_draw(simulation: Simulation, target: Mixture | Planted, levels: Grid, index: int) -> Run:
    """Sample the class once, recording overlap and variance at every level."""
    narrow, _ = target.absorbed()
    law = target.conditional(0)
    centroid = class_centroid(target)
    streams = rng.row_streams(simulation.seed, "trajectory", index, rows=range(simulation.samples))
    x = start(simulation.start, law, levels.levels[0], streams, prior_variance=1 + simulation.std**2)
    x = x.to(simulation.device, simulation.torch_dtype)

    def observe(state: State) -> tuple[Estimate, Estimate]:
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
        "variance_shift_across": metrics.variance_shift(rows, std, m, part="across"),
        "variance_ratio": metrics.variance_ratio(rows, std),
        "class_posterior": metrics.mean_of(target.class_posterior(run.x, 0).cpu().numpy()),
        "participation_ratio": metrics.participation_ratio(rows),
    }
    if len(rows) >= _FRECHET_ROWS_PER_DIM * simulation.dim:
        law = target.conditional(0)
        covariance = torch.eye(law.dim, dtype=torch.float64) * std**2  # one isotropic mode per class
        estimates["frechet_distance"] = metrics.frechet_distance(rows, m, covariance.numpy())
    return estimates
