"""Captured paths: leading-order theory against exact sampling of all modes, extrapolated in 1/d.

Negative strength hands a path to another mode (docs: explanation/theory). Theory takes one mode to hold the whole
weight from the moment of condensation on, which is exact at w = -1 and leading order elsewhere. Only brute force knows
the modes that capture: the planted ensemble has none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from orthoscope import rng
from orthoscope.datasets import dataset, stored, table
from orthoscope.guidance.grammar import parse_schedule
from orthoscope.metrics.scaling import extrapolate
from orthoscope.quantities import Estimate
from orthoscope.simulation.coupled import coupled
from orthoscope.simulation.setting import Simulation
from orthoscope.sweeps.points import HERE, Points
from orthoscope.theory import predict

MEASURED = ("mean_shift", "variance_shift")
_FALSE_ALARM = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedStudy:
    """Negative strengths and schedules, by brute force in several dimensions.

    Attributes:
        schedules: In the grammar of the command line.
        rate: Class rate.
        std: Within-class standard deviation.
        dims: Dimensions.
        t_max: Variance time of the start.
        samples: Trajectories per draw; few, since modes vary more than trajectories do.
        draws: Draws of the modes.
        steps: Steps.
        seed: Root seed.
    """

    name: str = field(default="captured", init=False)
    schedules: tuple[str, ...] = (
        "constant:-0.3",
        "constant:-0.7",
        "constant:-1",
        "step:early=3,late=-1,switch=15",
        "step:early=1,late=-0.7,switch=6",
        "step:early=3,late=-0.4,switch=15",
    )
    rate: float = 0.2
    std: float = 0.5
    dims: tuple[int, ...] = (20, 26, 33, 42)
    t_max: float = 50.0
    samples: int = 32
    draws: int = 128
    steps: int = 30
    seed: int = 0

    @classmethod
    def quick(cls) -> CapturedStudy:
        """Three schedules, lower dimensions, fewer draws."""
        schedules = ("constant:-0.3", "constant:-1", "step:early=3,late=-1,switch=15")
        return cls(schedules=schedules, dims=(12, 18, 24), draws=32)

    def simulation(self, schedule: str, dim: int) -> Simulation:
        """The setting of one point; every point has streams of its own."""
        return Simulation.of(
            dim=dim,
            rate=self.rate,
            std=self.std,
            schedule=parse_schedule(schedule),
            t_max=self.t_max,
            samples=self.samples,
            draws=self.draws,
            steps=self.steps,
            seed=rng.key(self.seed, self.name, schedule, dim) % 2**32,
        )

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Simulate every schedule in every dimension, and lay the theory beside it."""
        measured = table(points.each(self._cell, product(self.schedules, self.dims)), "point")
        variables = measured | table(map(self._theory, self.schedules), "path")
        return dataset(variables, coords={"path": self.schedules}, spec=self, rate=self.rate, std=self.std)

    def _cell(self, schedule: str, dim: int) -> dict[str, Any]:
        found = coupled(self.simulation(schedule, dim))
        row = {"schedule": schedule, "point_dim": dim}
        return row | {name: getattr(found, name) for name in (*MEASURED, "class_posterior")}

    def _theory(self, schedule: str) -> dict[str, Any]:
        found = predict(self.simulation(schedule, self.dims[-1]).mean_field)
        limits = {f"{name}_mean_field": getattr(found, name) for name in MEASURED}
        return limits | {"capture_time": found.capture_time, "regime": found.regime}

    def summarize(self, result: xr.Dataset) -> dict[str, Any]:
        """Theory, extrapolated measurement and verdict for every schedule."""
        answer: dict[str, Any] = {}
        for schedule in result["path"].values.tolist():
            at = result.sel(path=schedule)
            entry: dict[str, Any] = {
                "regime": str(at["regime"].values),
                "capture_time": _or_none(float(at["capture_time"])),
            }
            for name in MEASURED:
                entry[name] = _comparison(limit(result, schedule, name), float(at[f"{name}_mean_field"]))
            answer[schedule] = entry
        return answer


def limit(result: xr.Dataset, schedule: str, name: str) -> Estimate:
    """A shift of captured paths in infinite dimension, from a straight line in 1/d through all dimensions.

    The standard error includes how far the answer moves if the lowest dimension is left out.

    Accuracy:
        Condensed phases also have corrections of order log(d)/d, which a line follows only over a narrow range.
    """
    points = result.isel(point=np.flatnonzero(result["schedule"].values == schedule))
    order = np.argsort(points["point_dim"].values)
    dims = points["point_dim"].values[order].astype(float).tolist()
    values = stored(points.isel(point=order), name)
    whole, upper = extrapolate(dims, values).limit, extrapolate(dims[1:], values[1:]).limit
    drift = upper.value - whole.value
    return replace(whole, stderr=math.hypot(whole.stderr, drift))


def verdict(measured: Estimate, theory: float) -> str:
    """Whether leading order holds: `agrees`, or `off by` the gap."""
    return "agrees" if measured.agrees(theory, false_alarm=_FALSE_ALARM) else "off"


def _comparison(measured: Estimate, theory: float) -> Mapping[str, Any]:
    return measured.as_numbers() | {
        "theory": theory,
        "z": measured.z(theory),
        "verdict": verdict(measured, theory),
    }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
