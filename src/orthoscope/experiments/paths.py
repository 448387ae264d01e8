"""Overlap and variance along the reverse path: simulation on theory."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from orthoscope.datasets import dataset, grid
from orthoscope.guidance.schedules import Constant
from orthoscope.simulation.comparison import theories
from orthoscope.simulation.setting import Simulation
from orthoscope.simulation.simulate import simulate
from orthoscope.sweeps.points import HERE, Points


@dataclass(frozen=True, slots=True, kw_only=True)
class PathStudy:
    """Reverse paths at a few strengths.

    Attributes:
        dim: Dimension.
        rate: Class rate.
        std: Within-class standard deviation.
        strengths: Guidance strengths.
        t_max: Variance time of the start.
        samples: Trajectories per draw.
        draws: Draws of the modes.
        steps: Steps, on one geometric grid for all strengths.
        seed: Root seed.
    """

    name: str = field(default="paths", init=False)
    dim: int = 40
    rate: float = 0.2
    std: float = 0.5
    strengths: tuple[float, ...] = (0.0, 1.0, 3.0)
    t_max: float = 50.0
    samples: int = 256
    draws: int = 12
    steps: int = 30
    seed: int = 0

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Simulate every strength and lay both theories beside it."""
        axes = {"strength": self.strengths}
        times, rows = zip(*points.each(self._path, product(*axes.values())), strict=True)
        coords = axes | {"time": times[0]}
        return dataset(grid(rows, axes), coords=coords, spec=self, dim=self.dim, rate=self.rate, std=self.std)

    def _path(self, w: float) -> tuple[Any, dict[str, Any]]:
        """Times, and what there is at each of them for one strength."""
        simulation = Simulation.of(
            dim=self.dim, rate=self.rate, std=self.std, schedule=Constant(value=w), t_max=self.t_max,
            samples=self.samples, draws=self.draws, steps=self.steps, grid="geometric", seed=self.seed,
        )  # fmt: skip
        result = simulate(simulation)
        found = theories(simulation)
        assert found.mean_field is not None  # classifier-free guidance has its theory
        row: dict[str, Any] = {"speciation_time": found.mean_field.speciation_time}
        row |= {"overlap": (["time"], result.overlap), "variance": (["time"], result.variance)}
        for name, prediction in found._asdict().items():
            nothing = np.full((2, len(result.times)), np.nan)
            path = nothing if prediction is None else prediction.path(result.times)
            row |= {f"overlap_{name}": (["time"], path[0]), f"variance_{name}": (["time"], path[1])}
        return result.times, row
