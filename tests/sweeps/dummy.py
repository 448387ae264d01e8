"""A study whose cells cost nothing but a nap, write down who computed them, and can be told to misbehave."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from orthoscope import rng
from orthoscope.errors import DivergenceError
from orthoscope.quantities import Estimate
from orthoscope.sweeps.cluster import turn
from orthoscope.sweeps.plan import Cell, Plan
from orthoscope.sweeps.run import SweepStoppedError, run_sweep
from orthoscope.sweeps.store import Store, finished

AXES: dict[str, tuple[Any, ...]] = {
    "rate": (0.1, 0.2, 0.4),
    "schedule": ("constant:1", "step:early=3,late=-1,switch=1"),
    "dim": (8, 16, 32, 64),
}
QUANTITIES = ("mean_shift", "mean_shift_mean_field", "speciation_time")


def make_plan(axes: dict[str, tuple[Any, ...]] | None = None, **fixed: Any) -> Plan:
    """A plan; `fixed` may hold `record`, a file in which every cell that is begun leaves a line."""
    return Plan(
        name="dummy",
        axes=AXES if axes is None else axes,
        quantities=QUANTITIES,
        estimated=("mean_shift",),
        fixed={"seed": 7, "std": 0.5} | fixed,
    )


def many(cells: int = 200) -> dict[str, tuple[Any, ...]]:
    """Axes with so many cells."""
    return {"rate": (0.1, 0.2), "dim": tuple(range(1, cells // 2 + 1))}


def setting(plan: Plan, cell: Cell) -> dict[str, Any]:
    """What determines a cell's numbers, wherever the plan has it."""
    return {name: value for name, value in plan.fixed.items() if name not in ("seed", "record")} | cell.coords


def work(plan: Plan, cell: Cell, nap: float = 0) -> dict[str, Estimate | float]:
    """Random numbers named by the cell's setting, a value that does not exist among them."""
    if record := plan.fixed.get("record"):
        _note(record, f"{cell}\t{time.time()}\t{os.getpid()}\n")
    time.sleep(nap)
    named = [f"{name}={value}" for name, value in sorted(setting(plan, cell).items())]
    draws = rng.stream(plan.fixed["seed"], *named).normal(size=100)
    return {
        "mean_shift": Estimate(value=float(draws.mean()), stderr=0.1, n=100, stderr_within=0.05, dof=9),
        "mean_shift_mean_field": float(draws[0]),
        "speciation_time": np.nan if draws[1] < 0 else float(draws[1]),
    }


def _note(record: str, line: str) -> None:
    file = os.open(record, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    os.write(file, line.encode())
    os.close(file)


def begun(record: Path, since: int = 0) -> list[str]:
    """The cells that were begun, one entry for each time, from an offset of the record on."""
    text = record.read_bytes()[since:].decode() if record.exists() else ""
    return [line.partition("\t")[0] for line in text.splitlines()]


def stored(out: Path) -> set[str]:
    """The cells that are finished in a store, damaged ones left out; none if there is no store."""
    if not (out / "results.zarr").exists():
        return set()
    store = Store(out / "results.zarr")
    done = finished(store.load()[0])
    return {str(cell) for cell in store.plan.cells() if done[cell.index]}


def bits(out: Path) -> bytes:
    """Everything that is stored, bit for bit."""
    block, damaged = Store(out / "results.zarr").load()
    assert not damaged
    return block.tobytes()


# Other work


def picky(item: int) -> int:
    """A square; two numbers it does not like."""
    if item == 7:
        raise DivergenceError("lost at step 3", step=3, time=0.1, last_good=np.zeros(3))  # cannot be pickled
    if item == 9:
        raise ZeroDivisionError("division by zero")
    return item**2


def deadly(item: int) -> int:
    """The item itself, or the end of the process."""
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def touch(record: str, item: int) -> int:
    """Leave one byte."""
    _note(record, ".")
    return item


def listening(pid: int | None) -> tuple[int, set[str]]:
    """A process, this one if None, and the addresses at which it listens."""
    time.sleep(0.05)
    process = psutil.Process(pid)
    return process.pid, {c.laddr.ip for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}


# Other processes


def _run(plan: Plan, out: Path, nap: float) -> None:
    run_sweep(plan, out, work=partial(work, nap=nap))


def run_out_of_space(plan: Plan, out: Path, cells: int, told: Connection) -> None:
    """Run the study with a limit on the size of files, set after so many cells; send the message it stops with."""
    count = iter(range(plan.size))

    def limited(plan: Plan, cell: Cell) -> dict[str, Estimate | float]:
        if next(count) == cells:
            resource.setrlimit(resource.RLIMIT_FSIZE, (40, resource.RLIM_INFINITY))
        return work(plan, cell)

    try:
        run_sweep(plan, out, work=limited)
    except SweepStoppedError as error:
        told.send(str(error))


def context() -> ForkServerContext:
    """Processes that are there at once, everything imported."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["tests.sweeps.dummy", "pytest", "distributed"])
    return server


@contextmanager
def running(plan: Plan, out: Path, *, nap: float) -> Iterator[ForkServerProcess]:
    """A process that runs the study; killed at the end of the block if it still does."""
    process = context().Process(target=_run, args=(plan, out, nap))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()
        process.close()


def main() -> int:
    """Run the study as a program: OUT, RECORD, workers."""
    out, record, workers = sys.argv[1:]
    try:
        run_sweep(make_plan(many(), record=record), Path(out), workers=int(workers), work=partial(work, nap=0.02))
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    from tests.sweeps import dummy  # under this name, workers find its functions

    sys.exit(dummy.main())


def my_turn(item: int) -> int:
    """Number of the worker that had the item."""
    time.sleep(0.01)
    return turn()
