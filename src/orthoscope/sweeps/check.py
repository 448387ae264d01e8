"""Every cell checked before anything is computed: settings that contradict each other, modes that do not fit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from orthoscope.errors import ConfigError, named
from orthoscope.sweeps.cell import cell_settings, theory_setting
from orthoscope.sweeps.mistakes import Mistakes
from orthoscope.sweeps.plan import Cell, Plan
from orthoscope.sweeps.positions import Path
from orthoscope.theory.predict import problem_of

_MOST_CELLS = 1_000_000
_MOST_PLACES = 20  # of the file that are told about
_FRECHET_SAMPLES = 2  # per dimension


def check_cells(plan: Plan, mistakes: Mistakes) -> None:
    """Note what makes cells unusable, once for each place in the file that it comes from."""
    if plan.size > _MOST_CELLS:
        mistakes.add(("axes",), f"{plan.size:,} cells; at most {_MOST_CELLS:,} fit into one study: split the file")
        return
    failed: list[tuple[ConfigError, Cell]] = []
    for cell in plan.cells():
        try:
            _check(plan, cell)
        except ConfigError as error:
            failed.append((error, cell))
    places: dict[Path, list[tuple[str, Cell]]] = {}
    telling = [name for k, name in enumerate(plan.axes) if len({cell.index[k] for _, cell in failed}) < plan.shape[k]]
    for mistake, cell in failed:
        where = _blame(mistake.fields, plan, cell, telling)
        places.setdefault(where, []).append((named(str(mistake), str), cell))
    for where, [(message, first), *others] in itertools.islice(places.items(), _MOST_PLACES):
        which = f"{len(others) + 1} cells, the first {first}" if others else f"the cell {first}"
        mistakes.add(where, f"{message} ({which})" if plan.axes else message)


def _check(plan: Plan, cell: Cell) -> None:
    if plan.fixed["source"] == "theory":
        setting = theory_setting(plan, cell)
        problem_of(setting)
        if setting.t_max == math.inf and setting.schedule.limit() is None:
            raise ConfigError(
                "schedule: it has no strength at infinite noise, where theory starts: set a finite `t_max`",
                field="schedule",
            )
        return
    from orthoscope.sweeps.simulated import cell_estimator, cell_simulation  # loads torch

    cell_estimator(plan, cell, cell_simulation(plan, cell))
    given = cell_settings(plan, cell)
    dim, samples = int(given["dim"]), int(given["samples"])
    if "variance_shift_across" in plan.quantities and dim == 1:
        raise ConfigError("variance_shift_across needs `dim` >= 2", field="dim")
    if "frechet_distance" in plan.quantities and samples < _FRECHET_SAMPLES * dim:
        raise ConfigError(
            f"frechet_distance needs `samples` >= {_FRECHET_SAMPLES} * dim = {_FRECHET_SAMPLES * dim}", field="samples"
        )


def _blame(fields: Sequence[str], plan: Plan, cell: Cell, telling: Sequence[str]) -> Path:
    """Where the file sets what a mistake is about: rather an axis, best one some of whose values pass."""
    axes = [name for name in fields if name in plan.axes]
    axis = next((name for name in axes if name in telling), axes[0] if axes else None)
    if axis is not None:
        return ("axes", axis, plan.axes[axis].index(cell.coords[axis]))
    return ("fixed", next((name for name in fields if name in plan.fixed), ""))
