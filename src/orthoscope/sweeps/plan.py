"""What a sweep computes: named axes, and every combination of their values as one cell."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Value = int | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One combination of axis values.

    Attributes:
        index: Place along each axis.
        coords: Value by axis name.
    """

    index: tuple[int, ...]
    coords: Mapping[str, Value]

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.coords.items()) or "the only cell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that determines the results of a sweep: equal plans give equal numbers.

    Attributes:
        name: Name of the study.
        axes: Values by axis name, in order; truth values are 0 and 1, schedules their text.
        quantities: Names of the results of a cell, predictions among them.
        estimated: Those of the quantities that come with a standard error.
        fixed: The same for all cells: seed, source, settings, precision. Plain values, ready for JSON.
    """

    name: str
    axes: Mapping[str, tuple[Value, ...]]
    quantities: tuple[str, ...]
    estimated: tuple[str, ...]
    fixed: Mapping[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values along each axis."""
        return tuple(len(values) for values in self.axes.values())

    @property
    def size(self) -> int:
        """Number of cells."""
        return math.prod(self.shape)

    def cells(self) -> list[Cell]:
        """Every cell, the last axis fastest."""
        places = itertools.product(*(range(size) for size in self.shape))
        return [Cell(index=index, coords=self._coords(index)) for index in places]

    def _coords(self, index: tuple[int, ...]) -> dict[str, Value]:
        return {name: values[k] for (name, values), k in zip(self.axes.items(), index, strict=True)}
