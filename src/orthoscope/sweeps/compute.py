"""The numbers of one cell, by theory or by exact simulation."""

from __future__ import annotations

from orthoscope.quantities import Estimate
from orthoscope.sweeps.cell import as_float, theory_setting
from orthoscope.sweeps.plan import Cell, Plan
from orthoscope.theory import predict


def run_cell(plan: Plan, cell: Cell) -> dict[str, Estimate | float]:
    """The results of one cell by quantity name; NaN where a time or a prediction does not exist.

    Raises:
        ConfigError: if the cell's settings cannot be used, here: for instance too little memory on this machine.
        DivergenceError: if a state stops being finite.
    """
    if plan.fixed["source"] == "theory":
        found = predict(theory_setting(plan, cell))
        return {name: as_float(getattr(found, name)) for name in plan.quantities}
    from orthoscope.sweeps.simulated import simulated  # torch is loaded only where something is simulated

    return simulated(plan, cell)
