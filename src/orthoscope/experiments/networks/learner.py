"""One network and the law that it learns, from its specification to a denoiser.

Everything about it follows from its fields, weights included: they are trained again where no file keeps them, and are
then the same to the last bit on one machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from orthoscope import rng
from orthoscope.checks import check_memory, whole
from orthoscope.errors import StoppedError
from orthoscope.laws import check_std
from orthoscope.learned import Labelled, Learned, Perceptron, Supply, Trainer, Training, train
from orthoscope.learned.checkpoint import read_checkpoint, write_checkpoint
from orthoscope.learned.perceptron import Shape
from orthoscope.progress import Progress
from orthoscope.records import Record
from orthoscope.serialize import content_hash, plain
from orthoscope.targets import Mixture, random_mixture
from orthoscope.threads import one_thread

_HELD_OUT = 2048  # points by which the log judges
TRAINING = Training(steps=4000, batch=384, learning_rate=5e-3, every=500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner(Record):
    """A network, its training, and the random mixture that it learns, drawn anew by every seed.

    Attributes:
        classes: Number of classes, one mode each, centroids N(0, 1) per coordinate.
        dim: Dimension.
        std: Within-class standard deviation.
        width: Units per layer.
        depth: Blocks of two layers.
        points: Points of each class to train on; None for new ones at every update.
        training: How it is trained; its `null_share` is the label dropout, its `seed` that of everything.
    """

    classes: int = 128
    dim: int = 16
    std: float = 0.5
    width: int = 64
    depth: int = 2
    points: int | None = None
    training: Training = TRAINING

    def __post_init__(self) -> None:
        """Reject what cannot be learned."""
        check_std(self.std)
        for name, least in (("classes", 2), ("dim", 1), ("width", 1), ("depth", 1)):
            object.__setattr__(self, name, whole(name, getattr(self, name), least))
        if self.points is not None:
            object.__setattr__(self, "points", whole("points", self.points, 1))
        weights, table = self.width * (self.width * 2 * self.depth + self.dim), self.classes * (self.dim + self.width)
        points = (self.points or 1) * self.classes * self.dim
        check_memory("this network and its data", 4.0 * (4 * weights + 4 * table + points), "width", "classes", "dim")

    @property
    def seed(self) -> int:
        """Root seed."""
        return self.training.seed

    @property
    def scale(self) -> float:
        """Size of the data per coordinate."""
        return math.sqrt(1 + self.std**2)

    @property
    def key(self) -> str:
        """A name that determines the weights."""
        return content_hash(plain(self))

    def law(self) -> Mixture:
        """What is to be learned."""
        stream = rng.stream(self.seed, "law", self.classes, self.dim)
        return random_mixture(self.dim, std=self.std, stream=stream, classes=self.classes)

    def supply(self) -> Supply:
        """Where points to train on come from, in units of `scale`."""
        fresh = Fresh(self.law(), self.scale)
        if self.points is None:
            return fresh
        labels = np.repeat(np.arange(self.classes), self.points)
        return fresh.of(labels, rng.stream(self.seed, "points", self.points))

    def start(self) -> Trainer:
        """The network before its training."""
        shape = Shape(dim=self.dim, classes=self.classes, width=self.width, depth=self.depth)
        return Trainer(Perceptron(shape, seed=rng.key(self.seed, "weights") % 2**63), self.training)

    def trained(self, file: Path | None = None, *, progress: Progress | None = None) -> Trainer:
        """The network after it, on one thread.

        Args:
            file: Where weights are kept: what is there is gone on with, or used as it is if it is complete.
            progress: Called with updates done and updates in all.

        Raises:
            ConfigError: if the file is damaged, or of another network.
            StoppedError: if training diverges; the file keeps the last state before.
        """
        held_out = Fresh(self.law(), self.scale).part(_HELD_OUT, rng.stream(self.seed, "held out"))
        return finish(self.start(), self.supply(), held_out, file, of=self, progress=progress)

    def denoiser(self, trainer: Trainer) -> Learned:
        """The trained network as a denoiser of the law."""
        return Learned(network=trainer.average, null=self.classes, scale=self.scale)


def finish(
    trainer: Trainer, supply: Supply, held_out: Labelled, file: Path | None = None, *, of: Any = None,
    progress: Progress | None = None,
) -> Trainer:  # fmt: skip
    """Train to the end on one thread, keeping weights in a file and going on from what is there.

    Args:
        trainer: The training, at its start.
        supply: Where points come from.
        held_out: Points by which the log judges.
        file: Where weights are kept.
        of: A record of the network and its data, so that nothing else goes on from the file.
        progress: Called with updates done and updates in all.

    Raises:
        ConfigError: if the file is damaged, or of another network.
        StoppedError: if training diverges; the file keeps the last state before.
    """
    if file is not None and file.is_file():
        read_checkpoint(trainer, file, of=of)
    try:
        with one_thread():
            for _ in train(trainer, supply, held_out, progress=progress):
                if file is not None:
                    write_checkpoint(trainer, file, of=of)
    except StoppedError as error:
        if file is None or not trainer.log:
            raise
        raise StoppedError(f"{error}; {file} keeps the state after {trainer.log[-1].step} updates") from error
    return trainer


@dataclass(frozen=True, slots=True)
class Fresh:
    """Points of a mixture that are never seen twice, in units of a scale; class k is mode k.

    Attributes:
        law: The mixture.
        scale: Size of the data.
    """

    law: Mixture
    scale: float

    def of(self, labels: np.ndarray, generator: np.random.Generator) -> Labelled:
        """One point of each of these classes."""
        own = torch.from_numpy(labels)
        normal = torch.from_numpy(generator.standard_normal((len(labels), self.law.dim), dtype=np.float32))
        x = (self.law.centroids[own] + self.law.std * normal) / self.scale
        return Labelled(x=x, labels=own, classes=self.law.size)

    def batch(self, size: int, generator: np.random.Generator) -> Labelled:
        """Points of one update, of classes drawn evenly."""
        return self.of(generator.integers(0, self.law.size, size), generator)

    def part(self, size: int, generator: np.random.Generator) -> Labelled:
        """Points by which what was learned is judged."""
        return self.batch(size, generator)

    def to(self, device: str) -> Fresh:
        """The same on another device."""
        return Fresh(self.law.to(device), self.scale)
