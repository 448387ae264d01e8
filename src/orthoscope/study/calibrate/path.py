r"""Which class a path comes from: the posterior that a network implies, without a density of its own.

Noise is added in the same way whatever the class, so given the state at a level neither the class nor the data needs
to know what was noisier: $P(c\,|\,x_T, \dots, x_t) = P(c\,|\,x_t)$. The likelihood of a reverse path is a product
of one Gaussian per small step, $x' = D_c + r\,(x - D_c) + \sqrt{v'(1 - r)}\,z$ with $r = v'/v$, so for a path drawn
under class $a$ the odds of class $b$ move by

$$ \log\frac{P_b}{P_a} \mathrel{+}= -\,g\cdot z - \tfrac12|g|^2, \qquad g = \sqrt{(1 - r)/v'}\;(D_a - D_b). $$
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orthoscope.denoise import Denoiser
from orthoscope.errors import StoppedError
from orthoscope.numerics import Array
from orthoscope.sample import Exponential, Grid
from orthoscope.sample.noise import Noise
from orthoscope.typing import Events, Labels

_STEP = Exponential(lam=1, order=1)  # the chain whose steps are exactly Gaussian


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paths:
    """Reverse paths of known classes, one row each, at the levels of a grid.

    Attributes:
        time: Variance times, descending.
        labels: Class of every row.
        log_posterior: Log-probability of every class given the path so far, (rows, times, classes).
        log_ratio: Log-density of the path so far under its class, minus that under no class, (rows, times).
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
    def log_excess(self) -> Array:
        """Log-density of the path under the mixture of all classes, minus that under no class, nats, (rows, times).

        Its mean is the divergence of what the conditional predictions make from what the unconditional one does: 0
        if the two fit each other, and never negative.
        """
        own = np.take_along_axis(self.log_posterior, self.labels[:, None, None], axis=2)[..., 0]
        return np.asarray(self.log_ratio - own - np.log(self.log_posterior.shape[-1]))


@torch.no_grad()
def reverse_paths(
    denoiser: Denoiser,
    x: Events,
    grid: Grid,
    noise: Noise,
    labels: Labels,
    classes: int,
    advance: Callable[[], None] = lambda: None,
) -> Paths:
    """Follow the reverse SDE of each row's class and weigh every class at every step.

    Args:
        denoiser: Of every class, and of none.
        x: State at the first level, so noisy that it tells nothing about the class.
        grid: Levels to visit, the last above 0.
        noise: Source of noise.
        labels: Class of every row.
        classes: Number of classes, equally frequent.
        advance: Called after every step.

    Raises:
        StoppedError: if the state stops being finite.
    """
    rows = torch.arange(len(x), device=x.device)
    every = torch.arange(classes, device=x.device).repeat_interleave(len(x))
    log_odds = torch.zeros(len(x), classes, dtype=torch.float64, device=x.device)
    log_ratio = log_odds[:, 0]
    odds, ratios = [log_odds], [log_ratio]
    for level, next_level in itertools.pairwise(grid.levels):
        asked = x.repeat(classes, *[1] * (x.ndim - 1))
        means = denoiser(asked, level, every).reshape(classes, *x.shape).transpose(0, 1)
        own = means[rows, labels]
        z = noise(level, next_level)
        others = torch.cat([means, denoiser(x, level, None)[:, None]], dim=1)
        lost = _lost(own[:, None] - others, z, level.variance, next_level.variance)
        log_odds, log_ratio = log_odds - lost[:, :-1], log_ratio + lost[:, -1]
        odds.append(log_odds)
        ratios.append(log_ratio)
        x = _STEP(x, level, next_level, own, z)
        if not bool(torch.isfinite(x).all()):
            raise StoppedError(f"a path is not finite at variance time {level.time:.3g}; check the model's weights")
        advance()
    return Paths(
        time=np.array(grid.times),
        labels=labels.numpy(force=True),
        log_posterior=torch.stack(odds, dim=1).log_softmax(2).numpy(force=True),
        log_ratio=torch.stack(ratios, dim=1).numpy(force=True),
    )


def _lost(apart: Tensor, z: Tensor, variance: float, next_variance: float) -> Tensor:
    """Log-density of the step under the own class minus that under each other, (rows, others)."""
    r = next_variance / variance
    move = math.sqrt((1 - r) / next_variance) * apart.double().flatten(2)
    return move.square().sum(2) / 2 + (move * z.double().flatten(1)[:, None]).sum(2)
