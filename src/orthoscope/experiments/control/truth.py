"""A class as it is, and what samples of a run are beside it.

Three measures of diversity, each over that of as many samples of the class itself: the variance, the Vendi score under
a kernel as wide as two samples are apart, and recall, the share of samples of the class within reach of the run's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from orthoscope import metrics
from orthoscope.guidance.rules import Rule
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.metrics.away import Away
from orthoscope.metrics.diversity import effective_number
from orthoscope.simulation.classes import ClassMoments

FloatArray = NDArray[np.float64]
DIVERSITIES = ("variance_ratio", "vendi", "recall")
MEASURES = (*DIVERSITIES, "mean_shift", "class_posterior", "frechet", "far_share", "class_distance")
_NEIGHBORS = 3  # that a ball reaches


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """One class, from which samples are measured.

    Attributes:
        moments: Of the class, and the mean of the data around it.
        batches: Samples of the class (batch, row, coordinate), as many rows as a run has, two batches or more.
        posterior: Mean posterior of the class.
        away: How far samples are from it.
        main: Directions, one per column, in which Frechet distances are taken; None for all.
    """

    moments: ClassMoments
    batches: FloatArray
    posterior: Callable[[FloatArray], float]
    away: Callable[[FloatArray], Away]
    main: FloatArray | None = None

    def measured(self, x: FloatArray) -> list[float]:
        """`MEASURES` of samples."""
        moments, distances = self.moments, self.away(x)
        axis = moments.mean - moments.center
        squares, far = distances.squares, distances.far
        assert squares is not None  # of every class that is steered to
        assert far is not None
        return [
            float(x.var(0, ddof=1).sum() / np.trace(moments.covariance)),
            self._vendi(x) / self._own_vendi,
            self._recall(x) / self._own_recall,
            float((x.mean(0) - moments.mean) @ axis / (axis @ axis)),
            self.posterior(x),
            self._frechet(x),
            float(far.mean()),
            float(np.sqrt(squares.mean())),
        ]

    @cached_property
    def _width(self) -> float:
        first = self.batches[0]
        return metrics.median_distance(first, np.zeros(len(first)))

    def _vendi(self, x: FloatArray) -> float:
        return effective_number(x, width=self._width)

    @cached_property
    def _own_vendi(self) -> float:
        return float(np.mean([self._vendi(batch) for batch in self.batches]))

    def _recall(self, x: FloatArray) -> float:
        return metrics.manifolds(x, self.batches[0], k=_NEIGHBORS).recall.value

    @cached_property
    def _own_recall(self) -> float:
        return float(np.mean([self._recall(batch) for batch in self.batches[1:]]))

    def _frechet(self, x: FloatArray) -> float:
        """Squared distance, over the variance of the class."""
        mean, covariance = self.moments.mean, self.moments.covariance
        if self.main is not None:
            x, mean, covariance = x @ self.main, mean @ self.main, self.main.T @ covariance @ self.main
        return metrics.frechet_distance(x, mean, covariance).value * len(mean) / float(np.trace(covariance))


@dataclass(frozen=True, slots=True)
class Subject:
    """One case of a setting: a class that is steered to.

    Attributes:
        truth: What samples are measured from.
        run: Samples under a schedule and a rule, on the same noise for all.
    """

    truth: Truth
    run: Callable[[GuidanceSchedule, Rule], FloatArray]
