"""Designed schedules against the best linear and step windows, over class rate and width: by theory and by sampling.

At every rate and width the same goal is given to the design and to every simple family. A design that is anywhere worse
by theory has missed the optimum; one that is worse when sampled has exploited what the theory does not know.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from orthoscope.datasets import dataset, grid
from orthoscope.designs.check import Verification, mixture_simulation
from orthoscope.designs.optimization import Design, Goal, MixtureLaw, design, extremes
from orthoscope.errors import ConfigError
from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.quantities import Estimate
from orthoscope.simulation.simulate import simulate
from orthoscope.sweeps.points import HERE, Points

FAMILIES = ("constant", "interval", "linear", "step", "three_phase")
RIVALS = ("linear", "step")
_THEORY_MARGIN = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignGridStudy:
    """The same goal over a grid of class rates and widths.

    Attributes:
        rates: Class rates.
        stds: Within-class standard deviations.
        variance_ratio: Least variance ratio.
        low: Smallest strength allowed.
        high: Largest strength allowed.
        t_max: Variance time of the start.
        dim: Dimension; None designs in the limit, and samples in a large one.
        samples: Trajectories of each sampled schedule.
        draws: Draws of the modes.
        steps: Steps.
        seed: Root seed.
    """

    name: str = field(default="design-grid", init=False)
    rates: tuple[float, ...] = (0.3, 0.5, 0.7, 0.9)
    stds: tuple[float, ...] = (0.4, 0.5, 0.7)
    variance_ratio: float = 1.0
    low: float = -1.0
    high: float = 5.0
    t_max: float = 10.0
    dim: int | None = None
    samples: int = 8192
    draws: int = 16
    steps: int = 40
    seed: int = 0

    @classmethod
    def quick(cls) -> DesignGridStudy:
        """A corner of the grid with few samples."""
        return cls(rates=(0.5, 0.9), stds=(0.5,), samples=1024, draws=8, steps=24)

    @property
    def goal(self) -> Goal:
        """Largest mean shift at the variance asked for."""
        return Goal(objective="mean_shift", variance_ratio=self.variance_ratio, low=self.low, high=self.high)

    def law(self, rate: float, std: float) -> MixtureLaw:
        """The mixture of one cell."""
        return MixtureLaw(rate=rate, std=std, t_max=self.t_max, dim=self.dim)

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Design and sample every cell."""
        axes = {"rate": self.rates, "std": self.stds}
        coords = axes | {"family": FAMILIES, "sampled": ("design", *RIVALS)}
        return dataset(grid(points.each(self._cell, product(*axes.values())), axes), coords=coords, spec=self)

    def _cell(self, rate: float, std: float) -> dict[str, Any]:
        """A design, by theory, and samples of it and of its rivals."""
        law = self.law(rate, std)
        found = design(law, self.goal)
        measured = [self._sample(law, schedule) for schedule in self._rows(found).values()]
        return {
            "mean_shift_theory": found.outcome.mean_shift,
            "variance_ratio_theory": found.outcome.variance_ratio,
            "speciation_time": found.outcome.speciation_time,
            "feasible": found.feasible,
            "bang_bang": found.is_bang_bang,
            "lowest_strength": extremes(found.schedule, self.t_max)[0],
            "text": format_schedule(found.schedule),
            "margin": (["family"], [_behind(found, name) for name in FAMILIES]),
            **{name: (["sampled"], [one[name] for one in measured]) for name in ("mean_shift", "variance_ratio")},
        }

    def _rows(self, found: Design) -> dict[str, GuidanceSchedule]:
        simple = {c.name: c.schedule for c in found.candidates}
        if missing := set(RIVALS) - simple.keys():
            raise ConfigError(f"the design compares no {', '.join(sorted(missing))} windows")
        return {"design": found.schedule, **{name: simple[name] for name in RIVALS}}

    def _sample(self, law: MixtureLaw, schedule: GuidanceSchedule) -> dict[str, Estimate]:
        budget = Verification(samples=self.samples, draws=self.draws, steps=self.steps, seed=self.seed)
        return dict(simulate(mixture_simulation(law, schedule, budget)).estimates)

    def summarize(self, result: xr.Dataset) -> dict[str, Any]:
        """The least margins over the grid, by theory and in standard errors when sampled."""
        margin = result["margin"]
        least = {str(name): float(margin.sel(family=name).min()) for name in margin["family"].values}
        finite = {name: value for name, value in least.items() if math.isfinite(value)}
        over_step = margin.sel(family="step").values.ravel().tolist()
        mean, error = result["mean_shift"], result["mean_shift_stderr"]
        z = {}
        for rival in RIVALS:
            kept = np.isfinite(margin.sel(family=rival).values)
            gap = (mean.sel(sampled="design") - mean.sel(sampled=rival)).values[kept]
            both = np.hypot(error.sel(sampled="design").values, error.sel(sampled=rival).values)[kept]
            z[rival] = float((gap / both).min()) if gap.size else None
        return {
            "cells": int(result["feasible"].size),
            "feasible": int(result["feasible"].sum()),
            "least_margin": finite,
            "never_worse_in_theory": all(value >= -_THEORY_MARGIN for value in finite.values()),
            "least_sampled_z": z,
            "never_worse_when_sampled": all(value is None or value >= -3.0 for value in z.values()),
            "bang_bang": int(result["bang_bang"].sum()),
            "with_negative_window": int((result["lowest_strength"] < 0).sum()),
            "largest_gain_over_step": max((v for v in over_step if math.isfinite(v)), default=None),
        }


def _behind(found: Design, family: str) -> float:
    """By how much a family is behind the design; infinite if it does not keep the floors."""
    best = next((c for c in found.candidates if c.name == family), None)
    if best is None or not best.feasible:
        return math.inf
    return found.outcome.gain(found.goal) - best.outcome.gain(found.goal)
