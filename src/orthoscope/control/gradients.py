"""A policy trained by gradients through the sampler: every step is differentiable, and so is what a batch is worth.

It is the check of what reinforcement learns, and sees what a policy sees. The penalty on the variance is of the batch's
own, whose gradient reaches every row; that of single rows would not hold it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from orthoscope import rng
from orthoscope.checks import real, whole
from orthoscope.control.family import Draws, Family, Goal
from orthoscope.denoise import Memory
from orthoscope.errors import StoppedError
from orthoscope.guidance.rules.feedback import Controller, Seen
from orthoscope.guidance.rules.policy import Policy, answer, as_layers, observed, within
from orthoscope.progress import Progress
from orthoscope.typing import PerRow

_CLIPPED = 1.0  # largest norm of a gradient
_SEEDS = 2**31


@dataclass(eq=False)
class Trainable(Controller):
    """A policy whose layers gradients reach.

    Attributes:
        network: Its layers.
        observes: What it sees.
        least: Smallest strength.
        preference: That of the episode.
    """

    network: nn.Sequential
    observes: tuple[str, ...]
    least: float
    preference: float = 0.5

    @property
    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weights and biases."""
        return [(layer.weight, layer.bias) for layer in self.network if isinstance(layer, nn.Linear)]

    def chosen(self, seen: Seen) -> tuple[PerRow, Memory]:
        """What the layers say of what is seen; what was seen is taken as given, the strength as chosen."""
        rows, past = observed(self.observes, seen, preference=self.preference, lam=1.0)
        return within(answer(self.layers, rows.detach().float()), self.least, seen.most), past


@dataclass(frozen=True, slots=True, kw_only=True)
class Descent:
    """Training by gradients.

    Attributes:
        family: Where cases are drawn from; a case is one such.
        observes: What the policy sees.
        width: Units of its hidden layer.
        preference: Preference of all episodes; drawn evenly if None.
        goal: What is paid for, as in `Case.reward`.
        samples: Rows of the batch.
        steps: Steps of a run.
        most: Largest strength.
        least: Smallest strength.
        updates: Updates of the weights, one episode each.
        learning_rate: Of Adam.
        seed: Root seed.
    """

    family: Draws = field(default_factory=Family)
    observes: tuple[str, ...] = ("progress", "slope", "ratio", "mean_pair", "mean_log_odds", "preference")
    width: int = 16
    preference: float | None = None
    goal: Goal = "truth"
    samples: int = 64
    steps: int = 16
    most: float = 5.0
    least: float = -1.0
    updates: int = 200
    learning_rate: float = 0.02
    seed: int = 0

    def train(self, progress: Progress | None = None) -> tuple[Policy, list[float]]:
        """The policy, and the reward of every episode.

        Raises:
            ConfigError: if a setting is unusable.
            StoppedError: if a gradient is not finite; the policy before it is told by nobody.
        """
        stream = rng.stream(self.seed, "descent")
        rule = Trainable(_network(len(self.observes), whole("width", self.width, 1), stream), self.observes, self.least)
        weights = [part for layer in rule.layers for part in layer]
        optimizer = torch.optim.Adam(weights, lr=real("learning_rate", self.learning_rate, finite=True))
        rewards = []
        for k in range(whole("updates", self.updates, 1)):
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate * (1 + math.cos(math.pi * k / self.updates)) / 2
            reward = self._episode(rule, stream)
            optimizer.zero_grad()
            (-reward).backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(weights, _CLIPPED)
            if not bool(torch.isfinite(norm)):
                raise StoppedError(f"the gradient is not finite at update {k}; use fewer steps or a smaller `most`")
            optimizer.step()
            rewards.append(float(reward.detach()))
            if progress is not None:
                progress(k + 1, self.updates)
        preference = 0.5 if self.preference is None else self.preference
        policy = Policy(observes=self.observes, layers=as_layers(rule.layers), least=self.least, preference=preference)
        return policy, rewards

    def _episode(self, rule: Trainable, stream: np.random.Generator) -> Tensor:
        drawn = float(stream.random())
        rule.preference = drawn if self.preference is None else self.preference
        case = self.family.draw(stream)
        run = case.run(rule, most=self.most, samples=self.samples, steps=self.steps, seed=int(stream.integers(_SEEDS)))
        return case.reward(run.run().x, rule.preference, self.goal)


def _network(inputs: int, width: int, stream: np.random.Generator) -> nn.Sequential:
    """Two layers that begin with no preference among strengths."""
    layers: Sequence[Any] = [
        nn.utils.skip_init(nn.Linear, a, b)  # type: ignore[no-untyped-call]
        for a, b in ((inputs, width), (width, 1))
    ]
    for layer, scale in zip(layers, (1.0, 0.1), strict=True):
        drawn = stream.standard_normal(tuple(layer.weight.shape)) * scale / math.sqrt(layer.in_features)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(drawn))
            layer.bias.zero_()
    return nn.Sequential(layers[0], nn.Tanh(), layers[1])
