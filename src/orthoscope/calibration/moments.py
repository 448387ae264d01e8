"""One Gaussian with the moments of few images in many directions."""

from __future__ import annotations

import numpy as np
import torch

from orthoscope.numerics import Array
from orthoscope.targets.covariant import Covariant, covariant

_FEWEST = 4


def shrunk_gaussian(images: Array) -> Covariant:
    """The Gaussian with the mean of some images and their covariance, shrunk towards one variance in all directions.

    The shrinkage is that of Ledoit and Wolf. Covariances are held by the directions that images span, so images may
    have many more coordinates than there are images.

    Args:
        images: One per row, at least four.

    Source:
        [ledoit2004well].
    """
    n, dim = images.shape
    assert n >= _FEWEST
    mean = images.mean(0)
    centred = images - mean
    products = centred @ centred.T if dim > n else centred.T @ centred
    size = float(np.trace(products)) / (n * dim)  # the variance of a direction, on average
    apart = float((products**2).sum()) / n**2
    noise = (float((np.square(centred).sum(1) ** 2).sum()) / n - apart) / n
    distance = apart - dim * size**2
    share = min(max(noise / distance, 0.0), 1.0) if distance > 0 else 1.0
    return covariant(
        torch.from_numpy(mean), factor=torch.from_numpy(centred.T * np.sqrt((1 - share) / n)), diag=share * size
    )


def variance_of(gaussian: Covariant) -> float:
    """Variance per coordinate."""
    outside = gaussian.dim - len(gaussian.variances)
    return (float(gaussian.variances.sum()) + outside * gaussian.rest) / gaussian.dim
