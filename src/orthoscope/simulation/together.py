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

from orthoscope.errors import ConfigError
from orthoscope.guidance.by_row import ByRow
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.progress import Progress
from orthoscope.quantities import Estimate, pool
from orthoscope.sampling import IndependentNoise, Run, sample, through
from orthoscope.simulation.control import row_estimates, row_values
from orthoscope.simulation.draw import Draw, draw
from orthoscope.simulation.setting import Simulation


@dataclass(frozen=True, slots=True, kw_only=True)
class TogetherResult:
    """What several schedules do to the same class.

    Attributes:
        simulation: The setting; its schedule is the first.
        schedules: All of them.
        estimates: Final estimates by quantity name, one mapping per schedule.
        differences: To the first schedule, of all `control.row_values`, one mapping for every further one.
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
    schedules = (simulation.setting.schedule, *others)
    check_comparable(schedules)
    finals: list[list[Mapping[str, Estimate]]] = []
    gaps: list[list[Mapping[str, Estimate]]] = []
    read = 0
    draws = simulation.budget.draws
    for index in range(draws):
        one = draw(simulation, index)
        run = _run(one, schedules)
        read += run.modes_read
        parts = [replace(run, x=x) for x in run.x.chunk(len(schedules))]
        finals.append([one.estimates(part) for part in parts])
        m = one.centroid
        first, *rest = (row_values(part.x.double().cpu().numpy(), m) for part in parts)
        gaps.append([row_estimates({name: other[name] - first[name] for name in first}, m) for other in rest])
        if progress is not None:
            progress(index + 1, draws)
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


def _run(draw: Draw, schedules: Sequence[GuidanceSchedule]) -> Run:
    """Rows of all schedules in one batch, schedule by schedule."""
    levels = through(draw.levels, draw.process, [t for schedule in schedules for t in schedule.switches()])
    streams = draw.streams()
    x = draw.start(streams, levels)
    noise, copies = IndependentNoise(streams, (draw.simulation.dim,), like=x), (len(schedules), 1)
    return sample(
        draw.denoiser(levels, ByRow(tuple(schedules), rows=len(x))),
        x.repeat(copies),
        levels,
        step=draw.step,
        noise=lambda level, next_level: noise(level, next_level).repeat(copies),
        label=0,
    )
