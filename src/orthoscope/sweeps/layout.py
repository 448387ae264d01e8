"""The folder of a sweep: its store laid out for the plan, changed as a whole or not at all.

A changed store is written beside the old one and swapped in by renaming. Cells are carried over by their settings,
wherever those stand: as a value along an axis or as a fixed setting. What the plan no longer asks for is set aside, and
comes back when it does.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orthoscope.errors import ConfigError, unwritable
from orthoscope.serialize import dumps, plain
from orthoscope.sweeps.own import edited
from orthoscope.sweeps.plan import Cell, Plan
from orthoscope.sweeps.store import SCHEMA, Block, Store, finished
from orthoscope.writing import sync

RESULTS, PARTIAL, READY = "results.zarr", "results.partial.zarr", "results.ready.zarr"
_ASIDE = "results-{}.zarr"
FILES = (RESULTS, PARTIAL, READY, "log.jsonl")  # of its folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A store, ready for the cells of a plan.

    Attributes:
        store: The store.
        missing: Cells to compute.
        damaged: Cells whose files were there, but damaged.
        set_aside: The store before, if it has finished cells that the plan does not ask for.
    """

    store: Store
    missing: list[Cell]
    damaged: list[Cell]
    set_aside: Path | None = None


def open_sweep(folder: Path, plan: Plan) -> Opened:
    """The store of a folder, made or changed to fit the plan; call it while the folder is held.

    Raises:
        ConfigError: if the store holds results of other fixed settings or of code edited since, or cannot be read.
    """
    _finish_swap(folder)
    if not os.path.lexists(folder / RESULTS):
        _create(folder, plan, None)
        _swap(folder)
        return Opened(store=Store(folder / RESULTS, writable=True), missing=plan.cells(), damaged=[])
    store = Store(folder / RESULTS, writable=True)
    if found := contradictions(store.plan, plan):
        raise ConfigError(
            f"{folder} holds results of other settings: {'; '.join(found)}. Change them back, or choose another `out`"
        )
    if changed := edited(store.code, plan):
        raise ConfigError(
            f"{folder} holds results of an earlier {' and '.join(changed)}, whose code was edited since. "
            "Change it back, or choose another `out`"
        )
    for rest in store.path.rglob("*.partial"):  # of a write that was killed
        rest.unlink()
    block, places = store.load()
    damaged = [cell for cell in store.plan.cells() if cell.index in places]
    aside = None
    if store.schema != SCHEMA or not _same_layout(store.plan, plan):
        aside, block = _rebuild(folder, store, block, plan)
        store = Store(folder / RESULTS, writable=True)
    done = finished(block)
    missing = [cell for cell in plan.cells() if not done[cell.index]]
    return Opened(store=store, missing=missing, damaged=damaged, set_aside=aside)


def contradictions(old: Plan, new: Plan) -> list[str]:
    """Settings in which no cell of the one plan can be a cell of the other, each as one phrase."""
    before, after = plain(dict(old.fixed)), plain(dict(new.fixed))
    found = []
    for name in dict.fromkeys([*before, *after, *old.axes, *new.axes]):
        was, now = name in before or name in old.axes, name in after or name in new.axes
        if not was:
            found.append(f"{name} was not set, now {_shown(after, new, name)}")
        elif not now:
            found.append(f"{name} was {_shown(before, old, name)}, now it is not set")
        elif name in before and name in after and before[name] != after[name]:
            found.append(f"{name} was {dumps(before[name], indent=None)}, now {dumps(after[name], indent=None)}")
    return found


def _shown(fixed: dict[str, Any], plan: Plan, name: str) -> str:
    return dumps(fixed[name], indent=None) if name in fixed else f"an axis of {len(plan.axes[name])} values"


def _same_layout(old: Plan, new: Plan) -> bool:
    same_results = old.quantities == new.quantities and old.estimated == new.estimated
    return list(old.axes.items()) == list(new.axes.items()) and same_results


def _rebuild(folder: Path, store: Store, block: Block, plan: Plan) -> tuple[Path | None, Block]:
    """Swap in a store for the plan, filled from all that is known; where the old one is, if it is still needed."""
    fresh = np.full((*plan.shape, len(plan.quantities), block.shape[-1]), np.nan)
    covered = {store.path: _carry(fresh, plan, block, store.plan)}
    for path in sorted(folder.glob(_ASIDE.format("*"))):
        other = Store(path)
        if not contradictions(other.plan, plan) and not edited(other.code, plan):
            covered[path] = _carry(fresh, plan, other.load()[0], other.plan)
    _create(folder, plan, fresh)
    os.sync()  # before anything old is given up
    aside = _swap(folder)
    for path, all_of_it in covered.items():
        if all_of_it:
            old = aside if path == store.path and aside else path
            shutil.rmtree(old.rename(folder / PARTIAL))  # killed in here, the rest goes with the next start
    return None if covered[store.path] else aside, fresh


def _carry(fresh: Block, plan: Plan, block: Block, old: Plan) -> bool:
    """Copy the finished cells of an old block that the plan asks for; whether that is everything in it."""
    if not set(plan.quantities) <= set(old.quantities):
        return False
    columns = [old.quantities.index(name) for name in plan.quantities]
    names = sorted({*old.axes, *plan.axes})
    done = finished(block)
    known = {_settings(old, cell, names): cell.index for cell in old.cells() if done[cell.index]}
    carried = 0
    for cell in plan.cells():
        if (place := known.get(_settings(plan, cell, names))) is not None:
            fresh[cell.index] = block[place][columns]
            carried += 1
    return carried == len(known) and len(columns) == len(old.quantities)


def _settings(plan: Plan, cell: Cell, names: list[str]) -> tuple[Any, ...]:
    return tuple(cell.coords[name] if name in cell.coords else _comparable(plan.fixed[name]) for name in names)


def _comparable(value: Any) -> Any:
    """A setting as something that can be compared with a value along an axis."""
    return value if isinstance(value, int | float | str) else dumps(value, indent=None)


# Renaming


def _create(folder: Path, plan: Plan, block: Block | None) -> None:
    try:
        Store.create(folder / PARTIAL, plan, block)
        for path in () if block is not None else (folder / PARTIAL).rglob("*"):  # without its layout a store is lost
            sync(path)
        (folder / PARTIAL).rename(folder / READY)
    except OSError as error:
        raise unwritable(folder, error) from error


def _swap(folder: Path) -> Path | None:
    """Put the finished new store in place; where the one before is now."""
    aside = None
    if (folder / RESULTS).exists():
        number = next(k for k in range(1, 10**9) if not (folder / _ASIDE.format(k)).exists())
        aside = (folder / RESULTS).rename(folder / _ASIDE.format(number))
    (folder / READY).rename(folder / RESULTS)
    return aside


def _finish_swap(folder: Path) -> None:
    """Clean up after a process that was killed while it changed the store."""
    if (folder / READY).exists():
        _swap(folder)
    if (folder / PARTIAL).exists():
        shutil.rmtree(folder / PARTIAL)
