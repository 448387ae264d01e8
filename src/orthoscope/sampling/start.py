"""Where a run starts: the prior, as a pipeline does, or the exact noised law of the class."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from orthoscope.errors import unknown
from orthoscope.laws import STARTS, Start
from orthoscope.process import NoiseLevel
from orthoscope.targets import Target
from orthoscope.typing import Rows


def start(
    kind: Start, law: Target, level: NoiseLevel, streams: Sequence[np.random.Generator], *, prior_variance: float
) -> Rows:
    """One starting state per stream.

    Args:
        kind: `prior`: N(0, (time + prior_variance) I), blind to the class. `exact`: the noised conditional law itself.
        law: The clean conditional law.
        level: Noise level of the start; its full time counts, not its offset.
        streams: One stream per row.
        prior_variance: Variance per coordinate of the clean unconditional law.

    Raises:
        ConfigError: if the kind is unknown.
    """
    if kind not in STARTS:
        raise unknown("start", kind, STARTS)
    normal = torch.from_numpy(np.stack([stream.standard_normal(law.dim) for stream in streams]))
    if kind == "prior":
        return (math.sqrt(level.time + prior_variance) * normal).to(law.dtype)
    uniform = torch.from_numpy(np.array([stream.random() for stream in streams]))
    added = torch.from_numpy(np.stack([stream.standard_normal(law.dim) for stream in streams]))
    clean = law.transport(uniform, normal)
    return clean + (math.sqrt(level.time) * added).to(clean)
