"""Mean and variance shift against the class rate, and against the dimension: simulated points on theory's curves."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from orthoscope.datasets import dataset, table
from orthoscope.guidance.schedules import Constant
from orthoscope.laws import Start
from orthoscope.settings import Setting
from orthoscope.simulation.comparison import theories
from orthoscope.simulation.setting import Simulation
from orthoscope.simulation.simulate import simulate
from orthoscope.sweeps.points import HERE, Points
from orthoscope.theory import predict, rate_strength_diagram

SHIFTS = ("mean_shift", "variance_shift")
_FEWEST_SAMPLES = 32


def point(simulation: Simulation) -> dict[str, Any]:
    """One simulated point with both theories for the same setting."""
    result = simulate(simulation)
    found = theories(simulation)._asdict()
    row: dict[str, Any] = {name: result.estimates[name] for name in (*SHIFTS, "class_posterior")}
    for name in SHIFTS:
        row |= {f"{name}_{kind}": getattr(prediction, name, np.nan) for kind, prediction in found.items()}
    return row | {"model_calls": result.model_calls, "seconds": result.seconds}


def split(trajectories: int, dim: int, *, planted: bool) -> tuple[int, int]:
    """Draws and samples per draw that balance both levels of error: modes vary most in low dimension."""
    draws = min(max(8, (960 if planted else 480) // dim), trajectories // _FEWEST_SAMPLES)
    return draws, trajectories // draws


@dataclass(frozen=True, slots=True, kw_only=True)
class RateStudy:
    """Distortion against the class rate, through the critical one.

    Attributes:
        std: Within-class standard deviation.
        strengths: Guidance strengths.
        t_max: Variance time of the start.
        rates: Rates of the simulated points.
        curve: Lowest rate, highest rate and number of points of the theory's curves.
        planted_dim: Dimension of the planted points.
        most_classes: Brute force uses the largest dimension with at most so many classes.
        trajectories: Trajectories per point; draws are more and shorter in low dimension, where modes vary most.
        steps: Steps.
        seed: Root seed.
    """

    name: str = field(default="rates", init=False)
    std: float = 0.5
    strengths: tuple[float, ...] = (1.0, 3.0)
    t_max: float = 50.0
    rates: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
    curve: tuple[float, float, int] = (0.02, 1.4, 140)
    planted_dim: int = 256
    most_classes: int = 4096
    trajectories: int = 2048
    steps: int = 20
    seed: int = 0

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Simulate every rate and strength, by brute force and planted."""
        rows = points.each(self._cell, product(self.strengths, self.rates, (False, True)))
        curve = np.linspace(self.curve[0], self.curve[1], self.curve[2])
        setting = Setting.of(rate=1.0, std=self.std, schedule=Constant(value=0.0), t_max=self.t_max)
        diagram = rate_strength_diagram(setting, curve, self.strengths)
        variables: dict[str, Any] = table(rows, "point")
        for name in SHIFTS:
            variables[f"{name}_curve"] = (["rate", "strength"], diagram[name])
        critical = [predict(setting.but(schedule=Constant(value=w))).critical_rate for w in (0.0, *self.strengths)]
        variables["critical_rate"] = (["critical_strength"], critical)
        coords = {"rate": curve, "strength": list(self.strengths), "critical_strength": [0.0, *self.strengths]}
        return dataset(variables, coords=coords, spec=self)

    def _cell(self, w: float, rate: float, planted: bool) -> dict[str, Any]:
        dim = self.planted_dim if planted else max(4, int(math.log(self.most_classes) / rate))
        draws, samples = split(self.trajectories, dim, planted=planted)
        simulation = Simulation.of(
            dim=dim,
            rate=rate,
            std=self.std,
            schedule=Constant(value=w),
            t_max=self.t_max,
            modes="planted" if planted else "memory",
            steps=self.steps,
            seed=self.seed,
            draws=draws,
            samples=samples,
        )
        kind = "planted" if planted else "brute force"
        return {"point_strength": w, "point_rate": rate, "point_dim": dim, "kind": kind} | point(simulation)


@dataclass(frozen=True, slots=True, kw_only=True)
class DimStudy:
    """Distortion against the dimension: classes exponential in it, and a fixed number of classes.

    Attributes:
        std: Within-class standard deviation.
        strength: Guidance strength.
        rate: Rate of the exponential family.
        classes: Number of classes of the fixed family.
        t_max: Variance time of the start.
        start: `exact`, because the prior's own mean shift -s^2/T would hide how the fixed family's dies out.
        dims: Dimensions of planted points.
        brute_dims: Dimensions of brute-force points, as far as the modes are few.
        most_classes: Brute force is left out beyond so many classes.
        trajectories: Trajectories per point.
        steps: Steps.
        seed: Root seed.
    """

    name: str = field(default="dims", init=False)
    std: float = 0.5
    strength: float = 3.0
    rate: float = 0.2
    classes: int = 64
    t_max: float = 50.0
    start: Start = "exact"
    dims: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024)
    brute_dims: tuple[int, ...] = (16, 32, 44, 64, 128, 256)
    most_classes: int = 8192
    trajectories: int = 2048
    steps: int = 20
    seed: int = 0

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Simulate both families."""
        cells = [
            (family, dim, planted)
            for family, planted in product(("exponential", "fixed"), (False, True))
            for dim in (self.dims if planted else self.brute_dims)
            if planted or family == "fixed" or self.rate * dim <= math.log(self.most_classes)
        ]
        rows = points.each(self._cell, cells)
        variables: dict[str, Any] = table(rows, "point")
        curve = np.unique(np.geomspace(min(self.dims), max(self.dims), 40).round())
        for name in SHIFTS:
            limit = [[getattr(self._limit(family, d), name) for d in curve] for family in ("exponential", "fixed")]
            variables[f"{name}_curve"] = (["family", "dim"], limit)
        coords = {"family": ["exponential", "fixed"], "dim": curve}
        return dataset(
            variables, coords=coords, spec=self, rate=self.rate, classes=self.classes, strength=self.strength
        )

    def _rate(self, family: str, dim: float) -> float:
        return self.rate if family == "exponential" else math.log(self.classes) / dim

    def _limit(self, family: str, dim: float) -> Any:
        return predict(
            Setting.of(
                rate=self._rate(family, dim),
                std=self.std,
                schedule=Constant(value=self.strength),
                t_max=self.t_max,
                start=self.start,
            )
        )

    def _cell(self, family: str, dim: int, planted: bool) -> dict[str, Any]:
        draws, samples = split(self.trajectories, dim, planted=planted)
        simulation = Simulation.of(
            dim=dim,
            rate=self._rate(family, dim),
            std=self.std,
            schedule=Constant(value=self.strength),
            t_max=self.t_max,
            start=self.start,
            modes="planted" if planted else "memory",
            steps=self.steps,
            seed=self.seed,
            draws=draws,
            samples=samples,
        )
        kind = "planted" if planted else "brute force"
        return {"point_family": family, "point_dim": dim, "kind": kind} | point(simulation)
