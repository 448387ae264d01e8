"""The textbook sampler, written plainly from the formulas, to measure against.

Score of the noised mixture by a softmax over a rows-by-modes matrix, guided score s_c + w (s_c - s_u), and
Euler-Maruyama steps of the reverse SDE dx = score dtau + dB at log-spaced times, the last of them t_min.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def mixture_score(x: Tensor, centroids: Tensor, log_weights: Tensor, variance: float) -> Tensor:
    """Gradient of log sum_k weight_k N(x; m_k, variance I)."""
    squares = (x**2).sum(1, keepdim=True) - 2 * x @ centroids.T + (centroids**2).sum(1)
    posterior = torch.softmax(log_weights - squares / (2 * variance), dim=1)
    return (posterior @ centroids - x) / variance


def textbook_sample(
    x: Tensor,
    centroids: Tensor,
    log_weights: Tensor,
    members: Tensor,
    *,
    std: float,
    strength: float,
    t_max: float,
    steps: int,
    normal: Callable[[], Tensor],
    t_min: float = 1e-3,
) -> Tensor:
    """Guided samples of one class, given its members among the modes and the states at t_max."""
    own, own_weights = centroids[members], log_weights[members]
    times = np.geomspace(t_max, t_min, steps + 1)
    for t, t_next in itertools.pairwise(times):
        score_c = mixture_score(x, own, own_weights, std**2 + t)
        score_u = mixture_score(x, centroids, log_weights, std**2 + t)
        h = t - t_next
        x = x + h * (score_c + strength * (score_c - score_u)) + h**0.5 * normal()
    return x
