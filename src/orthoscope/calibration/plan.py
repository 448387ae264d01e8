"""What a calibration does: prompts, strengths and seeds, checked before anything is loaded for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from orthoscope.checks import real, settle
from orthoscope.errors import ConfigError

FEWEST = 8  # paths, and images, that an interval needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What a pipeline's predictions are examined by.

    Attributes:
        model: Path or hub id of a pipeline; None for the digits model that ships with the package.
        prompts: What is asked for; the classes if empty and few.
        images_per_prompt: Images of every prompt at every strength.
        steps: Steps of the scheduler.
        scheduler: Class of diffusers that replaces the pipeline's own scheduler.
        strengths: Constant strengths at which diversity is measured; windows are sought at the last.
        data: An .npz file with labelled data for the twin; they also bound the error of the unconditional branch where
            it cannot be measured.
        path_steps: Steps of the reverse paths that are followed at strength 0 and the last; fewer where classes are
            many.
        paths: Paths that are followed where classes are many, a class drawn for each.
        exhaustive: Whether the prompts, each as likely as the others, are all that is ever asked for: what the
            unconditional prediction knows of texts can be measured only then.
        high: Share of the commitment still to come where the range of windows begins.
        low: The same where it ends.
        seed: Root seed.
    """

    name: str = field(default="calibrate", init=False)
    model: str | None = None
    prompts: tuple[str, ...] = ()
    images_per_prompt: int = 4
    steps: int = 30
    scheduler: str | None = None
    strengths: tuple[float, ...] = (1.0, 3.0)
    data: str | None = None
    path_steps: int = 80
    paths: int = 24
    exhaustive: bool = False
    high: float = 0.95
    low: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject what says nothing."""
        settle(self)
        for strength in self.strengths:
            real("strengths", strength)
        if self.images_per_prompt < 3:
            raise ConfigError(f"`images_per_prompt` must be at least 3 to tell errors, got {self.images_per_prompt}")
        if self.steps < 4 or self.path_steps < 4:
            raise ConfigError(f"steps must be at least 4 to make a profile, got {min(self.steps, self.path_steps)}")
        if self.exhaustive and self.data is not None:
            raise ConfigError("`exhaustive` and `data` cannot be joined: a twin has classes of its own; leave out one")
        if self.exhaustive and len(set(self.prompts)) < max(len(self.prompts), 2):
            raise ConfigError(
                f"`exhaustive` needs two or more different `prompts`, got {len(set(self.prompts))} different of "
                f"{len(self.prompts)}; give all that is ever asked for"
            )
        if self.paths < FEWEST:
            raise ConfigError(f"`paths` must be at least {FEWEST} to make an interval, got {self.paths}")
        if not self.strengths or len(set(self.strengths)) < len(self.strengths):
            raise ConfigError("strengths must be one or more different numbers, such as `strengths` 1 3")
        if not all(math.isfinite(strength) and strength > 0 for strength in self.strengths):
            raise ConfigError(f"strengths must be above 0, which is run anyway, got {min(self.strengths):g}")
        if not 0 < self.low < self.high < 1:
            raise ConfigError(f"expected shares 0 < low < high < 1, got low={self.low:g} and high={self.high:g}")
