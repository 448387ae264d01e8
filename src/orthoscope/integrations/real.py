"""Real images by class: those that a pipeline learned from, and those held out from it, where they are at hand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from orthoscope.integrations.features import Features, LatentFeatures
from orthoscope.integrations.shipped import MODELS
from orthoscope.metrics import ClassImages

if TYPE_CHECKING:
    from orthoscope.integrations.host import Host


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RealImages:
    """Real images by class.

    Attributes:
        latents: Final states that a pipeline without error would make (n, ...).
        labels: The class of each.
        seen: Numbers of those that the pipeline learned from.
        held_out: Numbers of those that it never saw.
    """

    latents: NDArray[np.float32]
    labels: NDArray[np.int64]
    seen: NDArray[np.intp]
    held_out: NDArray[np.intp]

    @property
    def pixels(self) -> NDArray[np.float32]:
        """The images (n, height, width, channels) in [0, 1]; their latents are pixels in [-1, 1]."""
        return (np.moveaxis(self.latents, 1, 3) / 2 + 0.5).astype(np.float32)

    def rows(self, features: Features) -> NDArray[np.float32]:
        """Their features, one row per image."""
        if isinstance(features, LatentFeatures):
            return self.latents.reshape(len(self.latents), -1)
        return features.of_images(self.pixels)

    def by_class(self, features: Features) -> ClassImages:
        """What distances from the class are measured from.

        Raises:
            ConfigError: if a class has fewer than two images.
        """
        rows, labels = self.rows(features), self.labels
        unseen = (rows[self.held_out], labels[self.held_out]) if len(self.held_out) else None
        return ClassImages(rows=rows[self.seen], labels=labels[self.seen], unseen=unseen)


def real_images(host: Host) -> RealImages | None:
    """What a host has learned to make; None where no labelled images of that are at hand."""
    return None if host.shipped is None else _real(host.shipped.name)


@cache
def _real(name: str) -> RealImages:
    model = MODELS[name]
    images, labels = model.images()
    seen, held_out = model.split()
    return RealImages(latents=images, labels=labels, seen=seen, held_out=held_out)
