"""Exact guided sampling of one setting.

A simulation draws the modes anew several times, samples one class under guidance each time, and pools the estimates, so
that every standard error covers both trajectories and modes. All estimators are coupled here; `sampling` knows of none.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from orthoscope.errors import ConfigError
from orthoscope.progress import Progress
from orthoscope.quantities import Estimate, pool
from orthoscope.sampling import Run, State
from orthoscope.simulation.draw import Draw, draw
from orthoscope.simulation.setting import Simulation


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

    def estimates(self, draw: Draw, run: Run) -> Mapping[str, Estimate]:
        """What the finished run of a draw comes to, by quantity name."""
        ...

    @staticmethod
    def known(simulation: Simulation) -> Mapping[str, Estimate]:
        """What has to be added to the mean over draws, from elsewhere."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
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
    every = sampled_draws(simulation, estimator=estimator, progress=progress)
    done = list(itertools.islice(every, simulation.budget.draws))
    paths = [one.run.observed for one in done]
    q, v = ([pool([at[part] for at in level]) for level in zip(*paths, strict=True)] for part in (0, 1))
    return SimulationResult(
        simulation=simulation,
        estimates=pooled(simulation, [one.estimates for one in done], estimator),
        times=done[0].run.grid.times,
        overlap=tuple(q),
        variance=tuple(v),
        seconds=time.perf_counter() - begin,
        model_calls=sum(one.run.calls for one in done),
        modes_read=sum(one.run.modes_read for one in done),
    )


def sampled_draws(
    simulation: Simulation,
    *,
    estimator: Callable[[], Estimator] | None = None,
    progress: Progress | None = None,
) -> Iterator[Sampled]:
    """Draws of the modes, each sampled, without end; the levels are those of the first. Arguments as `simulate`."""
    if estimator is not None and simulation.modes != "memory":
        raise ConfigError("only modes held in memory can be estimated better; use the plain `estimator`", field="modes")
    levels = None
    for index in itertools.count():
        one = draw(simulation, index)
        levels = levels or one.levels
        better = estimator() if estimator is not None else None
        watchers = [better.watch] if better is not None else []
        if progress is not None:
            watchers.append(partial(_tick, progress, index, simulation.budget.draws, levels.steps))
        run = one.run(levels, watchers=watchers)
        better_ones = {} if better is None else better.estimates(one, run)
        yield Sampled(estimates={**one.estimates(run), **better_ones}, run=run)


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
    return found | {"variance_ratio": found["variance_shift"].affine(1 / simulation.setting.law.std**2, 1.0)}


def _tick(progress: Progress, draw: int, draws: int, steps: int, state: State) -> None:
    progress(draw * (steps + 1) + (state.level.step or 0) + 1, draws * (steps + 1))
