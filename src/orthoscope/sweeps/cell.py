"""One cell of a sweep: a pure function of the plan's fixed settings and the cell's coordinates.

A cell's random streams are named by its whole setting, never by its place among the others, so that a cell has the
same numbers in whatever order, on whatever worker, and in whatever study file it is computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from orthoscope import rng
from orthoscope.serialize import dumps
from orthoscope.settings import Setting
from orthoscope.simulation.predictions import make_schedule
from orthoscope.sweeps.plan import Cell, Plan, Value

PREDICTED = (
    "mean_shift", "variance_shift", "variance_ratio", "class_posterior", "speciation_time", "condensation_time",
    "capture_time", "critical_rate", "lost",
)  # fmt: skip
MEASURED = (
    "mean_shift", "variance_shift", "variance_shift_along", "variance_shift_across", "variance_ratio",
    "class_posterior", "participation_ratio", "frechet_distance",
)  # fmt: skip
STREAMS = ("independent", "common")
_ABOUT_THE_RUN = ("source", "seed", "streams", "precision", "min_draws", "max_draws")  # fixed, but no settings


def theory_setting(plan: Plan, cell: Cell) -> Setting:
    """What theory predicts for a cell of a theory sweep.

    Raises:
        ConfigError: if the settings contradict each other.
    """
    given = cell_settings(plan, cell)
    schedule = make_schedule(given.pop("strength", None), given.pop("schedule", None))  # type: ignore[arg-type]
    steps, lam = given.pop("steps", None), 0.0 if given.pop("ode") else 1.0
    return Setting.of(schedule=schedule, lam=lam, **given).timed(steps)  # type: ignore[arg-type]


def cell_settings(plan: Plan, cell: Cell) -> dict[str, Value]:
    """Every setting of a cell by name."""
    return {name: value for name, value in plan.fixed.items() if name not in _ABOUT_THE_RUN} | dict(cell.coords)


def cell_seed(plan: Plan, cell: Cell) -> int:
    """Root seed of a cell: the plan's own if cells share their draws, else one named by the cell's whole setting.

    The number of draws is no part of the name: more draws go on from fewer.
    """
    seed = int(plan.fixed["seed"])
    if plan.fixed["streams"] == "common":
        return seed
    named = {name: value for name, value in sorted(cell_settings(plan, cell).items()) if name != "draws"}
    return rng.key(seed, "cell", dumps(named, indent=None))


def columns(quantities: tuple[str, ...], *, source: str, theory: bool, precision: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of all results of a cell: what is measured, what both theories say of it, and how many draws it took."""
    if source == "theory":
        return quantities
    predicted = [f"{name}_{kind}" for name in quantities if name in PREDICTED for kind in ("mean_field", "finite_dim")]
    told = ("draws_used", "precision_met") if precision else ("draws_used",)
    return (*quantities, *(predicted if theory else ()), *told)


def as_float(value: float | None) -> float:
    """A number, NaN for one that does not exist."""
    return math.nan if value is None else float(value)
