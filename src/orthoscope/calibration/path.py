r"""Which class a path comes from: the posterior that a network implies, without a density of its own.

Noise is added in the same way whatever the class, so given the state at a level neither the class nor the data needs
to know what was noisier: $P(c\,|\,x_T, \dots, x_t) = P(c\,|\,x_t)$. The likelihood of a reverse path is a product
of one Gaussian per small step, $x' = D + r\,(x - D) + \sqrt{v'(1 - r)}\,z$ with $r = v'/v$, so along a path drawn with
the mean $D$, guided or not, class $b$ gains on the path's own law

$$ -\,g\cdot z - \tfrac12|g|^2, \qquad g = \sqrt{(1 - r)/v'}\;(D - D_b). $$
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orthoscope.denoise import Denoiser
from orthoscope.numerics import Array
from orthoscope.process import NoiseLevel
from orthoscope.sampling import Grid, State, trajectory, transition
from orthoscope.sampling.noise import Noise
from orthoscope.typing import Events, Labels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paths:
    """Reverse paths of known classes, one row each, at the levels of a grid.

    Attributes:
        time: Variance times, descending.
        labels: Class of every row.
        log_posterior: Log-probability of every class given the path so far, (rows, times, classes).
        log_ratio: Log-density of the path so far under its class, minus that under no class, (rows, times); at
            strength w it grows by (1/2 + w) |D_c - D_u|^2 dv/v^2 on average.
    """

    time: Array
    labels: NDArray[np.int64]
    log_posterior: Array
    log_ratio: Array

    @property
    def entropy(self) -> Array:
        """Entropy of the posterior, nats, (rows, times)."""
        return np.asarray(-(np.exp(self.log_posterior) * self.log_posterior).sum(-1))

    @property
    def asked(self) -> Array:
        """What the path so far tells for its class over chance, nats, (rows, times): the information at strength 0."""
        own = np.take_along_axis(self.log_posterior, self.labels[:, None, None], axis=2)[..., 0]
        return np.asarray(own + np.log(self.log_posterior.shape[-1]))

    @property
    def log_excess(self) -> Array:
        """Log-density of the path under the mixture of all classes, minus that under no class, nats, (rows, times).

        Its mean at strength 0 is the divergence of what the conditional predictions make from what the unconditional
        one does: 0 if the two fit each other, and never negative.
        """
        return self.log_ratio - self.asked


@torch.no_grad()
def reverse_paths(
    denoiser: Denoiser,
    x: Events,
    grid: Grid,
    noise: Noise,
    labels: Labels,
    classes: int,
    *,
    strength: float = 0.0,
    advance: Callable[[], None] = lambda: None,
) -> Paths:
    """Follow the reverse SDE of each row's class, guided by a strength, and weigh every class at every step.

    Args:
        denoiser: Of every class, and of none.
        x: State at the first level, so noisy that it tells nothing about the class.
        grid: Levels to visit, the last above 0.
        noise: Source of noise.
        labels: Class of every row.
        classes: Number of classes, equally frequent.
        strength: Strength of the guidance that the paths follow.
        advance: Called after every step.

    Raises:
        DivergenceError: if the state stops being finite.
    """
    step = _Weighing(classes=classes, strength=strength)
    none = torch.zeros(len(x), classes + 1, dtype=torch.float64, device=x.device)
    densities = []
    for state in trajectory(denoiser, x, grid, step=step, noise=noise, label=labels, carried=none):
        densities.append(state.carried)
        if len(densities) > 1:
            advance()
    rows, found = torch.arange(len(x), device=x.device), torch.stack(densities, dim=1)
    return Paths(
        time=np.array(grid.times),
        labels=labels.numpy(force=True),
        log_posterior=found[..., :-1].log_softmax(2).numpy(force=True),
        log_ratio=(found[rows, :, labels] - found[..., -1]).numpy(force=True),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weighing:
    """The first-order step of the reverse SDE, whose chain is exactly Gaussian; every class is weighed by it.

    It carries the log-density of the path so far under every class and, last, under none, less that of the path's own
    law, (rows, classes + 1).
    """

    classes: int
    strength: float

    @property
    def needs_noise(self) -> bool:
        """Always."""
        return True

    def __call__(self, state: State, next_level: NoiseLevel, denoiser: Denoiser, noise: Noise) -> State:
        """The state at the next level, guided in every row's own class."""
        x, level = state.x, state.level
        every = torch.arange(self.classes, device=x.device).repeat_interleave(len(x))
        asked = denoiser.evaluate(x.repeat(self.classes, *[1] * (x.ndim - 1)), level, every)
        unasked = denoiser.evaluate(x, level, None)
        means, none = asked.denoised.reshape(self.classes, *x.shape).transpose(0, 1), unasked.denoised
        own = means[torch.arange(len(x), device=x.device), state.label]
        guided = own + self.strength * (own - none)
        z = noise(level, next_level)
        apart = guided[:, None] - torch.cat([means, none[:, None]], dim=1)
        log_density = state.carried - _lost(apart, z, level.variance, next_level.variance)
        x = transition(x, level, next_level, guided, z, lam=1.0)
        return state.moved(x, next_level, asked, unasked, carried=log_density)


def _lost(apart: Tensor, z: Tensor, variance: float, next_variance: float) -> Tensor:
    """Log-density of the step under the path's law minus that under each other, (rows, others)."""
    r = next_variance / variance
    move = math.sqrt((1 - r) / next_variance) * apart.double().flatten(2)
    return move.square().sum(2) / 2 + (move * z.double().flatten(1)[:, None]).sum(2)
