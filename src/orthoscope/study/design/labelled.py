"""Labelled data sets from files, as exact mixtures: every point a mode, centered and of unit mean variance."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from orthoscope.errors import ConfigError
from orthoscope.study.digits import load_digits_mixture
from orthoscope.targets import Mixture, empirical_mixture

BUNDLED = "digits"
_POINTS, _LABELS = ("x", "data", "points"), ("y", "labels", "label", "target")
_MOST_NUMBERS = 5e7  # entries of a data set that can be read at every step of thousands of runs
_LARGEST_LABEL = 2.0**31


def load_mixture(source: str) -> Mixture:
    """A data set by the name `digits`, or from a file `.npz` (arrays x and y) or `.csv` (label in the last column).

    Raises:
        ConfigError: if the source is no data set, malformed, or too large.
    """
    if source == BUNDLED:
        return load_digits_mixture()
    path = Path(source)
    readers = {".npz": _read_npz, ".csv": _read_csv}
    if path.suffix not in readers:
        raise ConfigError(f"expected --data {BUNDLED}, FILE.npz or FILE.csv, got {source!r}")
    try:
        points, labels = readers[path.suffix](path)
    except FileNotFoundError as error:
        raise ConfigError(f"no such file: {path}") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    return _scaled(points, labels, path)


def _scaled(points: NDArray[Any], labels: NDArray[Any], path: Path) -> Mixture:
    if points.ndim < 2 or len(points) != len(labels) or labels.ndim != 1:
        raise ConfigError(
            f"{path}: expected one row of numbers and one label per point, got shapes {points.shape} and {labels.shape}"
        )
    if points.dtype.kind not in "biuf":
        raise ConfigError(f"{path}: expected rows of numbers, got points of the type {points.dtype}")
    points = points.reshape(len(points), -1).astype(np.float64)
    if points.size > _MOST_NUMBERS:
        raise ConfigError(f"{path} holds {points.size:.3g} numbers; take a subset of at most {_MOST_NUMBERS:.0e}")
    whole = labels.astype(np.float64) if labels.dtype.kind in "biuf" else np.full(len(labels), np.nan)
    if not (np.array_equal(whole, np.round(whole)) and (np.abs(whole) < _LARGEST_LABEL).all()):
        raise ConfigError(f"{path}: labels must be whole numbers below {_LARGEST_LABEL:g}, got {labels[:3].tolist()}")
    if (bad := int((~np.isfinite(points)).any(1).sum())) > 0:
        raise ConfigError(f"{path}: {bad} of {len(points)} points hold NaN or infinity; clean or drop them first")
    centered = points - points.mean(0)
    scale = float(np.sqrt(centered.var(0).mean()))
    if not scale > 0:
        raise ConfigError(f"{path}: all points are the same: there is nothing to design for")
    return empirical_mixture(torch.from_numpy(centered / scale).float(), torch.from_numpy(whole.astype(np.int64)))


def _read_npz(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = {name.lower(): name for name in stored.files}
            points, labels = (next((found[n] for n in names if n in found), None) for names in (_POINTS, _LABELS))
            if points is None or labels is None:
                raise ConfigError(f"{path}: expected arrays x and y, got {', '.join(stored.files) or 'none'}")
            return stored[points], stored[labels]
    except (ValueError, EOFError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path} is no readable .npz file: {error}") from error


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
