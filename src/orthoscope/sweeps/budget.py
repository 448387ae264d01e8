"""What a sweep will cost, before it is started: seconds and memory of every cell from measured costs."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orthoscope.checks import available_memory
from orthoscope.errors import ConfigError, OrthoscopeError
from orthoscope.sweeps.cell import cell_settings
from orthoscope.sweeps.compute import run_cell
from orthoscope.sweeps.plan import Cell, Plan

if TYPE_CHECKING:
    from orthoscope.simulation.cost import CostModel
    from orthoscope.simulation.setting import Simulation


@dataclass(frozen=True, slots=True, kw_only=True)
class CellCost:
    """The cost of one cell on one thread of this machine.

    Attributes:
        cell: The cell.
        seconds: Time with as few draws as the precision may take.
        most_seconds: Time with as many as it may take.
        bytes: Memory of the modes and of the rows in work.
    """

    cell: Cell
    seconds: float
    most_seconds: float
    bytes: float


def budget(plan: Plan) -> list[CellCost]:
    """The cost of every cell.

    Accuracy:
        That of the cost model, which is measured here and now. A cell with a precision takes a time between the two
        given, because nobody knows its errors before it is computed. A tolerance makes cells faster than told here,
        a better estimator or modes that are drawn again slower.
    """
    if plan.fixed["source"] == "simulation":
        beside = _beside(plan)
        return [_simulated(plan, cell, beside) for cell in plan.cells()]
    seconds = _theory_seconds(plan)
    return [CellCost(cell=cell, seconds=seconds, most_seconds=seconds, bytes=0.0) for cell in plan.cells()]


def _theory_seconds(plan: Plan) -> float:
    """Mean time of a cell of theory, from a few of them spread over the plan."""
    cells = plan.cells()
    tried = cells[:: max(1, len(cells) // 8)]
    begin = time.perf_counter()
    for cell in tried:
        with suppress(OrthoscopeError):  # it will be told when it fails
            run_cell(plan, cell)
    return (time.perf_counter() - begin) / len(tried)


def _beside(plan: Plan) -> float:
    """Time of what both theories say of a cell, from the first; the faster of two goes, as later cells are."""
    from orthoscope.sweeps.simulated import cell_simulation, predicted

    simulation = cell_simulation(plan, plan.cells()[0])
    times = []
    for _ in range(2):
        begin = time.perf_counter()
        with suppress(OrthoscopeError):
            predicted(plan, simulation)
        times.append(time.perf_counter() - begin)
    return min(times)


def _simulated(plan: Plan, cell: Cell, beside: float) -> CellCost:
    """A cell of simulation, and so many seconds for the theories beside it."""
    from orthoscope.simulation.cost import measure_costs  # torch is loaded only where something is simulated
    from orthoscope.sweeps.simulated import cell_simulation

    simulation, given = cell_simulation(plan, cell), cell_settings(plan, cell)
    size, evaluations = _size(simulation), simulation.numerics.steps * simulation.numerics.order
    draw = measure_costs().seconds(**size, evaluations=evaluations, planted=simulation.planted)
    least, most = (int(plan.fixed.get(name, given.get("draws", 0))) for name in ("min_draws", "max_draws"))
    return CellCost(
        cell=cell,
        seconds=least * draw + beside,
        most_seconds=most * draw + beside,
        bytes=_bytes(measure_costs(), simulation),
    )


def _size(simulation: Simulation) -> dict[str, Any]:
    modes = 0.0 if simulation.planted else math.exp(simulation.log_classes)
    return {"modes": modes, "dim": simulation.dim, "rows": simulation.budget.samples}


def _bytes(costs: CostModel, simulation: Simulation) -> float:
    """Memory of a cell; modes that are not kept there take none."""
    size = _size(simulation)
    return costs.bytes(**(size if simulation.modes in ("memory", "planted") else size | {"modes": 0.0}))


def forecast(plan: Plan, workers: int) -> dict[str, Any]:
    """What `sweep --dry-run` tells: every cell, and time and memory of the whole on so many workers.

    Raises:
        ConfigError: if the largest cells that may run at once do not fit into the memory of this machine.
    """
    costs = budget(plan)
    cells = [
        {
            "name": str(cost.cell),
            "coords": dict(cost.cell.coords),
            "seconds": cost.seconds,
            "most_seconds": cost.most_seconds,
            "bytes": cost.bytes,
        }
        for cost in costs
    ]
    return {
        "cells": cells,
        "workers": workers,
        "seconds": _finish([cost.seconds for cost in costs], workers),
        "most_seconds": _finish([cost.most_seconds for cost in costs], workers),
        "bytes": _together([cost.bytes for cost in costs], workers),
    }


def _finish(seconds: list[float], workers: int) -> float:
    """Time until all cells are done: shared evenly, and never below the longest cell."""
    return max(sum(seconds) / workers, max(seconds))


def check_memory(plan: Plan, workers: int) -> None:
    """Refuse a run whose cells would not fit into the memory of this machine together; nothing is measured for it.

    Raises:
        ConfigError: if the largest cells that may run at once do not fit.
    """
    if plan.fixed["source"] == "simulation" and workers > 1:
        from orthoscope.simulation.cost import CostModel
        from orthoscope.sweeps.simulated import cell_simulation

        free = CostModel(units={}, error=0.0)  # memory is counted, not measured
        _together([_bytes(free, cell_simulation(plan, cell)) for cell in plan.cells()], workers)


def _together(each: list[float], workers: int) -> float:
    """Memory of the largest cells that may run at once."""
    need = sum(sorted(each, reverse=True)[:workers])
    if not need:
        return 0.0
    if workers > 1 and need > (have := available_memory()):
        raise ConfigError(
            f"{workers} of the largest cells at once need {need / 2**30:.1f} GiB, and {have / 2**30:.1f} GiB are free; "
            "take fewer `workers`"
        )
    return need
