"""Labelled data from files, read without unpickling and checked, or by the name of a set that ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orthoscope import reading
from orthoscope.errors import ConfigError
from orthoscope.targets.bundled import BUNDLED
from orthoscope.targets.labelled import LabelledData

FILES = (".npz", ".csv")
_POINTS, _LABELS = ("x", "data", "points"), ("labels", "y", "label", "target")
_LARGEST_LABEL = 2.0**31
_EXPECTED = "arrays x, one point per row, and labels (or y), one whole number per row"


def read_labelled(source: str | Path) -> LabelledData:
    """A data set that ships, or that of a file `.npz` (arrays x and labels) or `.csv` (label in the last column).

    Raises:
        ConfigError: if the source is no data set, malformed, or too large; nothing is unpickled.
    """
    if source in BUNDLED:
        return BUNDLED[str(source)]()
    path = Path(source)
    readers = {".npz": _read_npz, ".csv": _read_csv}
    if path.suffix not in readers:
        raise ConfigError(f"expected {', '.join(BUNDLED)}, FILE.npz or FILE.csv, got {str(source)!r}")
    return _checked(*readers[path.suffix](path), path)


def _checked(points: NDArray[Any], labels: NDArray[Any], path: Path) -> LabelledData:
    if points.ndim < 2 or len(points) == 0 or labels.shape != points.shape[:1] or points.dtype.kind not in "biuf":
        raise ConfigError(
            f"{path}: expected {_EXPECTED}, got {points.dtype} {points.shape} and {labels.dtype} {labels.shape}"
        )
    if points.size > reading.MOST_NUMBERS:
        raise ConfigError(
            f"{path} holds {points.size:.3g} numbers; take a subset of at most {reading.MOST_NUMBERS:.0e}"
        )
    whole = labels.astype(np.float64) if labels.dtype.kind in "biuf" else np.full(len(labels), np.nan)
    if not (np.array_equal(whole, np.round(whole)) and (np.abs(whole) < _LARGEST_LABEL).all()):
        raise ConfigError(f"{path}: labels must be whole numbers below {_LARGEST_LABEL:g}, got {labels[:3].tolist()}")
    if bad := int((~np.isfinite(points.reshape(len(points), -1))).any(1).sum()):
        raise ConfigError(f"{path}: {bad} of {len(points)} points hold NaN or infinity; clean or drop them first")
    return LabelledData(source=str(path), x=points.astype(np.float64), labels=whole.astype(np.int64))


def _read_npz(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    points, labels = reading.read_arrays(path, _POINTS, _LABELS, expected=_EXPECTED)
    return points, labels


def _read_csv(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    table = reading.read_table(path, "numbers, the label in the last column")
    if table.shape[1] < 2:
        raise ConfigError(f"{path}: expected rows of at least one number and a label, got shape {table.shape}")
    return table[:, :-1], table[:, -1]
