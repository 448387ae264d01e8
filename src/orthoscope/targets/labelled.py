"""Labelled data sets: points with a class each, and as mixtures in which each is a mode."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from orthoscope.errors import ConfigError
from orthoscope.targets.empirical import empirical_mixture
from orthoscope.targets.mixture import Mixture, mixture


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledData:
    """Points with a class each.

    Attributes:
        source: Where they come from, for messages.
        x: The points (n, ...), finite.
        labels: Class of each point (n,).
        names: What the classes are called, in order; () where they are numbers.
        held_out: Whether a point is one that what ships was not trained on (n,); None where nothing is.
    """

    source: str
    x: NDArray[np.float64]
    labels: NDArray[np.int64]
    names: tuple[str, ...] = ()
    held_out: NDArray[np.bool_] | None = None

    @property
    def center(self) -> NDArray[np.float64]:
        """The mean point."""
        return np.asarray(self.x.mean(0))

    @property
    def scale(self) -> float:
        """Root of the variance of a coordinate, averaged over coordinates."""
        return float(np.sqrt((self.x - self.center).var(0).mean()))

    def standardized(self) -> LabelledData:
        """The same centered, and of unit variance on average over coordinates.

        Raises:
            ConfigError: if all points are the same.
        """
        if not self.scale > 0:
            raise ConfigError(f"{self.source}: all points are the same: there is nothing to design for")
        return replace(self, x=(self.x - self.center) / self.scale)

    def check_numbered(self) -> None:
        """Refuse classes that are not 0, 1, ... without a gap, with two points or more each.

        Raises:
            ConfigError: saying which.
        """
        names, counts = np.unique(self.labels, return_counts=True)
        if len(names) < 2 or not np.array_equal(names, np.arange(len(names))):
            raise ConfigError(f"{self.source}: labels must be 0, 1, ... without a gap, at least two of them")
        if counts.min() < 2:
            raise ConfigError(f"{self.source}: class {np.argmin(counts)} has a single point; each needs at least 2")

    def mixture(self) -> Mixture:
        """Every point as a mode, in float32, of a width by leave-one-out."""
        rows = torch.from_numpy(self.x.reshape(len(self.x), -1)).float()
        return empirical_mixture(rows, torch.from_numpy(self.labels))


def standardized(data: Mixture) -> Mixture:
    """Labelled modes centered, and with centroids of unit variance on average over coordinates, in float32.

    Raises:
        ConfigError: if all centroids are the same.
    """
    logs, points = data.log_weights, data.centroids.double()
    weights = logs.exp()
    points = points - weights @ points
    scale = float((weights @ points.square()).mean().sqrt())
    if not scale > 0:
        raise ConfigError("all points are the same: there is nothing to design for")
    shares = None if bool((logs == logs[0]).all()) else weights
    return mixture((points / scale).float(), std=data.std / scale, labels=data.labels, weights=shares)
