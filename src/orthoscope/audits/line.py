r"""The line of constant strengths: variance and distance at a mean shift, and what a schedule has beyond.

Constant strengths give a line of variance ratio over mean shift, straight between its knots $(m_k, V_k)$. The gain of a
schedule is its height above that line,

$$ G = V - (1 - a)V_1 - aV_2, \qquad a = \frac{m - m_1}{m_2 - m_1}, $$

with 1 and 2 the knots on either side. All six numbers come from the same prompts and seeds, so the error of the gain is
that of one sum of contributions: $v - (1 - a)v_1 - av_2 - b\,[\mu - (1 - a)\mu_1 - a\mu_2]$ with the slope
$b = (V_2 - V_1)/(m_2 - m_1)$, whose last part vanishes on average and carries the error of where to read the line.
The distance from the class is read on the same line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from orthoscope.errors import ConfigError
from orthoscope.metrics import Contributions
from orthoscope.metrics.contributions import Over, combination

_RESOLVED = 4.0  # standard errors by which the mean shifts of two knots must differ


class Knot(NamedTuple):
    """One constant strength on the line."""

    strength: float
    variance_ratio: Contributions
    mean_shift: Contributions
    class_distance: Contributions | None = None


class Reading(NamedTuple):
    """A schedule's height above the line of constant strengths.

    Attributes:
        gain: Contributions to it.
        equal_strength: The constant strength of equal mean shift.
        extended: Whether the line had to be extended beyond the constant strengths measured.
        distance_gain: Contributions to its distance from the class above the line; None where that is not known.
    """

    gain: Contributions
    equal_strength: float
    extended: bool
    distance_gain: Contributions | None = None


def line(
    knots: Sequence[Knot],
    variance_ratio: Contributions,
    mean_shift: Contributions,
    class_distance: Contributions | None = None,
    *,
    over: Over,
) -> Reading:
    """A schedule's height above the line through the knots, read between those on either side of its mean shift.

    Knots whose mean shifts are within four standard errors of each other have no slope to speak of: the farther one is
    passed over.

    Args:
        knots: At least two, in order of mean shift.
        variance_ratio: Of the schedule.
        mean_shift: Of the schedule.
        class_distance: Of the schedule, if it is known.
        over: What is a random draw.

    Raises:
        ConfigError: if only two knots are left, and not that far apart.
    Accuracy:
        Beyond the ends the last segment is extended. The error is that of first order in the six numbers.
    """
    at, left = mean_shift.value, list(knots)
    while True:
        k = int(np.clip(np.searchsorted([knot.mean_shift.value for knot in left], at) - 1, 0, len(left) - 2))
        one, two = left[k : k + 2]
        if _apart(one, two, over):
            break
        if len(left) == 2:
            raise ConfigError("constant strengths do not differ in mean shift beyond error; give one further from 0")
        left.remove(max(one, two, key=lambda knot: abs(knot.mean_shift.value - at)))
    run = two.mean_shift.value - one.mean_shift.value
    share = (at - one.mean_shift.value) / run

    def height(mine: Contributions, first: Contributions, second: Contributions) -> Contributions:
        """How far a measure is above that of the line at this mean shift."""
        slope = (second.value - first.value) / run
        return combination(
            [1, share - 1, -share, -slope, slope * (1 - share), slope * share],
            [mine, first, second, mean_shift, one.mean_shift, two.mean_shift],
        )

    far = (class_distance, one.class_distance, two.class_distance)
    return Reading(
        gain=height(variance_ratio, one.variance_ratio, two.variance_ratio),
        distance_gain=None if any(part is None for part in far) else height(*far),  # type: ignore[arg-type]
        equal_strength=one.strength + share * (two.strength - one.strength),
        extended=not knots[0].mean_shift.value <= at <= knots[-1].mean_shift.value,
    )


def _apart(one: Knot, two: Knot, over: Over) -> bool:
    """Whether two knots differ in mean shift beyond error."""
    gap = two.mean_shift.minus(one.mean_shift)
    strata = [np.array([v.mean() for v in gap.strata])] if over == "prompts" else gap.strata
    error = math.sqrt(sum(v.var(ddof=1) / len(v) for v in strata)) / len(strata)
    return gap.value > _RESOLVED * error
