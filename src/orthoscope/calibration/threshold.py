r"""Which side of the threshold the data are on, in the terms of random classes in many directions.

The theory has $e^{\beta d}$ centroids of unit variance in each of $d$ directions and classes of width $s$ round them.
Data are laid beside it by three numbers: $d$, the participation ratio of all images; $s^2$, the variance within
prompts over that between; and the unit of $t$, the variance between prompts per direction. That within and between
fill the same directions evenly is assumed.
"""

from __future__ import annotations

import math

import numpy as np

from orthoscope import metrics
from orthoscope.calibration.levels import Sampling
from orthoscope.calibration.record import Record
from orthoscope.quantities import Estimate
from orthoscope.theory import critical_rate
from orthoscope.theory.information import mean_field_time

MEASURED = ("information", "participation_ratio", "information_rate", "rate", "std", "critical_rate")
PREDICTED = ("speciation_time", "half_time")
_UNKNOWN = Estimate(value=math.nan, stderr=math.nan, n=0)


def threshold(record: Record, information: Estimate, classes: int | None, sampling: Sampling) -> dict[str, Estimate]:
    """Rate and critical rate, with what they are made of and what mean field predicts from them.

    Args:
        record: Images at strength 0.
        information: What clean images tell about their prompt, nats.
        classes: Number of classes where they can be counted; then its log takes the place of the information.
        sampling: What is a random draw.
    """
    directions = metrics.participation_ratio(record.states)
    fisher = sampling.measured(metrics.fisher_ratio(record.states, record.groups), "fisher").estimate
    within = sampling.measured(metrics.variance_within(record.states, record.groups), "within").estimate
    found = {
        "participation_ratio": directions,
        "information_rate": _ratio(information, directions),
        "rate": _ratio(information if classes is None else _exactly(math.log(classes)), directions),
    }
    if not (fisher.value > 0 and directions.value > 0):
        return found | dict.fromkeys(("std", "critical_rate", "speciation_time", "half_time"), _UNKNOWN)
    std = fisher.value**-0.5
    unit = fisher.value * within.value / directions.value
    # At strength 0 the critical rate is log(1 + 1/s^2) / 2, whose slope in 1/s^2 is 1 / (2 (1 + 1/s^2)).
    critical = Estimate(
        value=float(critical_rate(std, 0.0)), stderr=fisher.stderr / (2 * (1 + fisher.value)), n=fisher.n
    )
    times = mean_field_time([0.0, 0.5], found["rate"].value, std) * unit
    return found | {
        "std": Estimate(value=std, stderr=std * fisher.stderr / fisher.value / 2, n=fisher.n),
        "critical_rate": critical,
        "speciation_time": _exactly(float(times[0])),
        "half_time": _exactly(float(times[1])),
    }


def side(rate: Estimate, critical: Estimate) -> str:
    """On which side of the threshold the rate is: committed, dense, or undecided within two standard errors."""
    gap = critical.value - rate.value
    if not abs(gap) > 2 * np.hypot(rate.stderr, critical.stderr):
        return "undecided"
    return "committed" if gap > 0 else "dense"


def _exactly(value: float) -> Estimate:
    return Estimate(value=value, stderr=0.0, n=0)


def _ratio(top: Estimate, bottom: Estimate) -> Estimate:
    """A ratio of two estimates taken as independent."""
    value = top.value / bottom.value
    return Estimate(
        value=value,
        stderr=abs(value) * math.hypot(top.stderr / top.value, bottom.stderr / bottom.value),
        n=bottom.n,
    )
