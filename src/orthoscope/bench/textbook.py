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

TEXTBOOK_STEPS = 500
Score = Callable[[Tensor, float], Tensor]


def mixture_score(x: Tensor, centroids: Tensor, log_weights: Tensor, variance: float) -> Tensor:
    """Gradient of log sum_k weight_k N(x; m_k, variance I)."""
    squares = (x**2).sum(1, keepdim=True) - 2 * x @ centroids.T + (centroids**2).sum(1)
    posterior = torch.softmax(log_weights - squares / (2 * variance), dim=1)
    return (posterior @ centroids - x) / variance


def textbook_times(t_max: float, steps: int, t_min: float = 1e-3) -> list[float]:
    """Log-spaced times."""
    times: list[float] = np.geomspace(t_max, t_min, steps + 1).tolist()
    return times


def textbook_sample(
    x: Tensor,
    score_cond: Score,
    score_uncond: Score,
    *,
    strength: float,
    times: list[float],
    normal: Callable[[float, float], Tensor],
) -> Tensor:
    """Guided samples, given scores at a time and the states at the first time."""
    for t, t_next in itertools.pairwise(times):
        s_c, s_u = score_cond(x, t), score_uncond(x, t)
        h = t - t_next
        x = x + h * (s_c + strength * (s_c - s_u)) + h**0.5 * normal(t, t_next)
    return x
