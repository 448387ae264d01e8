r"""Whether classes can be told apart before the image is clean: what is to be told, over what a Gaussian could tell.

If classes had Gaussian means of covariance $B$, in infinite number, with Gaussian images of covariance $W$ round them,
noisy images would hold $I_G(t) = \tfrac12\log\det(1 + (W + t)^{-1}B)$ nats about the class: half the sum of
$\log(1 + b/(w + t))$ over directions. Its value at $t = 0$ is the *capacity*. In the theory's ensemble it is the
critical rate times the dimension, so its share, $\log K$ (or what the pair tells) over the capacity, is 1 at the
threshold: below it all classes are told before the image is clean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from orthoscope.calibration.moments import shrunk_gaussian, variance_of
from orthoscope.metrics.contributions import blocks_of
from orthoscope.numerics import Array
from orthoscope.quantities import Estimate
from orthoscope.targets.covariant import Covariant

MEASURED = ("information", "capacity", "information_share", "capacity_share")
PREDICTED = ("speciation_time", "half_time")
_LEAST = 1e-9  # of the variance within: the floor of a direction, and the time that stands for clean images
_HALVINGS = 100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spectra:
    """Covariances within and between classes.

    Attributes:
        within: Images less the mean of their class.
        means: Means of the classes, centred, one per row.
    """

    within: Covariant
    means: Array

    @classmethod
    def of(cls, images: Array, labels: NDArray[np.int64], means: Array | None = None) -> Spectra:
        """Those of some images.

        Args:
            images: Clean images, one per row.
            labels: Class of each, counted from 0.
            means: Means of all classes; those of the images if None, shrunk so that the variance between them does not
                count what few images leave of the variance within.
        """
        images, size = np.asarray(images, dtype=np.float64), 1.0
        if means is None:
            held, labels, counts = np.unique(labels, return_inverse=True, return_counts=True)
            means = np.array([images[labels == k].mean(0) for k in range(len(held))])
            freed = len(images) / (len(images) - len(held))
            residuals = (images - means[labels]) * math.sqrt(freed)
            between = float(np.square(means - means.mean(0)).sum()) / max(len(held) - 1, 1)
            if between > 0:
                lent = float(np.square(residuals).sum()) / len(images) * float((1 / counts).mean())
                size = math.sqrt(max(1 - lent / between, 0.0) * len(held) / max(len(held) - 1, 1))
        else:
            residuals = images - means[labels]
        return cls(within=shrunk_gaussian(residuals), means=size * (means - means.mean(0)))

    def information(self, time: float) -> float:
        """Nats about the class that noisy images could hold."""
        within, means = self.within, torch.from_numpy(self.means)
        floor = _LEAST * variance_of(within) + time
        inside = means @ within.basis
        kept = (inside / (within.variances + floor)) @ inside.T
        outside = means - inside @ within.basis.T
        products = (kept + outside @ outside.T / (within.rest + floor)) / len(means)
        return float(torch.linalg.eigvalsh(products).clamp_min(0).log1p().sum()) / 2

    def time(self, nats: float) -> float:
        """Variance time at which noisy images could just hold so much; 0 if clean ones could not."""
        if self.information(0.0) <= nats:
            return 0.0
        unit = variance_of(self.within)
        low, high = math.log(_LEAST * unit), math.log(unit / _LEAST)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.information(math.exp(middle)) > nats else (low, middle)
        return math.exp(low)


def threshold(
    images: Array, labels: NDArray[np.int64], means: Array | None, information: Estimate, classes: int | None
) -> dict[str, Estimate]:
    """Capacity and the share of it that is to be told, and what the spectra predict.

    Args:
        images: Clean images, one per row.
        labels: Class of each.
        means: Means of all classes, where the network tells them.
        information: What clean images tell about their class by the pair, nats.
        classes: Number of classes where they can be counted; then its log takes the place of the information.
    """
    spectra = Spectra.of(images, labels, means)
    capacity = _capacity(images, labels, means, spectra.information(0.0))
    told = information if classes is None else _exactly(math.log(classes))
    known = min(told.value, capacity.value)
    return {
        "capacity": capacity,
        "information_share": _ratio(information, capacity),
        "capacity_share": _ratio(told, capacity),
        "speciation_time": _exactly(spectra.time(known)),
        "half_time": _exactly(spectra.time(known / 2)),
    }


def side(share: Estimate) -> str:
    """On which side of the threshold a share is: committed, dense, or undecided within two standard errors."""
    gap = 1 - share.value
    if not abs(gap) > 2 * share.stderr:
        return "undecided"
    return "committed" if gap > 0 else "dense"


def _capacity(images: Array, labels: NDArray[np.int64], means: Array | None, whole: float) -> Estimate:
    """The capacity, with the error that leaving out blocks of images gives; blocks hold all classes alike."""
    order = np.argsort(_copies(labels), kind="stable") if means is None else np.arange(len(labels))
    copies = _copies(labels)[order]
    blocks = [order[copies == k] for k in np.unique(copies)] if means is None else blocks_of(len(labels))
    rest = []
    for block in blocks:
        kept = np.setdiff1d(np.arange(len(labels)), block)
        rest.append(Spectra.of(images[kept], labels[kept], means).information(0.0))
    count = len(rest)
    spread = math.sqrt((count - 1) * float(np.var(rest)))
    value = count * whole - (count - 1) * float(np.mean(rest))
    return Estimate(value=value if value > 0 else whole, stderr=spread, n=len(labels), dof=count - 1)


def _copies(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many images of its class come before each."""
    found, seen = np.zeros(len(labels), dtype=np.int64), dict[int, int]()
    for row, label in enumerate(labels.tolist()):
        found[row] = seen[label] = seen.get(label, -1) + 1
    return found


def _exactly(value: float) -> Estimate:
    return Estimate(value=value, stderr=0.0, n=0)


def _ratio(top: Estimate, bottom: Estimate) -> Estimate:
    """A ratio of two estimates taken as independent; infinite where the lower one is 0."""
    if not bottom.value > 0:
        return Estimate(value=math.inf, stderr=0.0, n=bottom.n)
    value = top.value / bottom.value
    relative = math.hypot(top.stderr / top.value if top.value else 0.0, bottom.stderr / bottom.value)
    return Estimate(value=value, stderr=abs(value) * relative, n=bottom.n)
