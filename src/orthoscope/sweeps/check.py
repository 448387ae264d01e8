"""Every cell checked before anything is computed: settings that contradict each other, modes that do not fit."""

from __future__ import annotations

import itertools
import math
import re

from orthoscope.errors import ConfigError
from orthoscope.sweeps.cell import cell_settings, theory_setting
from orthoscope.sweeps.mistakes import Mistakes
from orthoscope.sweeps.plan import Cell, Plan
from orthoscope.sweeps.positions import Path

_MOST_CELLS = 1_000_000
_MOST_PLACES = 20  # of the file that are told about
_FRECHET_SAMPLES = 2  # per dimension


def check_cells(plan: Plan, mistakes: Mistakes) -> None:
    """Note what makes cells unusable, once for each place in the file that it comes from."""
    if plan.size > _MOST_CELLS:
        mistakes.add(("axes",), f"{plan.size:,} cells; at most {_MOST_CELLS:,} fit into one study: split the file")
        return
    failed: list[tuple[str, Cell]] = []
    for cell in plan.cells():
        try:
            _check(plan, cell)
        except ConfigError as error:
            failed.append((_in_file(str(error)), cell))
    places: dict[Path, list[tuple[str, Cell]]] = {}
    telling = [name for k, name in enumerate(plan.axes) if len({cell.index[k] for _, cell in failed}) < plan.shape[k]]
    for message, cell in failed:
        places.setdefault(_blame(message, plan, cell, telling), []).append((message, cell))
    for where, [(message, first), *others] in itertools.islice(places.items(), _MOST_PLACES):
        which = f"{len(others) + 1} cells, the first {first}" if others else f"the cell {first}"
        mistakes.add(where, f"{message} ({which})" if plan.axes else message)


def _check(plan: Plan, cell: Cell) -> None:
    if plan.fixed["source"] == "theory":
        setting = theory_setting(plan, cell)
        if setting.t_max == math.inf and setting.schedule.limit() is None:
            raise ConfigError("schedule: it has no strength at infinite noise, where theory starts: set a finite t_max")
        return
    from orthoscope.sweeps.simulated import cell_estimator, cell_simulation  # loads torch

    cell_estimator(plan, cell, cell_simulation(plan, cell))
    given = cell_settings(plan, cell)
    dim, samples = int(given["dim"]), int(given["samples"])
    if "variance_shift_across" in plan.quantities and dim == 1:
        raise ConfigError("variance_shift_across needs dim >= 2")
    if "frechet_distance" in plan.quantities and samples < _FRECHET_SAMPLES * dim:
        raise ConfigError(f"frechet_distance needs samples >= {_FRECHET_SAMPLES} * dim = {_FRECHET_SAMPLES * dim}")


def _in_file(message: str) -> str:
    """A message for the command line in the words of the file: `--t-max` is t_max there."""
    return re.sub(r"--([a-z][a-z-]*)", lambda option: option[1].replace("-", "_"), message)


def _blame(message: str, plan: Plan, cell: Cell, telling: list[str]) -> Path:
    """The setting that a message is about: one that it names, rather an axis, best one some of whose values pass."""
    words = list(dict.fromkeys(re.findall(r"\w+", message)))
    named = [word for word in words if word in telling] or [word for word in words if word in plan.axes]
    if named:
        return ("axes", named[0], plan.axes[named[0]].index(cell.coords[named[0]]))
    given = cell_settings(plan, cell)
    return ("fixed", next((word for word in words if word in given), ""))
