"""Labelled data from files, read without unpickling and checked, or by the name of a set that ships."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from orthoscope.errors import ConfigError
from orthoscope.targets.bundled import BUNDLED
from orthoscope.targets.labelled import LabelledData

FILES = (".npz", ".csv")
_POINTS, _LABELS = ("x", "data", "points"), ("labels", "y", "label", "target")
_MOST_NUMBERS = 5e7  # entries of a data set that can be read at every step of thousands of runs
_LARGEST_LABEL = 2.0**31
_EXPECTED = "expected arrays x, one point per row, and labels (or y), one whole number per row"


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
    try:
        points, labels = readers[path.suffix](path)
    except ConfigError:
        raise
    except FileNotFoundError as error:
        raise ConfigError(f"no such file: {path}; {_EXPECTED}") from error
    except (OSError, ValueError, EOFError, AttributeError, BadZipFile) as error:  # damaged, or something else
        raise ConfigError(f"cannot read {path}: {error}; {_EXPECTED}") from error
    return _checked(points, labels, path)


def _checked(points: NDArray[Any], labels: NDArray[Any], path: Path) -> LabelledData:
    if points.ndim < 2 or len(points) == 0 or labels.shape != points.shape[:1] or points.dtype.kind not in "biuf":
        raise ConfigError(f"{path}: {_EXPECTED}, got {points.dtype} {points.shape} and {labels.dtype} {labels.shape}")
    if points.size > _MOST_NUMBERS:
        raise ConfigError(f"{path} holds {points.size:.3g} numbers; take a subset of at most {_MOST_NUMBERS:.0e}")
    whole = labels.astype(np.float64) if labels.dtype.kind in "biuf" else np.full(len(labels), np.nan)
    if not (np.array_equal(whole, np.round(whole)) and (np.abs(whole) < _LARGEST_LABEL).all()):
        raise ConfigError(f"{path}: labels must be whole numbers below {_LARGEST_LABEL:g}, got {labels[:3].tolist()}")
    if bad := int((~np.isfinite(points.reshape(len(points), -1))).any(1).sum()):
        raise ConfigError(f"{path}: {bad} of {len(points)} points hold NaN or infinity; clean or drop them first")
    return LabelledData(source=str(path), x=points.astype(np.float64), labels=whole.astype(np.int64))


def _read_npz(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    with np.load(path, allow_pickle=False) as stored:
        found = {name.lower(): name for name in stored.files}
        points, labels = (next((found[n] for n in names if n in found), None) for names in (_POINTS, _LABELS))
        if points is None or labels is None:
            raise ConfigError(f"{path}: {_EXPECTED}, got {', '.join(stored.files) or 'none'}")
        return stored[points], stored[labels]


def _read_csv(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.reader(stream) if row]
    first = 1 if rows and not _is_number(rows[0][0]) else 0
    try:
        table = np.array([[float(cell) for cell in row] for row in rows[first:]])
    except ValueError as error:
        raise ConfigError(f"{path}: expected numbers with the label in the last column: {error}") from error
    if table.ndim != 2 or table.shape[1] < 2:
        raise ConfigError(f"{path}: expected rows of at least one number and a label, got shape {table.shape}")
    return table[:, :-1], table[:, -1]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
