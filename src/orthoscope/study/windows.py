"""The plane of linear windows w0 + slope * t: what each does, by theory, and whether simulation agrees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from orthoscope.errors import ConfigError
from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.schedules import Constant, Linear
from orthoscope.sample.start import Start
from orthoscope.study.datasets import Progress, dataset, table
from orthoscope.study.shifts import point
from orthoscope.study.simulation import Simulation
from orthoscope.theory import rate_strength_diagram, window_diagram

_MOST_VALUES = 2048  # a plane of so many points squared still fits in memory


def axis(text: str) -> np.ndarray:
    """Grid values from `LO:HI:N`, or a single number.

    Raises:
        ConfigError: if the text is neither, or N is below 1.
    """
    parts = text.split(":")
    try:
        if len(parts) == 1:
            return np.array([float(text)])
        low, high, count = float(parts[0]), float(parts[1]), int(parts[2])
    except (ValueError, IndexError) as error:
        raise ConfigError(f"expected LO:HI:N (two numbers and a count) or a number, got {text!r}") from error
    if count > _MOST_VALUES:
        raise ConfigError(f"expected at most {_MOST_VALUES} values along an axis, got {text!r}")
    if len(parts) != 3 or count < 1 or not np.isfinite([low, high]).all() or (count > 1 and high <= low):
        raise ConfigError(f"expected LO:HI:N with finite LO < HI and N >= 1, got {text!r}")
    return np.linspace(low, high, count)


def _plane(diagram: Mapping[str, Any], *dims: str) -> dict[str, tuple[Sequence[str], Any]]:
    return {name: (dims, values) for name, values in diagram.items() if name not in dims}


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowDiagram:
    """Theory over the plane of linear windows.

    Attributes:
        rate: Class rate.
        std: Within-class standard deviation.
        t_max: Variance time of the start.
        w0: Values of w0, the strength at clean data.
        slope: Values of the slope.
        start: `prior` or `exact`.
        lam: 1 for the reverse SDE, 0 for the probability-flow ODE.
    """

    name: str = field(default="window", init=False)
    rate: float
    std: float
    t_max: float
    w0: tuple[float, ...]
    slope: tuple[float, ...]
    start: Start = "prior"
    lam: float = 1.0

    def run(self, progress: Progress | None = None) -> xr.Dataset:
        """Solve the moment equations at every point of the plane at once."""
        found = window_diagram(
            self.rate, self.std, self.w0, self.slope, t_max=self.t_max, start=self.start, lam=self.lam
        )
        return dataset(
            _plane(found, "w0", "slope"),
            coords={"w0": list(self.w0), "slope": list(self.slope)},
            spec=self,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RateStrengthDiagram:
    """Theory over class rate and constant strength.

    Attributes:
        std: Within-class standard deviation.
        rate: Values of the rate.
        strength: Values of the strength.
        t_max: Variance time of the start; None for infinity.
        start: `prior` or `exact`.
        lam: 1 for the reverse SDE, 0 for the probability-flow ODE.
    """

    name: str = field(default="rate-strength", init=False)
    std: float
    rate: tuple[float, ...]
    strength: tuple[float, ...]
    t_max: float | None = None
    start: Start = "prior"
    lam: float = 1.0

    def run(self, progress: Progress | None = None) -> xr.Dataset:
        """Solve the moment equations at every point of the plane at once."""
        t_max = np.inf if self.t_max is None else self.t_max
        found = rate_strength_diagram(self.rate, self.strength, self.std, t_max=t_max, start=self.start, lam=self.lam)
        return dataset(
            _plane(found, "rate", "strength"),
            coords={"rate": list(self.rate), "strength": list(self.strength)},
            spec=self,
        )


def summary(diagram: xr.Dataset) -> dict[str, Any]:
    """Share of each region of a diagram, and the range of its shifts."""
    names, counts = np.unique(diagram["region"].values, return_counts=True)
    shares = {f"share_{name}": float(count / diagram["region"].size) for name, count in zip(names, counts, strict=True)}
    ranges = {
        f"{end}_{name}": float(getattr(np, f"nan{end}")(diagram[name].values))
        for name in ("mean_shift", "variance_shift")
        for end in ("min", "max")
    }
    return {"points": int(diagram["region"].size), **shares, **ranges}


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

    def run(self, progress: Progress | None = None) -> xr.Dataset:
        """Solve the plane, then simulate the points."""
        w0, slope = np.linspace(*self.w0), np.linspace(*self.slope)
        plane = window_diagram(self.rate, self.std, w0, slope, t_max=self.t_max)
        variables = _plane(plane, "w0", "slope")
        rows = []
        for k, (at, growth) in enumerate(self.points):
            schedule = Linear(w0=at, slope=growth) if growth else Constant(value=at)
            simulation = Simulation(
                dim=self.dim, rate=self.rate, std=self.std, schedule=schedule, t_max=self.t_max, samples=self.samples,
                draws=self.draws, steps=self.steps, seed=self.seed,
            )  # fmt: skip
            rows.append({"point_w0": at, "point_slope": growth, "spec": format_schedule(schedule)} | point(simulation))
            if progress is not None:
                progress(k + 1, len(self.points))
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
