r"""Intervals for means of contributions, by a bootstrap that keeps its level for few units and skewed ones.

The mean over strata of the strata's means, $\hat\theta = G^{-1}\sum_g \bar v_g$, is reweighted within every stratum by
gamma variables of shape 4, whose variance and skewness relative to their mean are those of drawing with replacement
[weng1989second]. Unlike counts they are continuous: no two resamples tie, so an end moves no more than the values do.
Values are taken in order of size, so an interval does not depend on the order in which they came. Plain percentiles are
too narrow by the ratio of Student's to the normal quantile, and blind to skewness. Here deviations are widened to the
unbiased variance and by that factor, and the percentiles are the bias-corrected and accelerated ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from orthoscope.errors import ConfigError
from orthoscope.metrics.estimators import FloatArray
from orthoscope.quantities import Estimate

_DRAWN_AT_ONCE = 1 << 22
_SHAPE = 4.0  # of the gamma weights: their skewness is then that of a draw with replacement
_STEEPEST = 0.9  # acceleration times quantile: at 1 the correction has a pole


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A number measured from images, with its interval.

    Attributes:
        value: The measure.
        low: Lower end of the interval.
        high: Upper end of the interval.
        stderr: Standard error.
        n: Number of independent units (prompts, or images) behind it.
        dof: Effective degrees of freedom behind `stderr`; infinite if nothing varies.
    """

    value: float
    low: float
    high: float
    stderr: float
    n: int
    dof: float

    @property
    def estimate(self) -> Estimate:
        """The same as an estimate."""
        few = self.dof < 100  # beyond, Student's t is the normal law
        return Estimate(value=self.value, stderr=self.stderr, n=self.n, dof=max(1, int(self.dof)) if few else None)

    def holds(self, expected: float) -> bool:
        """Whether the interval holds a value."""
        return self.low <= expected <= self.high

    def to_dict(self) -> dict[str, float]:
        """Value and interval, for JSON."""
        return {"value": self.value, "low": self.low, "high": self.high}

    def __str__(self) -> str:
        """The value with its interval, e.g. 0.203 [0.18, 0.227]."""
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Independent values in strata, of which a measure is the mean over strata of the strata's means.

    Attributes:
        strata: The values, which are resampled within each stratum.
        bounds: Range of the measure, at which intervals are cut.
        grain: What one yes or no among the values' images changes; an interval goes at least to the `reach` of it
            either way.
    """

    strata: Sequence[FloatArray]
    bounds: tuple[float, float] = (-math.inf, math.inf)
    grain: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a stratum that does not show how its values differ.

        Raises:
            ConfigError: if it has fewer than two.
        """
        if fewest := [n for n in self.sizes if n < 2]:
            raise ConfigError(f"expected at least 2 values in every stratum, got {fewest[0]}")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of values in every stratum: samples of equal ones can be resampled together."""
        return tuple(map(len, self.strata))

    @property
    def deviations(self) -> list[FloatArray]:
        """Deviations from the strata's means, whose squares add up to that of the standard error."""
        return [(v - v.mean()) / (len(self.strata) * math.sqrt(len(v) * (len(v) - 1))) for v in self.strata]


def interval(
    strata: Sequence[FloatArray],
    stream: np.random.Generator,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    grain: float = 0.0,
) -> Measure:
    r"""Mean over strata of the strata's means, with a bootstrap interval; in the units of the values.

    Args:
        strata: Independent values, resampled within each stratum.
        stream: Random stream of the resampling.
        level: Coverage of the interval.
        resamples: Number of resamples.
        bounds: The interval is cut at these.
        grain: What one yes or no among the values' images changes; the interval goes at least to the `reach` of it
            either way.

    Raises:
        ConfigError: if a stratum has fewer than two values, or level or resamples are out of range.
    Accuracy:
        Coverage wrong by O(1/n) for n values; for normal ones Student's interval up to the noise of the resampling.
    Source:
        BCa percentiles [efron1987better], widened as in [hesterberg2015what]; derived in explanation/metrics.
    """
    return intervals([Sample(strata=strata, bounds=bounds, grain=grain)], stream, level=level, resamples=resamples)[0]


def intervals(
    samples: Sequence[Sample], stream: np.random.Generator, *, level: float = 0.95, resamples: int = 2000
) -> list[Measure]:
    """The measure of every sample with its interval, as `interval` finds it alone: weights are drawn once for all.

    Raises:
        ConfigError: if samples differ in the sizes of their strata, or level or resamples are out of range.
    """
    if not 0.5 <= level < 1:
        raise ConfigError(f"level must be in [0.5, 1), got {level}")
    if resamples < 100:
        raise ConfigError(f"an interval needs at least 100 resamples, got {resamples}")
    if len({sample.sizes for sample in samples}) > 1:
        raise ConfigError("samples that are resampled together need strata of the same sizes; resample them apart")
    spreads = [_Spread.of(sample) for sample in samples]
    wide = [spread for spread in spreads if spread.varies]
    drawn = dict(zip(map(id, wide), _resampled([spread.deviations for spread in wide], stream, resamples), strict=True))
    return [spread.measure(drawn.get(id(spread)), level) for spread in spreads]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Spread:
    """A sample with its mean and error.

    Attributes:
        sample: The sample.
        value: Its measure.
        deviations: As the sample has them.
        shares: What each stratum adds to the squared error.
    """

    sample: Sample
    value: float
    deviations: list[FloatArray]
    shares: FloatArray

    @classmethod
    def of(cls, sample: Sample) -> _Spread:
        deviations = sample.deviations
        value = float(np.clip(np.mean([v.mean() for v in sample.strata]), *sample.bounds))
        return cls(sample=sample, value=value, deviations=deviations, shares=np.array([d @ d for d in deviations]))

    @property
    def stderr(self) -> float:
        return math.sqrt(self.shares.sum())

    @property
    def varies(self) -> bool:
        """Whether there is anything to resample."""
        return bool(self.stderr > 1e-14 * max(abs(self.value), np.finfo(np.float64).tiny))

    def measure(self, drawn: FloatArray | None, level: float) -> Measure:
        """The measure, from the summed deviations of resamples; None where nothing varies."""
        value, stderr, sizes, bounds = self.value, self.stderr, self.sample.sizes, self.sample.bounds
        unseen = reach(self.sample.grain, level)
        least, most = np.clip((value - unseen, value + unseen), *bounds).tolist()
        if drawn is None:
            return Measure(value=value, low=least, high=most, stderr=stderr, n=sum(sizes), dof=math.inf)
        dof = float(self.shares.sum() ** 2 / (self.shares**2 / (np.array(sizes) - 1)).sum())
        z = ndtri((1 - level) / 2) * np.array([1.0, -1.0])
        flat = np.concatenate(self.deviations)
        ends = np.quantile(drawn, _levels(z, float((flat**3).sum()) / (6 * stderr**3)))
        low, high = np.clip(value + stdtrit(dof, (1 - level) / 2) / z[0] * ends, *bounds)
        low, high = min(float(low), least), max(float(high), most)
        return Measure(value=value, low=low, high=high, stderr=stderr, n=sum(sizes), dof=dof)


def reach(grain: float, level: float = 0.95) -> float:
    r"""How far a share may be from what was found, though no resample shows it: $-\log((1 - level)/2)$ grains.

    Source:
        The exact bound of the binomial law on a rate not seen, to first order; derived in explanation/metrics.
    """
    return -math.log((1 - level) / 2) * grain


def _resampled(samples: Sequence[list[FloatArray]], stream: np.random.Generator, resamples: int) -> FloatArray:
    """The summed deviation of every resample of every sample, whose variance is the sum of their squares."""
    total = np.zeros((len(samples), resamples))
    for stratum in zip(*(map(np.sort, deviations) for deviations in samples), strict=True):
        n = len(stratum[0])
        rows = max(1, _DRAWN_AT_ONCE // n)
        for start in range(0, resamples, rows):
            part = total[:, start : start + rows]
            weights = stream.standard_gamma(_SHAPE, (part.shape[1], n))
            sums = weights.sum(1)
            # One at a time: the last digits of one sample must not depend on which others there are.
            for found, values in zip(part, stratum, strict=True):
                found += math.sqrt(n * (_SHAPE * n + 1)) * (weights @ values) / sums
    return total


def _levels(z: FloatArray, acceleration: float) -> FloatArray:
    """The bias-corrected and accelerated levels of the percentiles; of a mean, both corrections are the same number."""
    moved = z + acceleration
    return np.asarray(ndtr(acceleration + moved / (1 - np.minimum(acceleration * moved, _STEEPEST))))
