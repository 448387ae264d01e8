r"""How much an unconditional branch errs at least, by images of one's own, where prompts are not all there is.

Noised images $x = x_0 + \sqrt t\,\varepsilon$ have a best prediction $D(x) = E[x_0|x]$ that nobody knows. By
Pythagoras, for *every* function $f$ of $x$,

$$ E|x_0 - D_u|^2 - E|x_0 - f|^2 = E|D_u - D|^2 - E|f - D|^2 \le E|D_u - D|^2 , $$

so whatever predicts the images better bounds the excess of the unconditional branch from below. Here $f$ is the best
shrunk combination of $D_u$, of one Gaussian, and of the conditional predictions, weighted by the posterior of the
prompts under Gaussian classes. Moments are those of other folds of the images, and the coefficients those of the other
images of the fold: an image has no part in the function that it judges, or the bound would be too high.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orthoscope.calibration.moments import shrunk_gaussian
from orthoscope.calibration.plan import FEWEST
from orthoscope.errors import ConfigError
from orthoscope.metrics import mean_of
from orthoscope.numerics import Array
from orthoscope.process import NoiseLevel
from orthoscope.quantities import Estimate
from orthoscope.targets.covariant import Covariant

_FOLDS = 4
_RIDGE = 0.01  # of the squares of what is combined, by which the combination is drawn to the branch itself


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bound:
    """What was found.

    Attributes:
        time: Variance times, descending.
        excess: The bound on $E|D_u - D|^2$ at each, in squared units of the data.
        nats: The same, integrated: nats that the branch claims in error.
        images: Number of images.
    """

    time: Array
    excess: tuple[Estimate, ...]
    nats: Estimate
    images: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fold:
    """Moments of all images but those of a fold.

    Attributes:
        whole: One Gaussian.
        means: Mean of every prompt, one per row.
        within: Gaussian of the images less the mean of their prompt.
    """

    whole: Covariant
    means: Tensor
    within: Covariant

    @classmethod
    def of(cls, images: Array, labels: NDArray[np.int64]) -> Fold:
        """Those of some images of every prompt."""
        means = np.array([images[labels == k].mean(0) for k in range(int(labels.max()) + 1)])
        within = shrunk_gaussian(images - means[labels])
        return cls(whole=shrunk_gaussian(images), means=torch.from_numpy(means), within=within)

    def products(self, x0: Tensor, x: Tensor, time: float, means: Tensor, none: Tensor) -> Tensor:
        """Products of what the branch misses and of what may mend it: (3, 3) of one state (1, dim).

        Args:
            x0: The image.
            x: The image with noise.
            time: Variance time.
            means: Conditional predictions of all prompts, one per row.
            none: The unconditional prediction (1, dim).
        """
        mixed = self._posterior(x, time) @ means
        blind = self.whole.denoised(x, NoiseLevel(time=time))
        parts = torch.cat([x0 - none, mixed - none, blind - none])
        return parts @ parts.T

    def _posterior(self, x: Tensor, time: float) -> Tensor:
        """Posterior of every prompt (1, prompts), were their images Gaussian."""
        apart, law = x - self.means, self.within
        inside = apart @ law.basis
        outside = apart.square().sum(1) - inside.square().sum(1)
        squares = (inside.square() / (law.variances + time)).sum(1) + outside / (law.rest + time)
        return (-squares / 2).softmax(0)[None]


def folds_of(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Fold of every image: the images of a prompt are dealt out.

    Raises:
        ConfigError: if there are too few images.
    """
    counts = np.bincount(labels)
    if len(labels) < FEWEST or counts.min() < 2:
        raise ConfigError(
            f"expected at least {FEWEST} images and 2 of each prompt in `data` to bound the error of the unconditional "
            f"branch, got {len(labels)} and {counts.min()}; give more"
        )
    found, number = np.empty(len(labels), dtype=np.int64), min(_FOLDS, int(counts.min()))
    for label in range(len(counts)):
        rows = np.flatnonzero(labels == label)
        found[rows] = np.arange(len(rows)) % number
    return found


def bound(products: Array, folds: NDArray[np.int64], time: Array, end: float = 0.0) -> Bound:
    """The bound, from the products of every image at every level (images, levels, 3, 3).

    Args:
        products: As `Fold.products` makes them, of moments of the other folds.
        folds: Fold of every image.
        time: Variance times, descending.
        end: Variance time below which nothing was asked; the last level counts down to it, or for nothing if 0.
    """
    edges = np.append(time, end if end > 0 else time[-1])
    gained = np.stack([_gained(products[:, k], folds) for k in range(len(time))], axis=1)
    return Bound(
        time=time,
        excess=tuple(mean_of(column) for column in gained.T),
        nats=mean_of(gained @ (np.diff(1 / edges) / 2)),
        images=len(folds),
    )


def _gained(products: Array, folds: NDArray[np.int64]) -> Array:
    """By how much the combination that other images of its fold find best errs less on each image."""
    totals = np.array([products[folds == k].sum(0) for k in range(int(folds.max()) + 1)])
    rest = totals[folds] - products
    grams, along = rest[:, 1:, 1:], rest[:, 1:, 0]
    ridge = _RIDGE * np.einsum("nii->ni", grams) + np.finfo(np.float64).tiny
    shares = np.linalg.solve(grams + ridge[:, :, None] * np.eye(2), along[..., None])[..., 0]
    own = np.einsum("nj,njk,nk->n", shares, products[:, 1:, 1:], shares)
    return np.asarray(2 * np.einsum("nj,nj->n", shares, products[:, 1:, 0]) - own)


def folded(images: Array, labels: NDArray[np.int64], folds: NDArray[np.int64]) -> Sequence[Fold]:
    """Moments of every fold's complement."""
    return [Fold.of(images[folds != k], labels[folds != k]) for k in range(int(folds.max()) + 1)]
