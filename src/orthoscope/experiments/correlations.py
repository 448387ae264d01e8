"""Two-point correlations between coordinates of guided samples: O(1/d), along the class centroid, and nowhere else."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from orthoscope import metrics, rng
from orthoscope.datasets import dataset, stored, table
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant
from orthoscope.laws import Start
from orthoscope.metrics.correlations import mean_square_correlation
from orthoscope.metrics.scaling import PowerLaw, extrapolate, power_law
from orthoscope.quantities import Estimate, pool
from orthoscope.simulation.control import PlantedControl
from orthoscope.simulation.draw import draw
from orthoscope.simulation.radial import radial
from orthoscope.simulation.setting import Simulation
from orthoscope.simulation.simulate import simulate
from orthoscope.sweeps.points import HERE, Points
from orthoscope.theory.fluctuation import along_excess, correlation

SAMPLERS = {"SDE": 1.0, "ODE": 0.0}
ASYMPTOTIC = 100  # reduced points in lower dimensions see more than the first correction to a power law
_SQUARE = "mean_square_correlation"
_REAL_ROWS, _REAL_DRAWS = 64, 3  # rows of one draw of real modes, whose control takes most of the noise; and more draws


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrelationStudy:
    """Mean square correlation against dimension, planted and by brute force, for both samplers.

    Attributes:
        rate: Class rate.
        std: Within-class standard deviation.
        samplers: `SDE`, `ODE`.
        strengths: Guidance strengths; 0 is the negative control.
        dims: Dimensions of planted points.
        brute_dims: Dimensions of brute-force points, as far as the modes are few.
        real_dims: Dimensions in which the excess along the centroid of real modes is measured, beside planted paths.
        reduced_dims: Dimensions in which only the excess along the centroid is measured, in reduced coordinates.
        most_classes: Brute force is left out beyond so many classes.
        t_max: Variance time of the start.
        start: `exact`, so that no trace of the start correlates.
        samples: Trajectories per draw; the error of a squared correlation falls like their number.
        draws: Draws of the modes.
        reduced: Trajectories in reduced coordinates.
        steps: Steps of full runs.
        reduced_steps: Steps in reduced coordinates.
        seed: Root seed.
    """

    name: str = field(default="correlations", init=False)
    rate: float = 0.4
    std: float = 1.0
    samplers: tuple[str, ...] = tuple(SAMPLERS)
    strengths: tuple[float, ...] = (0.0, 1.0)
    dims: tuple[int, ...] = (16, 32, 64, 128)
    brute_dims: tuple[int, ...] = (8, 12, 16, 19)
    real_dims: tuple[int, ...] = (12, 16, 20, 24, 28)
    reduced_dims: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
    most_classes: int = 2000
    t_max: float = 50.0
    start: Start = "exact"
    samples: int = 4096
    draws: int = 16
    reduced: int = 200_000
    steps: int = 24
    reduced_steps: int = 100
    seed: int = 0

    @classmethod
    def quick(cls) -> CorrelationStudy:
        """Fewer trajectories and dimensions."""
        return cls(
            dims=(8, 16, 32), brute_dims=(8,), real_dims=(12, 24), reduced_dims=(32, 128, 256, 512, 1024, 4096),
            samples=2048, draws=8, reduced=20_000, steps=16, reduced_steps=50,
        )  # fmt: skip

    def simulation(self, sampler: str, strength: float, dim: int, kind: str) -> Simulation:
        """The setting of one point; every point has streams of its own."""
        reduced, real = kind == "reduced", kind == "real modes"
        return Simulation.of(
            dim=dim,
            rate=self.rate,
            std=self.std,
            schedule=Constant(value=strength),
            lam=SAMPLERS[sampler],
            t_max=self.t_max,
            start=self.start,
            modes="planted" if kind in ("planted", "reduced") else "memory",
            samples=self.reduced if reduced else _REAL_ROWS if real else self.samples,
            draws=1 if reduced else _REAL_DRAWS * self.draws if real else self.draws,
            steps=self.reduced_steps if reduced else self.steps,
            seed=rng.key(self.seed, self.name, sampler, f"{strength!r}", dim, kind) % 2**32,
        )

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Simulate every sampler, strength and dimension."""
        brute = [dim for dim in self.brute_dims if self.rate * dim <= math.log(self.most_classes)]
        kinds = {"planted": self.dims, "brute force": brute, "real modes": self.real_dims, "reduced": self.reduced_dims}
        cells = [
            (sampler, w, dim, kind)
            for sampler, w in product(self.samplers, self.strengths)
            for kind, dims in kinds.items()
            for dim in dims
            if w != 0 or kind not in ("reduced", "real modes")
        ]
        rows = points.each(self._cell, cells)
        return dataset(table(rows, "point"), coords={}, spec=self, rate=self.rate, std=self.std)

    def _cell(self, sampler: str, w: float, dim: int, kind: str) -> dict[str, Any]:
        simulation = self.simulation(sampler, w, dim, kind)
        measure = {"reduced": _excess, "real modes": _real_excess}.get(kind, _blind)
        labels = {"sampler": sampler, "point_strength": w, "point_dim": dim, "kind": kind}
        limits = {"along_excess_mean_field": along_excess(simulation.mean_field)}
        limits[f"{_SQUARE}_mean_field"] = correlation(simulation.mean_field, dim) ** 2
        return labels | measure(simulation) | limits

    def summarize(self, result: xr.Dataset) -> dict[str, Any]:
        """Exponents of correlations, the negative control, and what a single direction explains."""
        answer: dict[str, Any] = {}
        guided = [float(w) for w in np.unique(result["point_strength"]) if w != 0]
        for sampler, w in product(dict.fromkeys(result["sampler"].values), guided):
            answer[f"{sampler}, w = {w:g}"] = {
                "exponent": {kind: _half(result, sampler, w, kind) for kind in ("planted", "reduced")},
                "along_excess_limit": _limit(_asymptotic(select(result, sampler, w, "reduced"))),
                "planted_against_one_direction_z": _against_one_direction(result, sampler, w, "planted"),
                "real_modes": {
                    "exponent": _half(result, sampler, w, "real modes"),
                    "along_excess": _excesses(select(result, sampler, w, "real modes")),
                },
                "brute_over_one_direction": _ratios(select(result, sampler, w, "brute force")),
            }
        null = result.isel(point=np.flatnonzero(result["point_strength"].values == 0))
        if null.sizes["point"]:
            answer["w = 0: mean square correlation in standard errors"] = [e.z(0.0) for e in stored(null, _SQUARE)]
        return answer


def _blind(simulation: Simulation) -> dict[str, Estimate]:
    """Mean square correlation of full samples, and their excess variance along the centroid."""
    blind, along = [], []
    levels = draw(simulation).levels
    for index in range(simulation.budget.draws):
        one = draw(simulation, index)
        x, m = one.run(levels, recorded=False).x.cpu().numpy(), one.centroid
        blind.append(mean_square_correlation(x))
        across = metrics.variance(x, m, part="across")
        along.append(metrics.variance(x, m, part="along").affine(shift=-across.value))
    return {_SQUARE: pool(blind), "along_excess": pool(along)}


def _excess(simulation: Simulation) -> dict[str, Estimate]:
    """Excess along the centroid in reduced coordinates, and the mean square correlation that it makes."""
    found = radial(simulation)
    return _one_direction(simulation, found.variance_shift_along, found.variance_shift_across)


def _real_excess(simulation: Simulation) -> dict[str, Estimate]:
    """The same of real modes beside their planted control variate."""
    found = simulate(simulation, estimator=PlantedControl).estimates
    return _one_direction(simulation, found["variance_shift_along"], found["variance_shift_across"])


def _one_direction(simulation: Simulation, along: Estimate, across: Estimate) -> dict[str, Estimate]:
    excess = along.minus(across)
    width = simulation.setting.law.std**2 + across.value + excess.value / simulation.dim
    pairs = simulation.dim * (simulation.dim + 2)
    square = (excess.value / width) ** 2 / pairs
    error = 2 * abs(excess.value) * excess.stderr / width**2 / pairs
    return {_SQUARE: replace(excess, value=square, stderr=error), "along_excess": excess}


def select(result: xr.Dataset, sampler: str, strength: float, kind: str) -> xr.Dataset:
    """The points of one sampler, strength and kind."""
    chosen = (result["sampler"].values == sampler) & (result["kind"].values == kind)
    return result.isel(point=np.flatnonzero(chosen & (result["point_strength"].values == strength)))


def decay(result: xr.Dataset, sampler: str, strength: float, kind: str) -> PowerLaw:
    """The power law of the mean square correlation; correlations themselves fall with half its exponent."""
    points = _asymptotic(select(result, sampler, strength, kind))
    return power_law(points["point_dim"].values.tolist(), stored(points, _SQUARE), correction=kind == "reduced")


def _asymptotic(points: xr.Dataset) -> xr.Dataset:
    low = (points["kind"].values == "reduced") & (points["point_dim"].values < ASYMPTOTIC)
    return points.isel(point=np.flatnonzero(~low))


def _half(result: xr.Dataset, sampler: str, w: float, kind: str) -> dict[str, Any] | None:
    """Exponent of the correlation itself; None where too few points differ from zero."""
    try:
        law = decay(result, sampler, w, kind)
    except ConfigError:
        return None
    low, high = law.interval()
    return law.exponent.affine(0.5).as_numbers() | {
        "interval_95": [low / 2, high / 2],
        "goodness": law.goodness,
    }


def _limit(points: xr.Dataset) -> dict[str, Any]:
    found = extrapolate(points["point_dim"].values.tolist(), stored(points, "along_excess"), order=2)
    theory = float(points["along_excess_mean_field"][0])
    return found.limit.as_numbers() | {"theory": theory, "goodness": found.goodness}


def _against_one_direction(result: xr.Dataset, sampler: str, w: float, kind: str) -> dict[str, float]:
    full, reduced = select(result, sampler, w, kind), select(result, sampler, w, "reduced")
    known = dict(zip(reduced["point_dim"].values.tolist(), stored(reduced, _SQUARE), strict=True))
    pairs = zip(full["point_dim"].values.tolist(), stored(full, _SQUARE), strict=True)
    return {f"{dim}": square.minus(known[dim]).z(0.0) for dim, square in pairs if dim in known}


def _excesses(points: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Excess along the centroid by dimension."""
    pairs = zip(points["point_dim"].values, stored(points, "along_excess"), strict=True)
    return {f"{dim}": excess.as_numbers() for dim, excess in pairs}


def _ratios(points: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Mean square correlation of real modes over that of the excess theory puts along the centroid."""
    theory = points[f"{_SQUARE}_mean_field"].values
    return {
        f"{dim}": square.affine(1 / float(expected)).as_numbers()
        for dim, square, expected in zip(points["point_dim"].values, stored(points, _SQUARE), theory, strict=True)
    }
