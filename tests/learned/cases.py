"""A law whose denoiser is known, and a network small enough to learn it in seconds."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from orthoscope import rng
from orthoscope.learned import Labelled, Training
from orthoscope.targets import Mixture, mixture

CLASSES, STD = 2, 0.5


def law() -> Mixture:
    """Two labelled Gaussians in the plane."""
    centroids = torch.tensor([[1.0, 0.5], [-1.0, 0.5]])
    return mixture(centroids, std=STD, labels=torch.arange(CLASSES))


def points(n: int, seed: int) -> Labelled:
    generator = rng.stream(seed, "points")
    labels = torch.from_numpy(generator.integers(0, CLASSES, n))
    noise = torch.from_numpy(generator.standard_normal((n, 2))).float()
    return Labelled(x=law().centroids[labels] + STD * noise, labels=labels, classes=CLASSES)


class Perceptron(nn.Module):
    """Velocity of a point from the point, the angle of its noise, and its label."""

    def __init__(self, seed: int = 0, width: int = 64) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.label = nn.Embedding(CLASSES + 1, 8)
            self.layers = nn.Sequential(
                nn.Linear(12, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2)
            )

    def forward(self, state: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        angle = sigma.atan()[:, None]
        return self.layers(torch.cat([state, angle.cos(), angle.sin(), self.label(labels)], dim=1))


def short(**changes: float) -> Training:
    """A training of a moment."""
    return Training(**({"steps": 8, "batch": 16, "warmup": 2, "memory": 4, "every": 4} | changes))
