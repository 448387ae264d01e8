r"""Schedules by the recorded paths themselves, weighted by how likely they are under another strength (Girsanov).

A scheduler with noise draws its next state from a Gaussian around its step. So a path that ran under one strength could
have run under any other, and both branches' predictions along it tell how much less likely. Weighted by its likelihood
over the mean of those under all recorded strengths [veach1995optimally], the states of all runs at any level stand for
those of the schedule asked for: exact as images grow many, and without a fit. The price is images: the further it leads
from the recorded strengths, the fewer count. So paths are weighted as far as half of the images still count, and from
there the surrogate makes them to the end, on the noise that they had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from orthoscope import metrics
from orthoscope.errors import ConfigError
from orthoscope.forecasts.pairs import Floats, Pairs
from orthoscope.forecasts.surrogate import Fit
from orthoscope.forecasts.transitions import Transition, guided_means, transitions
from orthoscope.numerics import Array

_COUNTED = 0.5  # of the images of every prompt that have to count


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reweighted:
    """The recorded runs as those of another schedule.

    Attributes:
        images: Their ends (runs, rows, dim).
        weights: (runs, rows), of mean 1 within a prompt.
        effective: Images that count, in the prompt where they are fewest.
        reached: Steps that were weighted; the surrogate made the rest.
        distance: Of ends from the recorded ones, root mean square, in feature units.
    """

    images: Array
    weights: Array
    effective: float
    reached: int
    distance: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reweighting:
    """Weights of recorded paths under any schedule.

    Attributes:
        runs: Of the same seeds.
        strengths: Of every run (runs, levels).
        groups: Number of the prompt of every row.
        fitted: The surrogate, level by level.
        steps: What the scheduler does.
        products: Inner products, level by level, of noise and difference, noise and last difference, and of the two
            differences with themselves and each other (levels, 5, runs, rows).
    """

    runs: Sequence[Pairs]
    strengths: Array
    groups: NDArray[np.int64]
    fitted: Sequence[Fit]
    steps: Sequence[Transition]
    products: Array

    @classmethod
    def of(
        cls, runs: Sequence[Pairs], strengths: Array, groups: NDArray[np.int64], fitted: Sequence[Fit]
    ) -> Reweighting:
        """Weights of these runs.

        Raises:
            ConfigError: if their scheduler draws no noise, or what it does cannot be told from them.
        """
        steps = transitions(runs, list(strengths))
        if not steps[0].variance:
            raise ConfigError("the scheduler draws no noise")
        products = np.stack([
            np.stack([_products(step.noise, run, k) for run in runs], 1) for k, step in enumerate(steps)
        ])  # fmt: skip
        return cls(runs=runs, strengths=strengths, groups=groups, fitted=fitted, steps=steps, products=products)

    def __call__(self, strengths: Array) -> Reweighted | None:
        """The runs as those of other strengths (levels); None if not even one step can be weighted."""
        paths = np.cumsum([self._ratios(k, strengths) for k in range(len(self.steps) - 1)], 0)
        weights = [self._weights(path) for path in paths]
        counted = [metrics.effective_images(one, self.groups).min() for one in weights]
        enough = _COUNTED * np.bincount(self.groups).min()
        if not counted[0] >= enough:
            return None
        last = max(k for k, number in enumerate(counted) if number >= enough)
        images = self._ended(last + 1, strengths)
        apart = np.stack([np.square(one - run.final).sum(1) for one, run in zip(images, self.runs, strict=True)])
        return Reweighted(
            images=images, weights=weights[last], effective=float(counted[last]), reached=last + 1,
            distance=float(np.sqrt((weights[last] * apart).mean())),
        )  # fmt: skip

    def _ratios(self, k: int, strengths: Array) -> Array:
        """Logarithm of a step's density under every recorded strength, and that asked for, over its own."""
        step, now = self.steps[k], np.vstack([self.strengths, strengths])[:, None, :] - self.strengths
        first, second = step.now * now[..., k, None], step.before * now[..., max(k - 1, 0), None]
        noisy, noisy_last, square, cross, square_last = self.products[k]
        moved = first**2 * square + 2 * first * second * cross + second**2 * square_last
        if not step.variance:
            return np.where(moved > 0, -np.inf, 0.0)
        return np.asarray((first * noisy + second * noisy_last - moved / 2) / step.variance)

    def _weights(self, path: Array) -> Array:
        """Weights (runs, rows), of mean 1 in every prompt, from log-densities of paths so far."""
        logs = path[-1] - logsumexp(path[:-1], axis=0)
        found = np.empty_like(logs)
        for group in np.unique(self.groups):
            rows = self.groups == group
            top = logs[:, rows].max()
            found[:, rows] = np.exp(logs[:, rows] - top) if np.isfinite(top) else 0.0
            found[:, rows] /= found[:, rows].mean() or 1.0
        return found

    def _ended(self, reached: int, strengths: Array) -> Array:
        """Ends of the recorded runs (runs, rows, dim), made by the surrogate from a level on."""
        x = np.stack([run.states[reached] for run in self.runs]).astype(np.float64)
        prompts, last = np.tile(self.groups, len(self.runs)), self._guided(reached - 1, strengths)
        for k in range(reached, len(self.steps)):
            if k == reached:
                guided = self._guided(k, strengths)
            else:
                cond, uncond = (part.reshape(x.shape) for part in self.fitted[k](x.reshape(len(prompts), -1), prompts))
                guided = cond + strengths[k] * (cond - uncond)
            x, last = self.steps[k](x, guided, last), guided
        return x

    def _guided(self, level: int, strengths: Array) -> Array:
        """Guided means at recorded states (runs, rows, dim)."""
        return np.stack([guided_means(run, strengths, level) for run in self.runs])


def _products(noise: Floats, run: Pairs, level: int) -> Array:
    """Of one run at one level (5, rows)."""
    now, last = (run.cond[k].astype(np.float64) - run.uncond[k] for k in (level, max(level - 1, 0)))
    pairs = ((noise, now), (noise, last), (now, now), (now, last), (last, last))
    return np.stack([np.einsum("nd,nd->n", one, other) for one, other in pairs])
