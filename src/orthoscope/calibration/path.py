r"""Which class a path comes from: the posterior that a network implies, without a density of its own.

Noise is added in the same way whatever the class, so given the state at a level neither the class nor the data needs
to know what was noisier: $P(c\,|\,x_T, \dots, x_t) = P(c\,|\,x_t)$. The likelihood of a reverse path is a product
of one Gaussian per small step, $x' = D + r\,(x - D) + \sqrt{v'(1 - r)}\,z$ with $r = v'/v$, so along a path drawn with
the mean $D$, guided or not, class $b$ gains on the path's own law

$$ -\,g\cdot z - \tfrac12|g|^2, \qquad g = \sqrt{(1 - r)/v'}\;(D - D_b). $$
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from orthoscope.calibration.weighing import Answers, Weighing
from orthoscope.denoise import Denoiser
from orthoscope.numerics import Array
from orthoscope.sampling import Grid, State, trajectory
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
        answers: What the branches said at every level but the last.
    """

    time: Array
    labels: NDArray[np.int64]
    log_posterior: Array
    log_ratio: Array
    answers: tuple[Answers, ...]

    @property
    def entropy(self) -> Array:
        """Entropy of the posterior, nats, (rows, times)."""
        kept = np.maximum(self.log_posterior, np.finfo(np.float64).min)  # a class that was dropped has no share
        return np.asarray(-(np.exp(kept) * kept).sum(-1))

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
    dropped: float = 0.0,
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
        dropped: Posterior that a step may drop; see `Weighing`.
        advance: Called after every step.

    Raises:
        DivergenceError: if the state stops being finite.
    """
    answers: list[Answers] = []
    step = Weighing(strength=strength, dropped=dropped, hear=answers.append)
    none = torch.zeros(len(x), classes + 1, dtype=torch.float64, device=x.device)
    states = []
    for state in trajectory(denoiser, x, grid, step=step, noise=noise, label=labels, carried=none):
        states.append(state)
        if len(states) > 1:
            advance()
    return paths_of(states, grid.times, answers)


def paths_of(states: Sequence[State], times: Sequence[float], answers: Sequence[Answers]) -> Paths:
    """Paths from the states of `Weighing` at all levels, and from what it heard."""
    labels = torch.as_tensor(states[0].label)
    rows, found = torch.arange(len(labels), device=labels.device), torch.stack([one.carried for one in states], dim=1)
    return Paths(
        time=np.array(times),
        labels=labels.numpy(force=True),
        log_posterior=found[..., :-1].log_softmax(2).numpy(force=True),
        log_ratio=(found[rows, :, labels] - found[..., -1]).numpy(force=True),
        answers=tuple(answers),
    )
