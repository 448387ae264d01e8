"""Phase diagrams: theory over planes of parameters, cut into strips for any number of workers. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from orthoscope.datasets import dataset
from orthoscope.errors import ConfigError
from orthoscope.settings import Setting
from orthoscope.sweeps.points import HERE, Points
from orthoscope.theory import rate_strength_diagram, window_diagram

_MOST_VALUES = 2048  # a plane of so many points squared still fits in memory
_STRIP = 4096  # points of a strip
Planes = dict[str, np.ndarray]


def axis(text: str) -> np.ndarray:
    """Grid values from `LO:HI:N`, or a single number.

    Raises:
        ConfigError: if the text is neither, N is below 1, or a number is not finite.
    """
    parts = text.split(":")
    try:
        low, high, count = (
            (float(text), float(text), 1) if len(parts) == 1 else (float(parts[0]), float(parts[1]), int(parts[2]))
        )
    except (ValueError, IndexError) as error:
        raise ConfigError(f"expected LO:HI:N (two numbers and a count) or a number, got {text!r}") from error
    if count > _MOST_VALUES:
        raise ConfigError(f"expected at most {_MOST_VALUES} values along an axis, got {text!r}")
    if len(parts) > 3 or count < 1 or not np.isfinite([low, high]).all() or (count > 1 and high <= low):
        raise ConfigError(f"expected a finite number, or LO:HI:N with finite LO < HI and N >= 1, got {text!r}")
    return np.linspace(low, high, count)


def in_strips(
    strip: Callable[[tuple[float, ...]], Planes],
    values: Sequence[float],
    across: int,
    *,
    axis: int,
    points: Points = HERE,
) -> Planes:
    """The planes of a diagram, solved strip by strip on any number of workers.

    Points of one strip are integrated together, so strips have a size of their own: equal bits for any `workers`.

    Args:
        strip: Solves the plane at some values.
        values: All values along the axis that is cut.
        across: Points along the other axis.
        axis: Which axis of the planes is cut.
        points: Where strips are solved, and who is told.
    """
    width = max(1, _STRIP // across)
    cut = [tuple(values[k : k + width]) for k in range(0, len(values), width)]
    solved: dict[int, Planes] = {}
    with closing(points.executor.run(strip, cut)) as outcomes:
        for k, found in outcomes:
            if isinstance(found, Exception):
                raise found
            solved[k] = found
            if points.progress is not None:
                points.progress(len(solved), len(cut))
    first = solved[0]
    return {
        name: np.concatenate([solved[k][name] for k in range(len(cut))], axis=axis)
        for name, plane in first.items()
        if plane.ndim == 2  # not the axes themselves
    }


def on_axes(diagram: Planes, *dims: str) -> dict[str, tuple[Sequence[str], Any]]:
    """The planes of a diagram as variables on its axes."""
    return {name: (dims, values) for name, values in diagram.items() if name not in dims}


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowDiagram:
    """Theory over the plane of linear windows.

    Attributes:
        setting: Class rate and run; its schedule plays no part.
        w0: Values of w0, the strength at clean data.
        slope: Values of the slope.
    """

    name: str = field(default="window", init=False)
    setting: Setting
    w0: tuple[float, ...]
    slope: tuple[float, ...]

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Solve the moment equations over the plane, strip by strip along w0."""
        planes = in_strips(self.strip, self.w0, len(self.slope), axis=0, points=points)
        return dataset(
            on_axes(planes, "w0", "slope"),
            coords={"w0": list(self.w0), "slope": list(self.slope)},
            spec=self,
        )

    def summarize(self, diagram: xr.Dataset) -> dict[str, Any]:
        """Share of each region, and the range of the shifts."""
        return summarize(diagram)

    def strip(self, w0: tuple[float, ...]) -> Planes:
        """The planes at some of the values of w0."""
        return window_diagram(self.setting, w0, self.slope)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateStrengthDiagram:
    """Theory over class rate and constant strength.

    Attributes:
        setting: The run; its rate and schedule play no part.
        rate: Values of the rate.
        strength: Values of the strength.
    """

    name: str = field(default="rate-strength", init=False)
    setting: Setting
    rate: tuple[float, ...]
    strength: tuple[float, ...]

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Solve the moment equations over the plane, strip by strip along the strength."""
        planes = in_strips(self.strip, self.strength, len(self.rate), axis=1, points=points)
        return dataset(
            on_axes(planes, "rate", "strength"),
            coords={"rate": list(self.rate), "strength": list(self.strength)},
            spec=self,
        )

    def summarize(self, diagram: xr.Dataset) -> dict[str, Any]:
        """Share of each region, and the range of the shifts."""
        return summarize(diagram)

    def strip(self, strength: tuple[float, ...]) -> Planes:
        """The planes at some of the strengths."""
        return rate_strength_diagram(self.setting, self.rate, strength)


def summarize(diagram: xr.Dataset) -> dict[str, Any]:
    """Share of each region of a diagram, and the range of its shifts."""
    names, counts = np.unique(diagram["region"].values, return_counts=True)
    shares = {f"share_{name}": float(count / diagram["region"].size) for name, count in zip(names, counts, strict=True)}
    ranges = {
        f"{end}_{name}": float(getattr(np, f"nan{end}")(diagram[name].values))
        for name in ("mean_shift", "variance_shift")
        for end in ("min", "max")
    }
    return {"points": int(diagram["region"].size), **shares, **ranges}
