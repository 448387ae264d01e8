"""How fast finite dimension approaches mean-field theory: the exponent, and the dimension from which it is good enough.

The planted ensemble is followed in reduced coordinates (`simulation.radial`), so that errors stay below the gap to
infinite dimension up to thousands of dimensions; real modes are sampled as far as they can be stored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from orthoscope import rng
from orthoscope.datasets import dataset, grid, stored, table
from orthoscope.errors import ConfigError
from orthoscope.experiments.shifts import SHIFTS
from orthoscope.guidance.schedules import Constant
from orthoscope.laws import Start
from orthoscope.metrics.scaling import PowerLaw, power_law
from orthoscope.quantities import Estimate
from orthoscope.simulation.coupled import coupled
from orthoscope.simulation.radial import radial
from orthoscope.simulation.setting import Simulation
from orthoscope.sweeps.points import HERE, Points
from orthoscope.theory import predict
from orthoscope.theory.fluctuation import along_excess

NEAR = 0.05  # relative gap to mean field that counts as close
_FITS = 0.01  # goodness below which a power law is taken not to fit
_CLEAR = 4.0  # standard errors of a gap that is there
_ROWS = 32  # trajectories of one draw of real modes
_FEWEST_CLEAR = 4  # dimensions with a clear gap, without which no power law is fitted


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproachStudy:
    """Distortion against dimension, planted and by brute force, beside both theories.

    Attributes:
        rates: Class rates.
        strengths: Guidance strengths.
        std: Within-class standard deviation.
        dims: Dimensions of planted points.
        brute_dims: Dimensions of brute-force points, as far as the modes are few.
        most_classes: Brute force is left out beyond so many classes.
        t_max: Variance time of the start.
        start: `exact`, so that no trace of the start is taken for a gap.
        trajectories: Trajectories of a planted point.
        brute_draws: Draws of the modes at a brute-force point, of few trajectories each.
        steps: Steps of planted runs; half of them are also run in the largest dimension, to bound their bias.
        brute_steps: Steps of brute-force runs, which see few dimensions.
        seed: Root seed.
    """

    name: str = field(default="approach", init=False)
    rates: tuple[float, ...] = (0.2, 0.5, 0.9, 1.3)
    strengths: tuple[float, ...] = (1.0, 3.0)
    std: float = 0.5
    dims: tuple[int, ...] = (32, 64, 128, 256, 512, 1024, 2048, 4096)
    brute_dims: tuple[int, ...] = (6, 10, 16, 32, 48)
    most_classes: int = 20_000
    t_max: float = 50.0
    start: Start = "exact"
    trajectories: int = 200_000
    brute_draws: int = 96
    steps: int = 160
    brute_steps: int = 20
    seed: int = 0

    @classmethod
    def quick(cls) -> ApproachStudy:
        """Two rates, dimensions in steps of four, fewer trajectories."""
        return cls(
            rates=(0.2, 1.3), dims=(64, 256, 1024, 4096), brute_dims=(6, 16, 32), most_classes=2000,
            trajectories=32_768, brute_draws=32, steps=80,
        )  # fmt: skip

    def simulation(self, rate: float, strength: float, dim: int) -> Simulation:
        """The planted setting of one point; every point has streams of its own."""
        return Simulation.of(
            dim=dim,
            rate=rate,
            std=self.std,
            schedule=Constant(value=strength),
            t_max=self.t_max,
            start=self.start,
            modes="planted",
            samples=self.trajectories,
            draws=1,
            steps=self.steps,
            seed=_own_seed(self.seed, rate, strength, dim),
        )

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Simulate every rate, strength and dimension."""
        plane = {"rate": self.rates, "strength": self.strengths}
        axes = plane | {"dim": self.dims}
        cells = list(product(*axes.values()))
        brute = [
            (rate, w, dim) for rate, w, dim in product(*plane.values(), self.brute_dims)
            if math.log(2) <= rate * dim <= math.log(self.most_classes)
        ]  # fmt: skip
        limits = points.each(self._limits, product(*plane.values()), ahead=len(cells) + len(brute))
        planted = points.each(self._point, cells, ahead=len(brute))
        real = points.each(self._brute, brute)
        variables = grid(limits, plane) | grid(planted, axes) | table(real, "point")
        return dataset(variables, coords=axes, spec=self)

    def _limits(self, rate: float, w: float) -> dict[str, Any]:
        """Mean field for one setting, and what the finite number of steps does in the largest dimension."""
        largest = self.simulation(rate, w, max(self.dims))
        found = predict(largest.mean_field)
        fine, coarse = radial(largest.but(seed=largest.budget.seed + 1)), radial(largest.but(steps=self.steps // 2))
        limits: dict[str, Any] = {
            "regime": found.regime,
            "condensed": found.condensation_time is not None,
            "along_excess_mean_field": along_excess(largest.mean_field),
        }
        for name in SHIFTS:
            a, b = getattr(coarse, name), getattr(fine, name)
            # In law the error falls like the square of the step: a third of the difference is left in the finer run.
            limits |= {f"{name}_mean_field": getattr(found, name), f"{name}_step_error": a.minus(b).times(1 / 3)}
        return limits

    def _point(self, rate: float, w: float, dim: int) -> dict[str, Any]:
        simulation = self.simulation(rate, w, dim)
        result, finite = radial(simulation), predict(simulation.finite_dim)
        # Two parts of independent noise.
        point: dict[str, Any] = {"along_excess": result.variance_shift_along.minus(result.variance_shift_across)}
        for name in SHIFTS:
            point |= {name: getattr(result, name), f"{name}_finite_dim": getattr(finite, name)}
        return point

    def _brute(self, rate: float, w: float, dim: int) -> dict[str, Any]:
        steps = {"steps": self.brute_steps}
        real = self.simulation(rate, w, dim).but(modes="memory", draws=self.brute_draws, samples=_ROWS, **steps)
        planted = radial(self.simulation(rate, w, dim).but(**steps))
        measured = coupled(real)
        finite = predict(real.finite_dim)
        row: dict[str, Any] = {"point_rate": rate, "point_strength": w, "point_dim": dim}
        for name in SHIFTS:
            row |= {f"brute_{name}": getattr(measured, name), f"planted_{name}": getattr(planted, name)}
            row[f"theory_{name}"] = getattr(finite, name)
        return row

    def summarize(self, result: xr.Dataset) -> dict[str, Any]:
        """Exponent with its interval, smallest dimension near mean field, and where the finite-d theory is off."""
        answer: dict[str, Any] = {}
        for rate, w in _settings(result):
            one = result.sel(rate=rate, strength=w)
            entry: dict[str, Any] = {"regime": str(one["regime"].values), "planted_valid": not bool(one["condensed"])}
            for name in SHIFTS:
                approach = approach_law(result, name, rate, w)
                found = gaps(result, name, rate, w)
                entry[name] = {
                    "mean_field": float(one[f"{name}_mean_field"]),
                    "exponent": None if approach is None else _law_numbers(approach),
                    "largest_gap_z": max(abs(gap.z(0.0)) for gap in found),
                    "largest_gap": max(abs(gap.value) for gap in found),
                    "within_5_percent_from_dim": smallest_dim(result, name, rate, w),
                    "finite_dim_theory_relative_error": disagreement(result, name, rate, w),
                    "finite_dim_theory_share_of_gap": shares(result, name, rate, w),
                    "step_error": float(one[f"{name}_step_error"]),
                }
            answer[f"rate {rate:g}, w = {w:g}"] = entry
        return answer


def _own_seed(seed: int, rate: float, strength: float, dim: int) -> int:
    return rng.key(seed, "approach", f"{rate!r}", f"{strength!r}", dim) % 2**32


def gaps(result: xr.Dataset, name: str, rate: float, strength: float) -> list[Estimate]:
    """Measured minus mean field, by dimension, with the error that the finite number of steps may add."""
    one = result.sel(rate=rate, strength=strength)
    step = abs(float(one[f"{name}_step_error"])) + float(one[f"{name}_step_error_stderr"])
    limit = float(one[f"{name}_mean_field"])
    return [replace(found.affine(shift=-limit), stderr=math.hypot(found.stderr, step)) for found in stored(one, name)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Approach:
    """The power law of an approach to mean field.

    Attributes:
        law: The law.
        from_dim: Lowest dimension that it fits.
    """

    law: PowerLaw
    from_dim: int


def approach_law(result: xr.Dataset, name: str, rate: float, strength: float) -> Approach | None:
    """The power law by which a shift approaches mean field, from the lowest dimension on from which it fits.

    None where nothing commits, since corrections are exponentially small there; where too few dimensions show a gap;
    and where no power law fits.
    """
    one = result.sel(rate=rate, strength=strength)
    dims, found = result["dim"].values.tolist(), gaps(result, name, rate, strength)
    if str(one["regime"].values) != "committed":
        return None
    for first in range(len(dims) - _FEWEST_CLEAR + 1):
        if sum(abs(gap.z(0.0)) > _CLEAR for gap in found[first:]) < _FEWEST_CLEAR:
            return None
        try:
            law = power_law(dims[first:], found[first:])
        except ConfigError:
            continue
        if law.goodness > _FITS:
            return Approach(law=law, from_dim=dims[first])
    return None


def smallest_dim(result: xr.Dataset, name: str, rate: float, strength: float, near: float = NEAR) -> dict[str, Any]:
    """From which dimension on a shift is within a relative distance of mean field: a number, or a bound."""
    one = result.sel(rate=rate, strength=strength)
    dims = result["dim"].values.astype(float)
    limit = abs(float(one[f"{name}_mean_field"]))
    relative = np.array([abs(gap.value) for gap in gaps(result, name, rate, strength)]) / limit
    far = np.flatnonzero(relative > near)
    if far.size == 0:
        return {"at_most": float(dims[0])}
    last = int(far[-1])
    if last == dims.size - 1:
        return {"above": float(dims[-1])}
    slope = math.log(relative[last + 1] / relative[last]) / math.log(dims[last + 1] / dims[last])
    return {"value": float(dims[last] * (near / relative[last]) ** (1 / slope))}


def disagreement(result: xr.Dataset, name: str, rate: float, strength: float) -> dict[str, float]:
    """Relative error of the finite-dimension theory in each dimension where it is off beyond chance (1e-4)."""
    one = result.sel(rate=rate, strength=strength)
    off = {}
    for dim in result["dim"].values:
        at = one.sel(dim=dim)
        (measured,) = stored(at, name)
        if not measured.agrees(float(at[f"{name}_finite_dim"])):
            off[f"{dim}"] = float(at[f"{name}_finite_dim"]) / measured.value - 1
    return off


def shares(result: xr.Dataset, name: str, rate: float, strength: float) -> dict[str, float]:
    """Share of the gap to mean field that the finite-dimension theory explains, where the gap is clear."""
    one = result.sel(rate=rate, strength=strength)
    explained = one[f"{name}_finite_dim"].values - float(one[f"{name}_mean_field"])
    return {
        f"{dim}": float(part / gap.value)
        for dim, part, gap in zip(result["dim"].values, explained, gaps(result, name, rate, strength), strict=True)
        if abs(gap.z(0.0)) > _CLEAR
    }


def _settings(result: xr.Dataset) -> Iterator[tuple[float, float]]:
    return product(result["rate"].values.tolist(), result["strength"].values.tolist())


def _law_numbers(approach: Approach) -> dict[str, Any]:
    law = approach.law
    low, high = law.interval()
    return law.exponent.as_numbers() | {
        "interval_95": [low, high],
        "amplitude": law.amplitude,
        "correction": law.correction,
        "goodness": law.goodness,
        "from_dim": approach.from_dim,
    }
