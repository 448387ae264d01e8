"""Training: Adam on a warmed-up cosine rate, averaged weights, and nothing left to chance.

The randomness of a step is a stream named by the seed and the step's number. A run that stopped therefore goes on from
its checkpoint to the same weights, bit for bit on one thread, and no global state is touched. The network must have no
randomness of its own, such as dropout.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from orthoscope import rng
from orthoscope.checks import MOST_COUNT, whole
from orthoscope.errors import ConfigError, StoppedError
from orthoscope.learned.objective import Labelled, Lesson, Supply, lesson
from orthoscope.progress import Progress
from orthoscope.records import Record

_EXAM_LEVELS = 8  # angles at which every point of an exam is noised
_LARGEST_GRADIENT = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Training(Record):
    """How a network is trained.

    Attributes:
        steps: Updates of the weights.
        batch: Points per update.
        learning_rate: Largest rate of Adam; it rises linearly over `warmup` and falls to 0 as a cosine.
        warmup: Updates of the rise.
        null_share: Share of labels that are forgotten, from which the unconditional branch learns.
        memory: Updates over which the weights that are kept are averaged.
        every: Updates between two entries of the log.
        seed: Root seed.
    """

    steps: int = 4000
    batch: int = 64
    learning_rate: float = 2e-3
    warmup: int = 200
    null_share: float = 0.15
    memory: int = 300
    every: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject what cannot be trained with."""
        for name in ("steps", "batch", "memory", "every"):
            whole(name, getattr(self, name), 1, MOST_COUNT)
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ConfigError(
                f"`learning_rate` must be finite and > 0, got {self.learning_rate}", field="learning_rate"
            )
        if not 0 <= self.null_share < 1:
            raise ConfigError(
                f"`null_share` is a share of labels, 0 <= null_share < 1, got {self.null_share}", field="null_share"
            )

    def rate_at(self, step: int) -> float:
        """Learning rate of one update."""
        rise = min(1.0, (step + 1) / max(1, self.warmup))
        return self.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * step / self.steps))


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """One entry of the training log.

    Attributes:
        step: Updates done.
        loss: Mean square error of the velocity per coordinate: averaged weights, points that are trained on.
        held_out_loss: The same on points that are not.
        learning_rate: Rate of the last update.
    """

    step: int
    loss: float
    held_out_loss: float
    learning_rate: float


class Trainer:
    """A network in training, with everything that going on needs.

    Attributes:
        network: The network, changed by every update.
        average: The network with averaged weights: the one to keep.
        done: Updates done.
        log: Entries so far.
        seconds: CPU time that the updates took.
    """

    def __init__(self, network: nn.Module, training: Training, *, device: str = "cpu") -> None:
        """Take over a network; it is moved to the device and trained in place."""
        self.training = training
        self.device = device
        self.network = network.to(device)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=training.learning_rate, betas=(0.9, 0.99))
        self.done = 0
        self.log: list[Log] = []
        self.seconds = 0.0

    def update(self, data: Supply) -> None:
        """One step of Adam on one batch.

        Raises:
            StoppedError: if the loss is no longer finite.
        """
        begin = time.process_time()
        generator = rng.stream(self.training.seed, "train", self.done)
        points = data.batch(self.training.batch, generator)
        loss = _loss(self.network, lesson(points, generator, null_share=self.training.null_share))
        if not torch.isfinite(loss):
            raise StoppedError(
                f"training diverged at update {self.done}: the loss is {loss.item()}; "
                f"lower the learning rate, now {self.training.learning_rate:g}"
            )
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), _LARGEST_GRADIENT)
        for group in self.optimizer.param_groups:
            group["lr"] = self.training.rate_at(self.done)
        self.optimizer.step()
        self.done += 1
        self._average()
        self.seconds += time.process_time() - begin

    @torch.no_grad()
    def _average(self) -> None:
        """Move the averaged weights; early in training over the updates there were."""
        pace = 1 / min(self.training.memory, 1 + self.done / 10)
        for kept, now in zip(self.average.parameters(), self.network.parameters(), strict=True):
            kept.lerp_(now, pace)

    def state(self) -> dict[str, Tensor]:
        """Every tensor that going on needs, by name."""
        found = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        found |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            found |= {f"adam.{index}.{name}": torch.as_tensor(value) for name, value in moments.items()}
        return found

    def restore(self, state: dict[str, Tensor], *, done: int, log: list[Log], seconds: float = 0.0) -> None:
        """Go on from a state that `state` gave.

        Raises:
            ConfigError: if it belongs to another network.
        """
        try:
            self.network.load_state_dict(_within(state, "network."))
            self.average.load_state_dict(_within(state, "average."))
        except RuntimeError as error:
            raise ConfigError("the checkpoint belongs to another network; start again without it") from error
        moments: dict[int, dict[str, Any]] = {}
        for name, value in _within(state, "adam.").items():
            index, _, kind = name.partition(".")
            moments.setdefault(int(index), {})[kind] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        self.done, self.log, self.seconds = done, list(log), seconds


def train(trainer: Trainer, data: Supply, held_out: Labelled, *, progress: Progress | None = None) -> Iterator[Log]:
    """Train to the end, yielding after every entry of the log: the moments at which to keep a checkpoint.

    Args:
        trainer: Where training stands.
        data: Where points to train on come from.
        held_out: Points to judge by.
        progress: Called with updates done and updates in all.
    """
    plan = trainer.training
    data, held_out = data.to(trainer.device), held_out.to(trainer.device)
    seen = data.part(len(held_out), rng.stream(plan.seed, "exam", "rows"))
    exams = [_exam(points, plan.seed, name) for points, name in ((seen, "seen"), (held_out, "held out"))]
    while trainer.done < plan.steps:
        trainer.update(data)
        if progress is not None:
            progress(trainer.done, plan.steps)
        if trainer.done % plan.every == 0 or trainer.done == plan.steps:
            loss, held_out_loss = (_judge(trainer.average, exam) for exam in exams)
            entry = Log(
                step=trainer.done, loss=loss, held_out_loss=held_out_loss, learning_rate=plan.rate_at(trainer.done - 1)
            )
            trainer.log.append(entry)
            yield entry


def _loss(network: nn.Module, batch: Lesson) -> Tensor:
    """Mean square error of the velocity."""
    return (network(batch.state, batch.sigma, batch.labels) - batch.target).square().mean()


def _exam(points: Labelled, seed: int, name: str) -> list[Lesson]:
    """The same points at the same noise each time they are asked."""
    return [lesson(points, rng.stream(seed, "exam", name, level)) for level in range(_EXAM_LEVELS)]


@torch.no_grad()
def _judge(network: nn.Module, exam: list[Lesson]) -> float:
    return math.fsum(_loss(network, part).item() for part in exam) / len(exam)


def _within(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
