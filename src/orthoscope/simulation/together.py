r"""Several schedules together: the same modes, starts and noise, and one read of the modes for all of them.

What common random numbers share cancels in differences between schedules, so that which of two schedules shifts the
mean more is known long before either shift is. Rows of all schedules are read against the modes at once, which is what
a read of few rows, bound by memory, gains from.

Source:
    derived in explanation/engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from orthoscope import rng
from orthoscope.denoise import Exact, Memory
from orthoscope.errors import ConfigError
from orthoscope.guidance.guided import Guided
from orthoscope.guidance.rules import LinearCFG, Predictions, Rule
from orthoscope.guidance.schedules import Constant, GuidanceSchedule
from orthoscope.process import NoiseLevel, Scalar, VarianceExploding
from orthoscope.progress import Progress
from orthoscope.quantities import Estimate, pool
from orthoscope.sampling import Exponential, Independent, Run, sample, start, through
from orthoscope.simulation.setting import Simulation
from orthoscope.simulation.simulate import class_centroid, draw_target, final_estimates, make_grid, reference
from orthoscope.simulation.twin import row_estimates, row_values
from orthoscope.targets import Target
from orthoscope.typing import Events


@dataclass(frozen=True, slots=True, kw_only=True)
class TogetherResult:
    """What several schedules do to the same class.

    Attributes:
        simulation: The setting; its schedule is the first.
        schedules: All of them.
        estimates: Final estimates by quantity name, one mapping per schedule.
        differences: To the first schedule, of all `twin.row_values`, one mapping for every further one.
        modes_read: Rows times modes read, over all draws.
    """

    simulation: Simulation
    schedules: tuple[GuidanceSchedule, ...]
    estimates: tuple[Mapping[str, Estimate], ...]
    differences: tuple[Mapping[str, Estimate], ...]
    modes_read: int


def simulate_together(
    simulation: Simulation,
    others: Sequence[GuidanceSchedule],
    *,
    progress: Progress | None = None,
) -> TogetherResult:
    """Simulate a setting under its own and further schedules with common random numbers.

    Args:
        simulation: The setting; its steps are placed for its own schedule, whatever the others are.
        others: Further schedules; jumps are added to the grid.
        progress: Called with draws done and their number.

    Raises:
        ConfigError: if there is no further schedule, or one of several with clock=step.
    """
    if not others:
        raise ConfigError("expected at least one schedule to compare with, got none")
    schedules = (simulation.schedule, *others)
    check_comparable(schedules)
    finals: list[list[Mapping[str, Estimate]]] = []
    gaps: list[list[Mapping[str, Estimate]]] = []
    read = 0
    for index in range(simulation.draws):
        target = draw_target(simulation, index)
        run = _run(simulation, schedules, target, index)
        read += run.modes_read
        parts = [replace(run, x=x) for x in run.x.chunk(len(schedules))]
        settings = [replace(simulation, schedule=schedule) for schedule in schedules]
        finals.append([final_estimates(one, target, part) for one, part in zip(settings, parts, strict=True)])
        m = class_centroid(target)
        first, *rest = (row_values(part.x.double().cpu().numpy(), m) for part in parts)
        gaps.append([row_estimates({name: other[name] - first[name] for name in first}, m) for other in rest])
        if progress is not None:
            progress(index + 1, simulation.draws)
    return TogetherResult(
        simulation=simulation,
        schedules=schedules,
        estimates=tuple(map(_pooled, zip(*finals, strict=True))),
        differences=tuple(map(_pooled, zip(*gaps, strict=True))),
        modes_read=read,
    )


def check_comparable(schedules: Sequence[GuidanceSchedule]) -> None:
    """Refuse schedules that cannot share a grid.

    Raises:
        ConfigError: if there are several, and one has clock=step.
    """
    if len(schedules) > 1 and any(schedule.clock == "step" for schedule in schedules):
        raise ConfigError("schedules on a common grid have noise levels, not steps: give them in clock=variance")


def _pooled(draws: Sequence[Mapping[str, Estimate]]) -> dict[str, Estimate]:
    return {name: pool([draw[name] for draw in draws]) for name in draws[0]}


def _run(simulation: Simulation, schedules: Sequence[GuidanceSchedule], target: Target, index: int) -> Run:
    """Rows of all schedules in one batch, schedule by schedule."""
    law, offset = target.absorbed()
    jumps = [t for schedule in schedules for t in schedule.switches()]
    grid = through(make_grid(simulation, target), VarianceExploding(offset=offset), jumps)
    streams = rng.row_streams(simulation.seed, "trajectory", index, rows=range(simulation.samples))
    x = start(simulation.start, target.conditional(0), grid.levels[0], streams, prior_variance=1 + simulation.std**2)
    x = x.to(simulation.device, simulation.torch_dtype)
    noise, copies = Independent(streams, (simulation.dim,), like=x), (len(schedules), 1)
    return sample(
        Guided(
            main=Exact(law),
            reference=reference(simulation, law, grid, schedules),
            schedule=Constant(value=1.0),
            rule=Several(schedules=tuple(schedules)),
        ),
        x.repeat(copies),
        grid,
        step=Exponential(lam=simulation.lam, order=simulation.order),
        noise=lambda level, next_level: noise(level, next_level).repeat(copies),
        label=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Several(Rule):
    """Linear guidance of a batch in which equal shares of the rows follow schedules of their own.

    Attributes:
        schedules: One per share; the strength that the guided denoiser passes on plays no part.
    """

    schedules: tuple[GuidanceSchedule, ...]
    is_linear: ClassVar[bool] = True

    def __call__(
        self, x: Events, level: NoiseLevel, predictions: Predictions, w: Scalar, memory: Memory
    ) -> tuple[Events, Memory]:
        """The guided denoised mean; no memory."""
        strengths = np.repeat([float(s.strength(level)) for s in self.schedules], len(x) // len(self.schedules))
        return LinearCFG()(x, level, predictions, strengths, memory)
