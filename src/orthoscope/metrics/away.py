r"""How far samples are from a class that is known exactly; alone, or less others that were made on the same noise.

- `class_distance`: root mean square of $|\Sigma^{-1/2}(x - m)|/\sqrt d$ with the class's moments, in the directions
  that hold 99 % of its variance; 1 for its samples;
- `far_share`: share of samples that are far from every mode of the law (`modes.is_far`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from orthoscope.metrics.distance import whitening
from orthoscope.metrics.estimators import FloatArray, as_samples, jackknife, mean_of, share_of
from orthoscope.quantities import Estimate


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Away:
    """Samples of one class, and how far each is.

    Attributes:
        squares: Squared distance from the class per coordinate; None where it does not vary.
        far: Whether a sample is far from every mode; None where modes are not known.
    """

    squares: FloatArray | None = None
    far: FloatArray | None = None

    def estimates(self) -> dict[str, Estimate]:
        """Distance and share, as far as they are known."""
        found = {}
        if self.squares is not None:
            found["class_distance"] = jackknife(lambda rows: math.sqrt(rows.mean()), self.squares[:, None])
        if self.far is not None:
            found["far_share"] = share_of(self.far)
        return found

    def less(self, others: Away) -> dict[str, Estimate]:
        """By how much they are more than others on the same noise, row by row."""
        found = {}
        if self.squares is not None and others.squares is not None:
            both = np.stack([self.squares, others.squares], axis=1)
            found["class_distance"] = jackknife(
                lambda rows: math.sqrt(rows[:, 0].mean()) - math.sqrt(rows[:, 1].mean()), both
            )
        if self.far is not None and others.far is not None:
            # One sample that is far in one of the two may not have come.
            unseen = Estimate(value=0.0, stderr=1 / (len(self.far) + 4), n=len(self.far))
            found["far_share"] = mean_of(self.far - others.far).plus(unseen)
        return found


def squared_distance(samples: ArrayLike, mean: FloatArray, covariance: FloatArray) -> FloatArray:
    """Squared Mahalanobis distance per coordinate of every row from a class of known moments.

    Raises:
        ConfigError: if the class does not vary, or a row is not finite.
    """
    x = as_samples(samples)
    return np.asarray((((x - mean) @ whitening(covariance)) ** 2).mean(1))
