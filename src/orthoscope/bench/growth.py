"""How the cost of exact guided sampling grows with modes, dimension, trajectories and steps: measured and fitted.

One size is varied at a time, on one thread. A power law is fitted to the largest sizes, where fixed costs no longer
count, and the cost model of `simulation.cost`, fitted to other simulations, is laid beside it (explanation/scale).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from orthoscope.datasets import dataset, stored, table
from orthoscope.guidance.schedules import Constant
from orthoscope.metrics.scaling import power_law
from orthoscope.progress import Progress
from orthoscope.quantities import Estimate
from orthoscope.simulation.cost import measure_costs
from orthoscope.simulation.setting import Simulation
from orthoscope.simulation.simulate import simulate
from orthoscope.threads import one_thread

SIZES = ("modes", "dim", "rows", "steps")
_FITTED = 3
_LEAST_ERROR = 0.02  # relative; a clock that happens to agree with itself is not trusted further


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthStudy:
    """Time of one draw of a guided simulation against its sizes.

    Attributes:
        modes: Numbers of classes, one mode each.
        dim: Dimensions.
        rows: Trajectories.
        steps: Steps of second order.
        base: Index in each of them that is held while another is varied.
        repeats: Times each point is timed.
        seed: Root seed.
    """

    name: str = field(default="growth", init=False)
    modes: tuple[int, ...] = tuple(1 << power for power in range(12, 18))
    dim: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    rows: tuple[int, ...] = (32, 64, 128, 256, 512, 1024)
    steps: tuple[int, ...] = (2, 4, 8, 16, 32, 64)
    base: int = 2
    repeats: int = 5
    seed: int = 0

    @classmethod
    def quick(cls, seed: int = 0) -> GrowthStudy:
        """A reduced version, for a first look."""
        return cls(
            modes=(1 << 12, 1 << 13, 1 << 14, 1 << 15),
            dim=(32, 64, 128, 256),
            rows=(64, 128, 256, 512),
            steps=(3, 6, 12, 24),
            base=1,
            repeats=3,
            seed=seed,
        )

    def run(self, progress: Progress | None = None) -> xr.Dataset:
        """Time every point; fit each size's power law."""
        costs = measure_costs(seed=self.seed)
        base = {name: getattr(self, name)[self.base] for name in SIZES}
        points: list[dict[str, Any]] = []
        total = sum(len(getattr(self, name)) for name in SIZES)
        with one_thread():
            for name in SIZES:
                for value in getattr(self, name):
                    size = base | {name: value}
                    modelled = costs.seconds(
                        modes=size["modes"], dim=size["dim"], rows=size["rows"], evaluations=2 * size["steps"],
                        planted=False,
                    )  # fmt: skip
                    seconds = self._timed(size)
                    points.append({"size": name, "value": value, "seconds": seconds, "seconds_modelled": modelled})
                    if progress is not None:
                        progress(len(points), total)
        fitted = [_law(points, name) for name in SIZES]
        variables = table(points, "point") | table(fitted, "varied")
        held = {f"base_{name}": value for name, value in base.items()}
        return dataset(variables, coords={"varied": list(SIZES)}, spec=self, fit_error=costs.error, **held)

    def _timed(self, size: Mapping[str, int]) -> Estimate:
        simulation = Simulation.of(
            t_max=50.0, dim=size["dim"], classes=size["modes"], samples=size["rows"], steps=size["steps"], std=0.5,
            schedule=Constant(value=1.0), draws=1, seed=self.seed,
        )  # fmt: skip
        times = []
        for _ in range(self.repeats):
            begin = time.perf_counter()
            simulate(simulation)
            times.append(time.perf_counter() - begin)
        return typical(times)


def _law(points: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Exponent and amplitude of the largest sizes of one kind."""
    largest = [point for point in points if point["size"] == name][-_FITTED:]
    law = power_law([p["value"] for p in largest], [p["seconds"] for p in largest], correction=False)
    return {"exponent": law.exponent.affine(-1.0), "amplitude": law.amplitude}


def typical(times: list[float]) -> Estimate:
    """The median of some times, which a busy machine disturbs least, and its standard error by their scatter.

    Accuracy:
        The error of a median of normal numbers, from the median deviation; at least 2 %.
    """
    values = np.array(times)
    middle = float(np.median(values))
    scatter = 1.4826 * float(np.median(np.abs(values - middle)))
    return Estimate(
        value=middle, stderr=max(1.2533 * scatter / np.sqrt(values.size), _LEAST_ERROR * middle), n=values.size
    )


def summarize(result: xr.Dataset) -> dict[str, Any]:
    """Exponent of the time in each size, and how far the cost model is off."""
    ratio = np.log(result["seconds_modelled"].values / result["seconds"].values)
    return {
        name: {
            "exponent": stored(result.sel(varied=name), "exponent")[0].as_numbers(),
            "seconds": {
                str(int(value)): float(seconds)
                for value, seconds in zip(result["value"].values[at], result["seconds"].values[at], strict=True)
            },
        }
        for name in SIZES
        for at in [np.flatnonzero(result["size"].values == name)]
    } | {"largest_error_of_the_cost_model": float(np.exp(np.abs(ratio).max()) - 1)}
