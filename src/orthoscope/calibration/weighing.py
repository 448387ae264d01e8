"""One step of a reverse path: its state moves in its own class, and every class that may still be it is weighed.

Classes whose posteriors are small are dropped: the truth is among them as seldom as their posteriors sum to, so a
path that asks for the rest only is a path of all, up to that share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from orthoscope.denoise import Denoiser
from orthoscope.process import NoiseLevel
from orthoscope.sampling import State, transition
from orthoscope.sampling.noise import Noise
from orthoscope.typing import Events

_AT_ONCE = 256  # predictions that are asked for in one batch: more would not stay in the processor's caches


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """What the branches said of some states at one level, a row each, in float64.

    Attributes:
        time: Variance time.
        x: States.
        own: Denoised mean of the row's own class.
        none: Denoised mean of no class.
        mixed: Mean over the classes' denoised means, weighted by their posterior: what `none` should be.
        posterior: Posterior of the own class.
        calls: Predictions that were asked for.
    """

    time: float
    x: Tensor
    own: Tensor
    none: Tensor
    mixed: Tensor
    posterior: Tensor
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choice:
    """Pairs of a row and a class that are asked for, class by class.

    Attributes:
        rows: Row of every pair.
        labels: Class of every pair.
    """

    rows: Tensor
    labels: Tensor

    @classmethod
    def of(cls, log_density: Tensor) -> Choice:
        """Every class whose density is not dropped; the last column is that of no class."""
        labels, rows = log_density[:, :-1].isfinite().T.nonzero(as_tuple=True)
        return cls(rows=rows, labels=labels)


Hear: TypeAlias = Callable[[Answers], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighing:
    """The first-order step of the reverse SDE, whose chain is exactly Gaussian; every class is weighed by it.

    It carries the log-density of the path so far under every class and, last, under none, less that of the path's own
    law, (rows, classes + 1); minus infinity where a class was dropped.

    Attributes:
        strength: Strength of the guidance that the paths follow.
        dropped: Sum of the posteriors of the classes that a step may drop.
        hear: Called with what was said at every level.
    """

    strength: float = 0.0
    dropped: float = 0.0
    hear: Hear = lambda answers: None

    @property
    def needs_noise(self) -> bool:
        """Always."""
        return True

    def __call__(self, state: State, next_level: NoiseLevel, denoiser: Denoiser, noise: Noise) -> State:
        """The state at the next level, guided in every row's own class."""
        x, level = state.x, state.level
        choice = Choice.of(state.carried)
        asked = [
            denoiser.evaluate(x[choice.rows[part]], level, choice.labels[part])
            for part in _parts(len(choice.rows), whole=not self.dropped)
        ]
        unasked = denoiser.evaluate(x, level, None)
        means = torch.cat([one.denoised for one in asked]) if len(asked) > 1 else asked[0].denoised
        z = noise(level, next_level)
        x, carried = self.weigh(state, next_level, choice, (means, unasked.denoised), z)
        return state.moved(x, next_level, *asked, unasked, carried=carried)

    def weigh(
        self, state: State, next_level: NoiseLevel, choice: Choice, means: tuple[Tensor, Tensor], z: Events
    ) -> tuple[Events, Tensor]:
        """The next state, and the log-densities there.

        Args:
            state: Where the paths are.
            next_level: Where the step ends.
            choice: Which class of which row was asked for.
            means: Denoised means of these pairs, and of no class for every row.
            z: Noise of the step.
        """
        x, level, label = state.x, state.level, torch.as_tensor(state.label, device=state.x.device)
        mean, none = means
        is_own = choice.labels == label[choice.rows]
        own = torch.empty_like(none)
        own[choice.rows[is_own]] = mean[is_own]
        self.hear(_answers(state, choice, mean, own, none))
        guided = own + self.strength * (own - none)
        lost = torch.full_like(state.carried, torch.inf)
        lost[choice.rows, choice.labels] = _lost(guided[choice.rows] - mean, z[choice.rows], level, next_level)
        lost[:, -1] = _lost(guided - none, z, level, next_level)
        x = transition(x, level, next_level, guided, z, lam=1.0)
        return x, self._pruned(state.carried - lost, label)

    def _pruned(self, log_density: Tensor, label: Tensor) -> Tensor:
        """Without the classes that are least likely, but for the own one."""
        if not self.dropped:
            return log_density
        share, order = log_density[:, :-1].softmax(1).sort(1)
        goes = torch.zeros_like(share, dtype=torch.bool).scatter(1, order, share.cumsum(1) <= self.dropped)
        goes[torch.arange(len(label), device=label.device), label] = False
        log_density[:, :-1].masked_fill_(goes, -torch.inf)
        return log_density


def _parts(pairs: int, *, whole: bool) -> Sequence[slice]:
    """Batches of pairs; one where sizes of batches must not depend on what was dropped."""
    size = pairs if whole else _AT_ONCE
    return [slice(at, at + size) for at in range(0, pairs, size)]


def _answers(state: State, choice: Choice, mean: Tensor, own: Events, none: Events) -> Answers:
    """What was said, and the mean that follows from the posteriors so far."""
    posterior = state.carried[:, :-1].softmax(1)
    weights = posterior[choice.rows, choice.labels]
    mixed = torch.zeros_like(none.flatten(1), dtype=torch.float64)
    mixed.index_add_(0, choice.rows, weights[:, None] * mean.double().flatten(1))
    rows = torch.arange(len(own), device=own.device)
    return Answers(
        time=float(state.level.variance),
        x=state.x.double().flatten(1),
        own=own.double().flatten(1),
        none=none.double().flatten(1),
        mixed=mixed,
        posterior=posterior[rows, torch.as_tensor(state.label, device=own.device)],
        calls=len(mean) + len(none),
    )


def _lost(apart: Tensor, z: Tensor, level: NoiseLevel, next_level: NoiseLevel) -> Tensor:
    """Log-density of the step under the path's law minus that under another, one per row."""
    r = next_level.variance / level.variance
    move = math.sqrt((1 - r) / next_level.variance) * apart.double().flatten(1)
    return move.square().sum(1) / 2 + (move * z.double().flatten(1)).sum(1)
