"""Fronts: what is gained at what diversity, which values of a knob make one, and the area under it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from orthoscope.experiments.control.truth import DIVERSITIES, MEASURES, FloatArray

AIMS = {"mean_shift": 1, "class_posterior": 1, "frechet": -1}  # and whether more or less of it is better
LEAST_DIVERSITY = 0.5  # below which a front counts for nothing
OBJECTIVES = tuple(product(AIMS, DIVERSITIES))


def front_of(aim: str, diversity: str) -> Callable[[FloatArray], FloatArray]:
    """Diversity and gain of every plan, from measures by case, plan and measure: means over cases.

    Diversity is that over the truth's, or the inverse, whichever is below 1: samples thrown off are not diverse. Gain
    is that over unguided samples, the first plan, on the same noise.
    """
    gained, kept = MEASURES.index(aim), MEASURES.index(diversity)

    def found(values: FloatArray) -> FloatArray:
        mean = values.mean(0)
        ratio = np.clip(mean[:, kept], 1e-9, None)
        return np.stack([np.minimum(ratio, 1 / ratio), AIMS[aim] * (mean[:, gained] - mean[0, gained])], 1)

    return found


def nondominated(points: FloatArray, plans: Sequence[int]) -> list[int]:
    """Those plans of which none other is better in both."""
    kept = []
    for k, one in enumerate(points):
        better = (points >= one).all(1) & (points > one).any(1)
        if np.isfinite(one).all() and not better.any():
            kept.append(plans[k])
    return kept


def hypervolume(points: FloatArray) -> float:
    """Area that points dominate, between the least diversity that counts and 1, above a gain of 0."""
    area, height = 0.0, 0.0
    usable = points[np.isfinite(points).all(1) & (points[:, 0] > LEAST_DIVERSITY)]
    for diversity, gain in usable[np.argsort(-usable[:, 0])]:
        area += max(gain - height, 0.0) * (diversity - LEAST_DIVERSITY)
        height = max(height, gain)
    return area
