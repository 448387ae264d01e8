"""Cells on disk: one file per schedule and prompt, whole or not there.

A cell's name is a hash of everything that determines its content, so whatever is there is right, and a run with more
schedules or prompts finds what an earlier one made. Files are safetensors: nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from orthoscope import locking, writing
from orthoscope.errors import StoppedError
from orthoscope.serialize import content_hash

_FORMAT = 2  # to be raised when equal settings make other images, or are kept otherwise
_LOG = "log."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cell:
    """What is kept of the images of one prompt under one schedule.

    Attributes:
        features: What images are measured by (n, dim).
        thumbnails: The first images, small, as gray levels 0 to 255 (images, height, width, channels).
        log: What guidance did at every evaluation, averaged over the images.
        cost: `network_calls`, `seconds` and `memory` (peak, in bytes).
        probabilities: Posterior over classes (n, classes), if somebody judged.
    """

    features: NDArray[np.float32]
    thumbnails: NDArray[np.uint8]
    log: Mapping[str, NDArray[np.float64]]
    cost: Mapping[str, float]
    probabilities: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """A folder of cells.

    Attributes:
        folder: Where the files are.
        setting: What determines a cell besides its schedule and prompt.
    """

    folder: Path
    setting: Mapping[str, Any] = field(hash=False)

    def key(self, schedule: str, prompt: str) -> str:
        """Name of a cell: equal for equal content in every process."""
        return content_hash({"format": _FORMAT, "schedule": schedule, "prompt": prompt, **self.setting})

    def has(self, schedule: str, prompt: str) -> bool:
        """Whether a cell is there, complete and undamaged."""
        try:
            tensors, about = self._read(schedule, prompt)
        except (SafetensorError, OSError, ValueError):
            return False
        return about.get("digest") == _digest(tensors)

    def write(self, schedule: str, prompt: str, cell: Cell) -> None:
        """Write a cell.

        Raises:
            ConfigError: if the folder cannot be written.
        """
        tensors: dict[str, NDArray[Any]] = {"features": cell.features, "thumbnails": cell.thumbnails}
        if cell.probabilities is not None:
            tensors["probabilities"] = cell.probabilities
        tensors |= {_LOG + name: values for name, values in cell.log.items()}
        tensors = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
        about = {"schedule": schedule, "prompt": prompt, "cost": dict(cell.cost), "digest": _digest(tensors)}
        writing.write(self._path(schedule, prompt), save(tensors, metadata={"orthoscope": json.dumps(about)}))
        locking.watch(self.folder)

    def features(self, schedule: str, prompt: str) -> NDArray[np.float32]:
        """What the images are measured by (n, dim)."""
        return np.asarray(self._tensor(schedule, prompt, "features"))

    def probabilities(self, schedule: str, prompt: str) -> NDArray[np.float64] | None:
        """Posterior over classes (n, classes); None if nobody judged."""
        return self._tensor(schedule, prompt, "probabilities")

    def thumbnails(self, schedule: str, prompt: str) -> NDArray[np.uint8]:
        """The first images, small, as gray levels 0 to 255 (images, height, width, channels)."""
        return np.asarray(self._tensor(schedule, prompt, "thumbnails"))

    def log(self, schedule: str, prompt: str) -> dict[str, NDArray[np.float64]]:
        """What guidance did at every evaluation, averaged over the images, by quantity."""
        tensors, _ = self._finished(schedule, prompt)
        return {name.removeprefix(_LOG): values for name, values in tensors.items() if name.startswith(_LOG)}

    def cost(self, schedule: str, prompt: str) -> dict[str, float]:
        """`network_calls`, `seconds` and `memory` (peak, in bytes)."""
        _, about = self._finished(schedule, prompt, only=())
        return dict(about["cost"])

    def _tensor(self, schedule: str, prompt: str, name: str) -> Any:
        return self._finished(schedule, prompt, only=(name,))[0].get(name)

    def _finished(self, schedule: str, prompt: str, only: tuple[str, ...] | None = None) -> Any:
        try:
            return self._read(schedule, prompt, only)
        except (SafetensorError, OSError, ValueError) as error:
            path = self._path(schedule, prompt)
            raise StoppedError(f"{path} cannot be read: {error}; the same command makes it again") from error

    def _read(
        self, schedule: str, prompt: str, only: tuple[str, ...] | None = None
    ) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        with safe_open(self._path(schedule, prompt), framework="np") as opened:
            about = json.loads((opened.metadata() or {}).get("orthoscope", "{}"))
            names = [name for name in opened.keys() if only is None or name in only]
            return {name: opened.get_tensor(name) for name in names}, about

    def _path(self, schedule: str, prompt: str) -> Path:
        return self.folder / f"{self.key(schedule, prompt)}.safetensors"


def _digest(tensors: Mapping[str, NDArray[Any]]) -> str:
    """A checksum of names, types, shapes and values."""
    found = hashlib.blake2b(digest_size=16)
    for name, values in sorted(tensors.items()):
        found.update(f"{name} {values.dtype} {values.shape}".encode())
        found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()
