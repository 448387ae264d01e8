"""What cells say besides measures: costs, logs of guidance, thumbnails."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from orthoscope.audits.contribute import AuditCells
from orthoscope.guidance.schedules import GuidanceSchedule

LOGGED = ("strength", "sigma", "time", "pair_cosine", "pair_distance", "guided_norm", "effective_scale")
_SHOWN = 6
Variables = dict[str, tuple[Sequence[str], Any]]


def cost(cells: AuditCells, schedules: Sequence[GuidanceSchedule], prompts: Sequence[str]) -> Variables:
    """Calls and seconds of all prompts, and the largest memory."""
    costs = [[cells.cost(schedule, prompt) for prompt in prompts] for schedule in schedules]
    pools: Mapping[str, Callable[[list[float]], float]] = {"network_calls": sum, "seconds": sum, "memory": max}
    return {
        name: (("schedule",), [pooled([cost[name] for cost in row]) for row in costs]) for name, pooled in pools.items()
    }


def logs(cells: AuditCells, schedules: Sequence[GuidanceSchedule], prompts: Sequence[str]) -> Variables:
    """Mean over prompts of the log, by schedule and evaluation; NaN where there was none."""
    found = [[cells.log(schedule, prompt) for prompt in prompts] for schedule in schedules]
    length = max((len(values) for row in found for log in row for values in log.values()), default=0)
    variables: Variables = {}
    for name in LOGGED:
        table = np.full((len(schedules), len(prompts), length), np.nan)
        for s, row in enumerate(found):
            for p, log in enumerate(row):
                values = np.asarray(log.get(name, ()), dtype=np.float64)
                table[s, p, : len(values)] = values
        count = np.isfinite(table).sum(1)
        total = np.where(np.isfinite(table), table, 0.0).sum(1)
        mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        variables[f"log_{name}"] = (("schedule", "evaluation"), mean)
    return variables


def images(
    cells: AuditCells, schedules: Sequence[GuidanceSchedule], prompts: Sequence[str]
) -> tuple[Variables, list[str]]:
    """Thumbnails of the first images of some prompts, evenly chosen."""
    chosen = np.unique(np.linspace(0, len(prompts) - 1, min(_SHOWN, len(prompts))).round().astype(int))
    shown = [prompts[number] for number in chosen]
    pictures = np.stack([[cells.thumbnails(schedule, prompt)[:_SHOWN] for prompt in shown] for schedule in schedules])
    return {"image": (("schedule", "shown_prompt", "shown", "row", "column", "channel"), pictures)}, shown
