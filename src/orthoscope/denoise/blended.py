r"""Two denoisers in one, in shares that depend on the noise level.

A network that has learned a fraction $\ell$ of an unconditional law beyond its mean and covariance answers like
`Blended(ExactDenoiser(mixture), ExactDenoiser(mixture.gaussian()), learned)`, up to errors that do not correlate with
the law (explanation/score-errors). Blending denoised means blends scores in the same shares, whoever counts what as
noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from orthoscope.denoise.base import Denoiser, Evaluation, Label, Memory, check_denoiser
from orthoscope.errors import ConfigError
from orthoscope.prediction import per_row
from orthoscope.process import NoiseLevel
from orthoscope.registered import name_of
from orthoscope.typing import Events


@dataclass(frozen=True, eq=False)
class Blended(Denoiser):
    """share * first + (1 - share) * second; what has no share is not asked. Its memory is a pair of theirs.

    Attributes:
        first: The one that `share` is of.
        second: The other one.
        share: A number, or a function of the noise level that gives one, or one per row.
    """

    first: Denoiser
    second: Denoiser
    share: float | Callable[[NoiseLevel], Any]

    def __post_init__(self) -> None:
        """Reject what is no denoiser, and what is no share."""
        check_denoiser(self.first, "first")
        check_denoiser(self.second, "second")
        if not callable(self.share):
            self._checked(self.share)

    def evaluate(self, x: Events, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        """The blended denoised mean.

        Raises:
            ConfigError: if the share at this level is no finite number.
        """
        share = self._checked(self.share(level) if callable(self.share) else self.share)
        kept = [None, None] if memory is None else list(memory)
        parts: list[tuple[Any, Evaluation]] = []
        for k, (denoiser, weight) in enumerate(((self.first, share), (self.second, 1 - share))):
            if np.any(weight != 0):
                found = denoiser.evaluate(x, level, label, kept[k])
                kept[k] = found.memory
                parts.append((weight, found))
        weight, found = parts[0]
        # A share of 1 gives the very numbers of the one that is asked.
        denoised = found.denoised if np.all(weight == 1) else sum(per_row(w, x) * part.denoised for w, part in parts)
        return Evaluation(
            denoised=denoised,
            memory=tuple(kept),
            calls=sum(part.calls for _, part in parts),
            modes_read=sum(part.modes_read for _, part in parts),
        )

    def _checked(self, share: Any) -> Any:
        try:
            found = np.asarray(share, dtype=np.float64)
        except (TypeError, ValueError):
            found = np.asarray(np.nan)
        if not np.isfinite(found).all():
            told = f"{share!r:.40}" + (f" from {name_of(self.share)}" if callable(self.share) else "")
            raise ConfigError(
                f"`share` must be a finite number, or a function of the level that gives one, got {told}", field="share"
            )
        return found if found.ndim else float(found)
