"""What a pipeline of many prompts predicts of images of one's own, at the levels of its scheduler."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from orthoscope import rng
from orthoscope.calibration.bound import Bound, Fold, bound, folded, folds_of
from orthoscope.numerics import Array
from orthoscope.process import NoiseLevel
from orthoscope.typing import Events

if TYPE_CHECKING:
    from orthoscope.integrations.host import Host


def chosen(labels: NDArray[np.int64], most: int, seed: int) -> NDArray[np.intp]:
    """At most so many images, drawn, as many of each prompt as of the others."""
    per, stream = max(most // (int(labels.max()) + 1), 2), rng.stream(seed, "calibrate", "own")
    drawn = [stream.permutation(np.flatnonzero(labels == k))[:per] for k in range(int(labels.max()) + 1)]
    return np.sort(np.concatenate(drawn))


def bound_on(
    host: Host, prompts: Sequence[str], images: Array, labels: NDArray[np.int64], *, time: Array, steps: int, seed: int,
    advance: Callable[[], None],
) -> Bound:  # fmt: skip
    """How much the unconditional branch errs at least on images.

    The pipeline is run once for every image, with all prompts in a batch, while the image with fresh noise takes the
    place of its state at every step.

    Args:
        host: The pipeline.
        prompts: Those that the images were made for.
        images: Clean states of the scheduler, one per row.
        labels: Number of each one's prompt.
        time: Variance times of the pipeline's levels, descending; at the first, pure noise, nothing is asked.
        steps: Steps of the scheduler.
        seed: Root seed.
        advance: Called after every image.

    Raises:
        ConfigError: if images are too few, or of another size, or the pipeline cannot be asked for all prompts at once.
    """
    from orthoscope.integrations.common_state import ask_together

    folds = folds_of(labels)
    moments, products = folded(images, labels, folds), []
    for row, image in enumerate(torch.from_numpy(images)):
        shown = _Shown(image=image, fold=moments[folds[row]], times=time.tolist(), seed=seed, row=row)
        ask_together(host, prompts, rng.key(seed, "calibrate", "start", row) % 2**63, steps, shown.move)
        products.append(np.stack(shown.products))
        advance()
    return bound(np.stack(products), folds, time[1:])


@dataclass(slots=True, kw_only=True, eq=False)
class _Shown:
    """One image, shown to a pipeline at all its levels.

    Attributes:
        image: The image, flattened.
        fold: Moments of images without it.
        times: Variance times of the levels.
        seed: Root seed.
        row: Number of the image.
        products: As `bound` takes them, of every level but the first.
    """

    image: torch.Tensor
    fold: Fold
    times: Sequence[float]
    seed: int
    row: int
    products: list[Array] = field(default_factory=list)
    _asked: int = 0

    def move(self, x: Events, level: NoiseLevel, means: torch.Tensor, none: Events) -> Events:
        """Take what was said of the state, and show the image with less noise."""
        if 0 < self._asked < len(self.times):
            state, conditional, unconditional = (one.double().flatten(1).cpu() for one in (x, means, none))
            parts = self.fold.products(self.image[None], state, level.time, conditional, unconditional)
            self.products.append(parts.numpy())
        self._asked += 1
        below = self.times[min(self._asked, len(self.times) - 1)]
        stream = rng.stream(self.seed, "calibrate", "own noise", self.row, self._asked)
        noise = torch.from_numpy(stream.standard_normal(len(self.image)))
        return (self.image + math.sqrt(below) * noise).reshape(x.shape).to(x)
