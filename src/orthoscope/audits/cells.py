"""The cells of an audit: what is kept of the images of one prompt under one schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.serialize import content_hash
from orthoscope.sweeps.cells import Cells

_FORMAT = 2  # to be raised when equal settings make other images, or are kept otherwise
LOG = "log."  # before the names of what is logged


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCells:
    """Cells of one pipeline, by schedule and prompt.

    Attributes:
        store: Where they are.
        setting: What determines a cell besides its schedule and prompt.
    """

    store: Cells
    setting: Mapping[str, Any] = field(hash=False)

    def key(self, schedule: GuidanceSchedule, prompt: str) -> str:
        """Name of a cell: equal for equal content in every process."""
        about = {"format": _FORMAT, "schedule": format_schedule(schedule), "prompt": prompt, **self.setting}
        code = schedule.identity()
        return content_hash(about | ({"schedule_code": code} if code else {}))

    def has(self, schedule: GuidanceSchedule, prompt: str) -> bool:
        """Whether a cell is there, complete and undamaged."""
        return self.key(schedule, prompt) in self.store

    def features(self, schedule: GuidanceSchedule, prompt: str) -> NDArray[np.float32]:
        """What the images are measured by (n, dim)."""
        return np.asarray(self._array(schedule, prompt, "features"))

    def probabilities(self, schedule: GuidanceSchedule, prompt: str) -> NDArray[np.float64] | None:
        """Posterior over classes (n, classes); None if nobody judged."""
        return self._array(schedule, prompt, "probabilities")

    def thumbnails(self, schedule: GuidanceSchedule, prompt: str) -> NDArray[np.uint8]:
        """The first images, small, as gray levels 0 to 255 (images, height, width, channels)."""
        return np.asarray(self._array(schedule, prompt, "thumbnails"))

    def log(self, schedule: GuidanceSchedule, prompt: str) -> dict[str, NDArray[np.float64]]:
        """What guidance did at every evaluation, averaged over the images, by quantity."""
        arrays = self.store.read(self.key(schedule, prompt)).arrays
        return {name.removeprefix(LOG): values for name, values in arrays.items() if name not in _ARRAYS}

    def cost(self, schedule: GuidanceSchedule, prompt: str) -> dict[str, float]:
        """`network_calls`, `seconds` and `memory` (peak, in bytes)."""
        return dict(self.store.read(self.key(schedule, prompt), names=()).about["cost"])

    def _array(self, schedule: GuidanceSchedule, prompt: str, name: str) -> Any:
        return self.store.read(self.key(schedule, prompt), names=(name,)).arrays.get(name)


_ARRAYS = ("features", "thumbnails", "probabilities")  # the others are logs
