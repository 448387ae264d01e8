"""One target of every kind, small and in float64, and random mixtures."""

from __future__ import annotations

import math

import numpy as np
import torch

from orthoscope.targets import Gaussian, Mixture, Pair, Planted, Target, covariant, mixture


def random_mixture_of(seed: int, *, modes: int = 7, dim: int = 3, std: float = 0.6, classes: int = 3) -> Mixture:
    """Many modes per class, unequal weights."""
    stream = np.random.default_rng(seed)
    return mixture(
        torch.from_numpy(2 * stream.standard_normal((modes, dim))),
        std=std,
        labels=torch.from_numpy(np.arange(modes) % classes),
        weights=torch.from_numpy(stream.uniform(0.2, 2.0, modes)),
    )


def every_target() -> dict[str, Target]:
    gaussian = Gaussian(
        mean=torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64),
        variance=torch.tensor([0.4, 2.0, 0.9], dtype=torch.float64),
    )
    centroid = torch.tensor([1.2, -0.4, 0.8], dtype=torch.float64)
    covariance = torch.tensor([[1.0, 0.3, 0.0], [0.3, 0.6, -0.1], [0.0, -0.1, 0.8]], dtype=torch.float64)
    return {
        "covariant": covariant(centroid, cov=covariance),
        "gaussian": gaussian,
        "pair": Pair(cond=gaussian, uncond=random_mixture_of(1)),
        "mixture": random_mixture_of(0),
        "planted": Planted(centroid=centroid, std=0.5, log_classes=math.log(5)),
    }
