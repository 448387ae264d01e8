"""The exact denoiser of a mixture whose modes are its classes, for rows of any labels at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from orthoscope.denoise.base import Denoiser, Evaluation, ExactDenoiser, Label, Memory
from orthoscope.prediction import per_row
from orthoscope.process import NoiseLevel
from orthoscope.targets.mixture import Mixture
from orthoscope.typing import Centroids, Rows


@dataclass(frozen=True, eq=False)
class OwnMode(Denoiser):
    """The exact denoiser where class k is mode k: the mode of a row is looked up, and no class is cut out.

    Attributes:
        target: The mixture, absorbed or not; its labels are not looked at.
    """

    target: Mixture
    _centroids: Centroids = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Copy the centroids once."""
        object.__setattr__(self, "_centroids", self.target.centroids)

    def evaluate(self, x: Rows, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        """The mean of the own mode, or of all of them.

        Raises:
            ConfigError: if the level counts width as noise that the target still has.
        """
        exact = ExactDenoiser(self.target)
        if label is None:
            return exact.evaluate(x, level, None, memory)
        exact.check(level)
        width, noise = self.target.width, per_row(level.variance, x)
        mu = self._centroids[label].expand_as(x)
        denoised = (width * x + noise * mu) / (noise + width) if width else mu
        return Evaluation(denoised=denoised, memory=memory, modes_read=len(x))
