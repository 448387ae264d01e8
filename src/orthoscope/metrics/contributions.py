r"""What each image contributes to a measure: one idea behind every interval and every paired comparison.

A measure of many prompts is written as $\hat\theta = G^{-1}\sum_g n_g^{-1}\sum_i v_{gi}$, with $v_{gi} - \hat\theta$
the influence of image $i$ of prompt $g$: the value itself for a mean, the jackknife's pseudo-value for anything else.
Resampling acts on the contributions, never on images, because statistics of nearest neighbors or of kernels take an
image drawn twice for a collapse. Two runs on common seeds are compared contribution by contribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthoscope.errors import ConfigError, ShapeError, unknown
from orthoscope.metrics.bootstrap import Measure, Sample, intervals
from orthoscope.metrics.estimators import FloatArray

Over = Literal["prompts", "images"]
OVER = ("prompts", "images")
Index = NDArray[np.intp]
_BLOCKS = 20
_FREE = (-math.inf, math.inf)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contributions:
    """Contributions of units (images, or blocks of them) to a measure.

    Attributes:
        values: One per unit; their mean within a group is the group's, the mean of those the measure.
        groups: The group (prompt, label) of every unit.
        bounds: Range of the measure.
        resolved: Whether values within a group differ as their sampling error demands.
        grain: What one image changes in a share of images; 0 for a measure that is no share.
    """

    values: FloatArray
    groups: NDArray[Any]
    bounds: tuple[float, float] = _FREE
    resolved: bool = True
    grain: float = 0.0

    def __post_init__(self) -> None:
        if self.values.ndim != 1 or self.groups.shape != self.values.shape or not len(self.values):
            raise ShapeError(
                f"expected one group for each value, got shapes {self.values.shape} and {self.groups.shape}"
            )
        if not np.isfinite(self.values).all():
            raise ConfigError("contributions hold NaN or infinity; leave out the images that made them")

    @property
    def strata(self) -> list[FloatArray]:
        """The values of every group."""
        return [self.values[rows] for rows in rows_of(self.groups)]

    @property
    def value(self) -> float:
        """The measure itself."""
        return float(np.mean([v.mean() for v in self.strata]))

    def measure(
        self, stream: np.random.Generator, *, over: Over = "prompts", level: float = 0.95, resamples: int = 2000
    ) -> Measure:
        """The measure with its interval.

        Args:
            stream: Random stream of the resampling.
            over: As in `sample`.
            level: Coverage of the interval.
            resamples: Number of resamples.

        Raises:
            ConfigError: if there is one prompt only, or too few images to tell their error.
        """
        return intervals([self.sample(over)], stream, level=level, resamples=resamples)[0]

    def sample(self, over: Over = "prompts") -> Sample:
        """What is resampled for the interval.

        Args:
            over: What is a random draw: `prompts` (and their images with them), or only the `images` of these prompts.

        Raises:
            ConfigError: if there is one prompt only, or too few images to tell their error.
        """
        if over not in OVER:
            raise unknown("resampling over", over, OVER)
        strata = self.strata
        if over == "prompts":
            if len(strata) < 2:
                raise ConfigError("one prompt says nothing about other prompts; resample over='images'")
            strata = [np.array([v.mean() for v in strata])]
        elif not self.resolved or min(map(len, strata)) < 2:
            raise ConfigError("too few images in a prompt to tell their error; make more, or resample over='prompts'")
        return Sample(strata=strata, bounds=self.bounds, grain=self.grain)

    def minus(self, other: Contributions) -> Contributions:
        """Difference to another run with the same prompts and seeds.

        Raises:
            ShapeError: if the runs are not paired.
        """
        self._paired(other)
        return replace(
            self, values=self.values - other.values, bounds=(-math.inf, math.inf), resolved=self._both(other)
        )

    def per(self, other: Contributions) -> Contributions:
        """Ratio to another measure of the same images, or of another run with the same prompts and seeds.

        Raises:
            ShapeError: if the runs are not paired.
            ConfigError: if the other measure is not positive.
        """
        self._paired(other)
        top, bottom = self.value, other.value
        if not bottom > 0:
            raise ConfigError(f"cannot form a ratio to {bottom:.3g}{_no_spread(bottom)}")
        values = top / bottom + (self.values - top / bottom * other.values) / bottom
        grain = (self.grain + abs(top / bottom) * other.grain) / bottom
        return replace(self, values=values, bounds=_FREE, resolved=self._both(other), grain=grain)

    def inverse(self) -> Contributions:
        """One over the measure.

        Raises:
            ConfigError: if the measure is not positive.
        """
        if not (mean := self.value) > 0:
            raise ConfigError(f"cannot invert {mean:.3g}{_no_spread(mean)}")
        least = 1 / self.bounds[1] if self.bounds[1] > 0 else 0.0
        values = (2 - self.values / mean) / mean
        return replace(self, values=values, bounds=(least, math.inf), grain=self.grain / mean**2)

    def root(self) -> Contributions:
        """Square root of the measure.

        Raises:
            ConfigError: if the measure is not positive.
        """
        if not (mean := self.value) > 0:
            raise ConfigError(f"cannot take the root of {mean:.3g}{_no_spread(mean)}")
        return replace(self, values=(mean + self.values) / (2 * mean**0.5), bounds=(0.0, math.inf))

    def apart(self, other: Contributions) -> Contributions:
        """Difference to a measure of other images, independent of these; images are the random draw of both."""
        ours, theirs = len(self.strata), len(other.strata)
        share = ours + theirs
        number = np.concatenate([_numbered(self.groups), ours + _numbered(other.groups)])
        values = np.concatenate([self.values * share / ours, -other.values * share / theirs])
        return Contributions(values=values, groups=number, resolved=self._both(other))

    @property
    def parts(self) -> list[Contributions]:
        """The measure of every group by itself."""
        every = rows_of(self.groups)
        grain = self.grain * len(every)
        return [replace(self, values=self.values[rows], groups=self.groups[rows], grain=grain) for rows in every]

    def _both(self, other: Contributions) -> bool:
        return self.resolved and other.resolved

    def _paired(self, other: Contributions) -> None:
        if not np.array_equal(self.groups, other.groups):
            raise ShapeError(
                f"paired runs need the same prompts and seeds in the same order, got {len(self.groups)} and "
                f"{len(other.groups)} units that do not match; drop what one of them lacks from both"
            )


def joined(parts: Sequence[Contributions]) -> Contributions:
    """Contributions of several prompts measured one at a time.

    Raises:
        ConfigError: if there is nothing to join.
    """
    if not parts:
        raise ConfigError("expected contributions of at least one prompt, got none")
    return replace(
        parts[0],
        values=np.concatenate([part.values for part in parts]),
        groups=np.concatenate([part.groups for part in parts]),
        resolved=all(part.resolved for part in parts),
        grain=parts[0].grain / len(parts),
    )


def combination(weights: Sequence[float], parts: Sequence[Contributions]) -> Contributions:
    """Weighted sum of measures of the same images, or of runs with the same prompts and seeds.

    Raises:
        ShapeError: if the runs are not paired, or there is not one weight for each.
        ConfigError: if there is nothing to add.
    """
    if len(weights) != len(parts):
        raise ShapeError(f"expected one weight for each measure, got {len(weights)} for {len(parts)}")
    if not parts:
        raise ConfigError("expected at least one measure to add, got none")
    for part in parts[1:]:
        parts[0]._paired(part)
    return Contributions(
        values=np.asarray(weights, dtype=np.float64) @ np.stack([part.values for part in parts]),
        groups=parts[0].groups,
        resolved=all(part.resolved for part in parts),
        grain=float(np.abs(weights) @ [part.grain for part in parts]),
    )


def _numbered(groups: NDArray[Any]) -> Index:
    """The number of every unit's group, in order of their labels."""
    return np.asarray(np.unique(groups, return_inverse=True)[1].ravel())


def rows_of(groups: NDArray[Any]) -> list[Index]:
    """The rows of every group, groups in order of their labels."""
    inverse = _numbered(groups)
    order = np.argsort(inverse, kind="stable")
    return np.split(order, np.cumsum(np.bincount(inverse))[:-1])


def as_features(features: ArrayLike, groups: ArrayLike, *, least: int = 2) -> tuple[NDArray[Any], NDArray[Any]]:
    """Features as a matrix with one image per row, in the precision they have, and the group of every row.

    Raises:
        ShapeError: if features are not a matrix with one group for each row.
        ConfigError: if a row is not finite, or a group has too few rows.
    """
    x, labels = np.asarray(features), np.asarray(groups)
    if x.ndim != 2 or labels.shape != x.shape[:1] or 0 in x.shape:
        raise ShapeError(f"expected one row of features for each group label, got shapes {x.shape} and {labels.shape}")
    if not np.issubdtype(x.dtype, np.floating) or x.dtype == np.float16:
        x = x.astype(np.float64)
    if not (finite := np.isfinite(x).all(1)).all():
        raise ConfigError(f"features hold NaN or infinity in {np.sum(~finite)} rows, first row {np.argmin(finite)}")
    names, counts = np.unique(labels, return_counts=True)
    if counts.min() < least:
        raise ConfigError(
            f"expected at least {least} images per prompt, got {counts.min()} for prompt {names[np.argmin(counts)]}; "
            "make more images per prompt"
        )
    return x, labels


def blocks_of(n: int) -> list[Index]:
    """Rows 0 to n - 1 as up to 20 runs of neighbors of nearly equal length."""
    return np.array_split(np.arange(n), min(_BLOCKS, n))


def influence(whole: float, rest: ArrayLike, share: ArrayLike) -> FloatArray:
    """Contributions from leaving out one block at a time; their mean is the plain value, bias included.

    Args:
        whole: The statistic of everything.
        rest: The statistic without each block.
        share: The share of each block in everything.

    Source:
        Pseudo-values of a block jackknife [busing1999delete]; derived in explanation/metrics.
    """
    change = (1 - np.asarray(share)) * (whole - np.asarray(rest))
    return np.asarray(whole + len(change) * (change - change.mean()))


def leaving_out(statistic: Callable[[Index], float], n: int, *, least: int) -> tuple[FloatArray, bool]:
    """Contributions of up to 20 blocks of n rows, and whether there were rows enough to leave any out.

    Source:
        Block jackknife [busing1999delete]; derived in explanation/metrics.
    """
    rows, blocks = np.arange(n), blocks_of(n)
    whole = statistic(rows)
    if n - len(blocks[0]) < least:
        return np.full(len(blocks), whole), False
    rest = [statistic(np.delete(rows, block)) for block in blocks]
    return influence(whole, rest, [len(block) / n for block in blocks]), True


def by_group(
    features: ArrayLike, groups: ArrayLike, measured: Callable[[FloatArray], tuple[FloatArray, bool]], *, least: int
) -> Contributions:
    """Contributions of groups measured one at a time, each as a float64 matrix.

    Raises:
        ShapeError: if features are not a matrix with one group for each row.
        ConfigError: if a row is not finite, or a group has too few rows.
    """
    x, labels = as_features(features, groups, least=least)
    strata = rows_of(labels)
    found = [measured(x[rows].astype(np.float64)) for rows in strata]
    return Contributions(
        values=np.concatenate([values for values, _ in found]),
        groups=np.repeat(labels[[rows[0] for rows in strata]], [len(values) for values, _ in found]),
        resolved=all(resolved for _, resolved in found),
    )


def _no_spread(value: float) -> str:
    """Why a measure of spread is not positive: an unbiased one falls below 0 by chance."""
    if value == 0:
        return "; the features it is made of do not vary"
    return ": too few images to tell it from 0; make more per prompt"
