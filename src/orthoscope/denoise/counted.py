r"""A denoiser of a whole law, restated for a process that counts some of the law's width as noise.

The score is the same whoever counts what as noise. With $D$ the denoised mean at variance time $t$ and $v = t + s^2$
the variance that the process sees, $(D - x)/t = (D' - x)/v$, and so

$$ D' = x + \frac{v}{t}\,(D - x) . $$

A sampler then takes steps in $v$, exact where they were approximate, and still whatever combines denoised means sees
those of the law itself. A rule that is not linear needs them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from orthoscope.denoise.base import Denoiser, Evaluation, Label, Memory
from orthoscope.errors import ConfigError
from orthoscope.prediction import per_row
from orthoscope.process import NoiseLevel
from orthoscope.typing import Events


@dataclass(frozen=True, eq=False)
class Counted(Denoiser):
    """A denoiser of the whole law, for levels with an offset.

    Attributes:
        denoiser: What is asked, at the same times without offset.

    Accuracy:
        Rounding of D - x, magnified by v / t: levels have to end above clean data.
    """

    denoiser: Denoiser

    def evaluate(self, x: Events, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        """The denoised mean with the offset counted as noise.

        Raises:
            ConfigError: at clean data, where there is none.
        """
        if np.any(np.asarray(level.time) < np.finfo(np.float64).tiny):
            raise ConfigError("the score of a whole law is not told by its denoised mean at clean data; end above it")
        found = self.denoiser.evaluate(x, replace(level, offset=0.0), label, memory)
        return replace(found, denoised=x + per_row(level.variance / level.time, x) * (found.denoised - x))
