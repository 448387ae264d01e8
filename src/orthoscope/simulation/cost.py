r"""What a simulation costs on this machine: seconds and bytes, measured once per process on a few small ones.

A draw takes a fixed time, each evaluation a time of its own, per row and per number of the state, and each mode read
a time per logit and per column of the table (the two matrix products). A mode's column costs memory traffic besides,
once for all rows that are read together, and time to be drawn (docs: explanation/scale).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.optimize import nnls

from orthoscope.guidance.schedules import Constant
from orthoscope.simulation.setting import Simulation
from orthoscope.simulation.simulate import simulate
from orthoscope.targets.ensembles import mixture_bytes
from orthoscope.threads import one_thread

_TOGETHER = 1024  # rows that share one pass over the table
_ODDS = 3  # reads that the final class posterior, in float64, is worth
_PLACES = 12  # copies of the state that a step holds
_PROCESS = 4e8  # bytes of an interpreter with its libraries
_REPEATS = 2

TERMS: dict[str, Callable[..., float]] = {
    "draw": lambda **size: 1.0,
    "evaluation": lambda *, evaluations, **size: evaluations,
    "row": lambda *, evaluations, rows, **size: evaluations * rows,
    "number": lambda *, evaluations, rows, dim, **size: evaluations * rows * dim,
    "logit": lambda *, evaluations, rows, modes, **size: (evaluations + _ODDS) * rows * modes,
    "product": lambda *, evaluations, rows, modes, dim, **size: (evaluations + _ODDS) * rows * modes * dim,
    "key": lambda *, evaluations, rows, modes, dim, **size: (
        (evaluations + _ODDS) * math.ceil(rows / _TOGETHER) * modes * dim
    ),
    "drawn": lambda *, modes, dim, **size: modes * dim,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """Seconds of each kind of work on one thread.

    Attributes:
        units: Seconds per unit of each of `TERMS`.
        error: Root mean square of the relative errors on the simulations it was fitted to.
    """

    units: Mapping[str, float]
    error: float

    def seconds(self, *, modes: float, dim: int, rows: int, evaluations: int, planted: bool) -> float:
        """Time of one draw.

        Args:
            modes: Number of modes.
            dim: Dimension.
            rows: Trajectories.
            evaluations: Guided evaluations: steps times order.
            planted: Whether modes are averaged instead of read.

        Accuracy:
            `error` for like sizes, and as steady as the machine.
        """
        size = _size(modes=modes, dim=dim, rows=rows, evaluations=evaluations, planted=planted)
        return sum(unit * TERMS[name](**size) for name, unit in self.units.items())

    def bytes(self, *, modes: float, dim: int, rows: int) -> float:
        """Memory of a process that runs such a simulation, modes stored in float32.

        Accuracy:
            The modes exactly, the rest roughly. Planted modes are none: pass 0.
        """
        stored = mixture_bytes(dim, math.log(modes)) if modes > 1 else 0.0
        return _PROCESS + stored + _PLACES * 8.0 * rows * dim


def _size(*, planted: bool, modes: float, **size: float) -> dict[str, float]:
    return {"modes": 0.0 if planted else modes, **size}


# dim, rows, steps, classes (0: planted); between them they tell the terms apart
_SIZES = (
    (4, 32, 3, 0),
    (4, 32, 20, 0),
    (16, 1024, 5, 0),
    (1024, 64, 4, 0),
    (8, 16, 3, 1 << 17),
    (8, 512, 4, 1 << 12),
    (64, 8, 3, 1 << 16),
    (64, 256, 4, 1 << 12),
    (64, 512, 2, 1 << 13),
)


@cache
def measure_costs(*, seed: int = 0) -> CostModel:
    """Fit the cost model to a few simulations, run now on one thread; a few seconds, once per process."""
    with one_thread():
        timed = [(size, _fastest(size, seed)) for size in _SIZES]
    rows, seconds = [], []
    for (dim, count, steps, classes), spent in timed:
        size = _size(modes=classes, dim=dim, rows=count, evaluations=2 * steps, planted=not classes)
        rows.append([term(**size) for term in TERMS.values()])
        seconds.append(spent)
    relative = np.array(rows) / np.array(seconds)[:, None]
    scale = np.abs(relative).max(0)
    units, _ = nnls(relative / scale, np.ones(len(seconds)))
    error = float(np.sqrt(np.mean((relative / scale @ units - 1) ** 2)))
    return CostModel(units=dict(zip(TERMS, (units / scale).tolist(), strict=True)), error=error)


def _fastest(size: tuple[int, int, int, int], seed: int) -> float:
    dim, rows, steps, classes = size
    kind: dict[str, Any] = {"classes": classes} if classes else {"rate": 0.2, "modes": "planted"}
    if not classes and dim * 0.2 < math.log(2):
        kind["rate"] = math.log(4) / dim
    simulation = Simulation.of(
        dim=dim,
        std=0.5,
        schedule=Constant(value=1.0),
        t_max=50.0,
        samples=rows,
        draws=1,
        steps=steps,
        seed=seed,
        **kind,
    )
    times = []
    for _ in range(_REPEATS):
        begin = time.perf_counter()
        simulate(simulation)
        times.append(time.perf_counter() - begin)
    return min(times)
