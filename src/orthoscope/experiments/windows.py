"""The plane of linear windows w0 + slope * t: what each does, by theory, and whether simulation agrees."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from orthoscope.datasets import dataset, table
from orthoscope.experiments.planes import on_axes
from orthoscope.experiments.shifts import point
from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.schedules import Constant, Linear
from orthoscope.settings import Setting
from orthoscope.simulation.setting import Simulation
from orthoscope.sweeps.points import HERE, Points
from orthoscope.theory import window_diagram


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowStudy:
    """The plane of windows with exact simulations at chosen points.

    Attributes:
        rate: Class rate.
        std: Within-class standard deviation.
        t_max: Variance time of the start.
        w0: Lowest value, highest value and count.
        slope: Lowest value, highest value and count.
        points: (w0, slope) of the simulated points; slope 0 is a constant strength.
        dim: Dimension of the simulated points.
        samples: Trajectories per draw.
        draws: Draws of the modes.
        steps: Steps.
        seed: Root seed.
    """

    name: str = field(default="windows", init=False)
    rate: float = 0.7
    std: float = 0.5
    t_max: float = 10.0
    w0: tuple[float, float, int] = (-1.0, 0.7, 171)
    slope: tuple[float, float, int] = (0.0, 1.2, 151)
    points: tuple[tuple[float, float], ...] = (
        (-0.45, 0.65),
        (0.25, 0.5),
        (-0.15, 0.05),
        (-0.9, 0.3),
        (0.5, 0.0),
        (0.0, 0.0),
    )
    dim: int = 12
    samples: int = 96
    draws: int = 40
    steps: int = 20
    seed: int = 0

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Solve the plane, then simulate the points."""
        w0, slope = np.linspace(*self.w0), np.linspace(*self.slope)
        setting = Setting.of(rate=self.rate, std=self.std, schedule=Constant(value=0.0), t_max=self.t_max)
        plane = window_diagram(setting, w0, slope)
        variables = on_axes(plane, "w0", "slope")
        rows = points.each(self._cell, self.points)
        names = [chr(ord("A") + k) for k in range(len(rows))]
        return dataset(
            variables | table(rows, "point"),
            coords={"w0": w0, "slope": slope, "point": names},
            spec=self,
            rate=self.rate,
            std=self.std,
            t_max=self.t_max,
            dim=self.dim,
        )

    def _cell(self, at: float, growth: float) -> dict[str, Any]:
        schedule = Linear(w0=at, slope=growth) if growth else Constant(value=at)
        simulation = Simulation.of(
            dim=self.dim, rate=self.rate, std=self.std, schedule=schedule, t_max=self.t_max, samples=self.samples,
            draws=self.draws, steps=self.steps, seed=self.seed,
        )  # fmt: skip
        return {"point_w0": at, "point_slope": growth, "spec": format_schedule(schedule)} | point(simulation)
