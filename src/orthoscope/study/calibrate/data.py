"""Labelled data for the twin, from a file of arrays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orthoscope.errors import ConfigError

_EXPECTED = "expected arrays x (one point per row, in the scheduler's units) and labels (one class number per row)"


def read_labelled(path: str | Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Points and their classes, the classes numbered from 0.

    Raises:
        ConfigError: if the file cannot be read without unpickling, or does not hold such data.
    """
    file = Path(path)
    if not os.path.isfile(file):
        raise ConfigError(f"no such file: {file}; {_EXPECTED}")
    try:
        with np.load(file, allow_pickle=False) as stored:
            if not hasattr(stored, "files") or not {"x", "labels"} <= set(stored.files):
                raise ConfigError(f"{file} does not hold them; {_EXPECTED}")
            x, labels = np.asarray(stored["x"]), np.asarray(stored["labels"])
    except ConfigError:
        raise
    except Exception as error:  # a damaged archive fails in many ways
        raise ConfigError(f"cannot read {file}: {error}; {_EXPECTED}, saved by numpy.savez") from error
    return _checked(file, x, labels)


def _checked(file: Path, x: NDArray[Any], labels: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    if x.ndim < 2 or labels.shape != x.shape[:1] or x.dtype.kind not in "fiu" or labels.dtype.kind not in "iu":
        raise ConfigError(f"{file}: {_EXPECTED}, got {x.dtype} {x.shape} and {labels.dtype} {labels.shape}")
    names, counts = np.unique(labels, return_counts=True)
    if len(names) < 2 or not np.array_equal(names, np.arange(len(names))):
        raise ConfigError(f"{file}: labels must be 0, 1, ... without a gap, at least two of them")
    if not np.isfinite(x).all():
        raise ConfigError(f"{file}: x holds NaN or infinity; drop those rows first")
    if counts.min() < 2:
        raise ConfigError(f"{file}: class {names[np.argmin(counts)]} has a single point; each needs at least 2")
    return x.astype(np.float32), labels.astype(np.int64)
