"""Denoised means that stay where data can be."""

from __future__ import annotations

from dataclasses import dataclass, replace

from orthoscope.denoise.base import Denoiser, Evaluation, Label, Memory
from orthoscope.errors import ConfigError
from orthoscope.process import NoiseLevel
from orthoscope.typing import Events


@dataclass(frozen=True, eq=False)
class Bounded(Denoiser):
    """A denoiser whose longer answers are cut to one length.

    What a network says of states that no data make can be anything, and guidance, which multiplies it, takes them
    further. Data are never that long, so nothing else is changed.

    Attributes:
        denoiser: Whose answers they are.
        largest: Length of the longest denoised mean, over all coordinates.
    """

    denoiser: Denoiser
    largest: float

    def __post_init__(self) -> None:
        """Reject what is no length."""
        if not self.largest > 0:
            raise ConfigError(f"`largest` must be > 0, got {self.largest}", field="largest")

    def evaluate(self, x: Events, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        """The denoised mean, at most that long."""
        found = self.denoiser.evaluate(x, level, label, memory)
        lengths = found.denoised.flatten(1).norm(dim=1).reshape(-1, *[1] * (x.ndim - 1))
        return replace(found, denoised=found.denoised * (self.largest / lengths).clamp(max=1))
