"""A trained network as a denoiser, interchangeable with the truth."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from orthoscope.denoise import Denoiser
from orthoscope.denoise.base import Evaluation, Label, Memory
from orthoscope.errors import ConfigError
from orthoscope.learned.objective import denoised
from orthoscope.process import NoiseLevel
from orthoscope.typing import Events

# Velocity round the circle (see `objective`) of states z, with the noise standard deviation and label of each row.
Network: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False, kw_only=True)
class Learned(Denoiser):
    """A denoiser that asks a network.

    Attributes:
        network: The network.
        null: The label that stands for no class: what it is asked where the label is None.
        scale: Size of the data, in units of which it was trained.
    """

    network: Network
    null: int
    scale: float = 1.0

    def evaluate(self, x: Events, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        """The denoised mean at any level; outside the levels of training it is what the network makes of them.

        Raises:
            ConfigError: if a label is none of the classes that the network was trained on.
        """
        labels = torch.as_tensor(self.null if label is None else label, device=x.device).expand(len(x))
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) <= self.null:
            raise ConfigError(
                f"`label` must be one of the {self.null} classes, counted from 0, that the network was trained on, got "
                f"{int(labels.min())} to {int(labels.max())}",
                field="label",
            )
        sigma = torch.as_tensor(np.asarray(level.sigma), dtype=x.dtype, device=x.device).expand(len(x)) / self.scale
        state = x / self.scale / (1 + sigma.square()).sqrt().reshape(-1, *[1] * (x.ndim - 1))
        with nullcontext() if x.requires_grad else torch.no_grad():  # gradients of weights are asked by nobody here
            found = denoised(state, self.network(state, sigma, labels), sigma)
        return Evaluation(denoised=self.scale * found, memory=memory)
