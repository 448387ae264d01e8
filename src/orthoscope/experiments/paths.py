"""Overlap and variance along the reverse path: simulation on theory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from orthoscope.datasets import dataset, estimates
from orthoscope.guidance.schedules import Constant
from orthoscope.progress import Progress
from orthoscope.simulation.comparison import theories
from orthoscope.simulation.setting import Simulation
from orthoscope.simulation.simulate import simulate


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

    def run(self, progress: Progress | None = None) -> xr.Dataset:
        """Simulate every strength and lay both theories beside it."""
        columns: list[dict[str, Any]] = []
        speciation = []
        for k, w in enumerate(self.strengths):
            simulation = Simulation.of(
                dim=self.dim, rate=self.rate, std=self.std, schedule=Constant(value=w), t_max=self.t_max,
                samples=self.samples, draws=self.draws, steps=self.steps, grid="geometric", seed=self.seed,
            )  # fmt: skip
            result = simulate(simulation)
            found = theories(simulation)
            column: dict[str, Any] = {"overlap": result.overlap, "variance": result.variance}
            for name, prediction in found._asdict().items():
                nothing = np.full((2, len(result.times)), np.nan)
                path = nothing if prediction is None else prediction.path(result.times)
                column[f"overlap_{name}"], column[f"variance_{name}"] = path
            columns.append(column)
            time = found.mean_field.speciation_time
            speciation.append(np.nan if time is None else time)
            if progress is not None:
                progress(k + 1, len(self.strengths))
        dims = ["strength", "time"]
        variables: dict[str, Any] = {"speciation_time": (["strength"], speciation)}
        for name in columns[0]:
            stacked = [column[name] for column in columns]
            is_measured = name in ("overlap", "variance")
            variables |= estimates(name, dims, stacked) if is_measured else {name: (dims, stacked)}
        coords = {"strength": list(self.strengths), "time": list(result.times)}
        return dataset(variables, coords=coords, spec=self, dim=self.dim, rate=self.rate, std=self.std)
