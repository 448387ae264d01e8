"""A small network for points: a residual perceptron that is told the noise and the class in every block."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orthoscope.checks import whole
from orthoscope.typing import Labels, PerRow, Rows

_WAVES = 8  # frequencies by which the angle of the noise is told


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Size of a perceptron.

    Attributes:
        dim: Number of coordinates.
        classes: Number of classes; also the label that stands for none of them.
        width: Units per layer.
        depth: Blocks of two layers.
    """

    dim: int
    classes: int
    width: int = 64
    depth: int = 2

    def __post_init__(self) -> None:
        """Reject sizes that are none."""
        for name in ("dim", "classes", "width", "depth"):
            object.__setattr__(self, name, whole(name, getattr(self, name), 1))


class Perceptron(nn.Module):
    """The velocity of a state from the state, the angle of its noise and its label.

    Source:
        scales and shifts by condition [perez2018film], Section 2.
    """

    waves: Tensor

    def __init__(self, shape: Shape, *, seed: int) -> None:
        """Draw weights from a stream of torch that nothing else sees."""
        super().__init__()
        width = shape.width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.label = nn.Embedding(shape.classes + 1, width)
            self.noise = nn.Linear(2 * _WAVES, width)
            self.read = nn.Linear(shape.dim, width)
            self.blocks = nn.ModuleList(_Block(width) for _ in range(shape.depth))
            self.write = nn.Linear(width, shape.dim)
        self.register_buffer("waves", 2.0 * torch.arange(1, _WAVES + 1), persistent=False)

    def forward(self, state: Rows, sigma: PerRow, labels: Labels) -> Rows:
        """The velocity of each row."""
        which = None
        if len(sigma) and bool((sigma == sigma[0]).all()):  # rows of one level and one class are told the same
            labels, which = torch.unique(labels, return_inverse=True)
            sigma = sigma[: len(labels)]
        angle = sigma.atan()[:, None] * self.waves
        told = F.silu(self.noise(torch.cat([angle.cos(), angle.sin()], dim=1)) + self.label(labels))
        hidden = self.read(state)
        for block in self.blocks:
            hidden = hidden + block(hidden, told, which)
        return self.write(F.silu(hidden))


class _Block(nn.Module):
    """Two layers; the units between them are scaled and shifted by what the block is told."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.told = nn.Linear(width, 2 * width)
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)

    def forward(self, hidden: Tensor, told: Tensor, which: Tensor | None = None) -> Tensor:
        scale, shift = (self.told(told) if which is None else self.told(told)[which]).chunk(2, dim=1)
        return self.second(F.silu(self.first(F.silu(hidden)) * (1 + scale) + shift))
