r"""Forward processes as charts of one and the same noising.

Divide the state of any linear-Gaussian process by its signal scale $\alpha(t)$ and it becomes

$$x = x_0 + \sqrt{\text{time}}\;\varepsilon,$$

where `time` is the variance added to the data. A process is only a chart: it maps its own clock $t$ to `time` and to
the scale $\alpha$. Laws at the end of a run do not depend on the chart; a guidance schedule does, through the clock
it reads, and therefore every schedule reads `time`.

A process may carry an `offset`: a part of the data's own width that is counted as noise (docs: explanation/numerics).
What a denoiser sees is $\sigma^2 = \text{time} + \text{offset}$; what a schedule reads stays `time`.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from orthoscope.errors import ConfigError

Scalar = Any  # a float, or one value per row (numpy array)
_ROUNDING = 1e-9  # by which differences of times fall below 0
LEAST_ALPHA = 2.0**-24  # signal scale that single precision cannot tell from none


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NoiseLevel:
    """How much noise a state carries; passed to every layer instead of a bare number.

    Attributes:
        time: Variance added to the data, which every schedule clock reads; NaN where a host does not tell it.
        offset: Data variance counted as noise; `sigma**2 - time`.
        t: The chart's own clock.
        alpha: The chart's signal scale: its state is `alpha * x`.
        step: Index of the step that this level starts, counted from the noise side; None outside a run.
        steps: Number of steps of the run; None outside a run.
    """

    time: Scalar
    offset: float = 0.0
    t: Scalar = None
    alpha: Scalar = 1.0
    step: int | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        """Reject a number that is no variance; arrays, of which runs are full, are not looked at."""
        if isinstance(self.time, float | int) and self.time + self.offset < -_ROUNDING:
            raise ConfigError(f"`time` is the variance of the noise and must be >= 0, got {self.time}", field="time")

    @property
    def variance(self) -> Scalar:
        """Variance that the denoiser sees: time + offset."""
        return self.time + self.offset

    @property
    def sigma(self) -> Scalar:
        """Standard deviation that the denoiser sees."""
        return np.sqrt(self.variance)

    @property
    def is_pure_noise(self) -> bool:
        """Whether no data is left in the state, at `LEAST_ALPHA` as at 0; level and state are then finite stand-ins."""
        return bool(np.all(np.asarray(self.alpha) <= LEAST_ALPHA))

    def from_noise_side(self, step: int | None) -> NoiseLevel:
        """The same level, approached from above in the given step.

        A schedule that jumps exactly here still has its earlier value: the jump belongs to the next step.
        """
        return replace(self, time=np.nextafter(self.time, np.inf), step=step)

    def copied(self) -> NoiseLevel:
        """The same for those who may change its arrays in place."""
        return copy.deepcopy(self) if np.ndim(self.time) else self

    def of_rows(self, rows: Any) -> NoiseLevel:
        """The level of some of the rows, where every row has its own."""
        if np.ndim(self.time) == 0:
            return self
        picked = {name: getattr(self, name)[rows] for name in ("time", "t", "alpha") if np.ndim(getattr(self, name))}
        return replace(self, **picked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Process(ABC):
    """A chart between a process's own clock and the variance it has added to the data.

    Attributes:
        offset: Data variance counted as noise, see the module's head.
    """

    offset: float = 0.0

    def __post_init__(self) -> None:
        """Reject an offset that is no variance."""
        if not (math.isfinite(self.offset) and self.offset >= 0):
            raise ConfigError(f"offset is a variance and must be finite and >= 0, got {self.offset}")

    @abstractmethod
    def variance(self, t: Scalar) -> Scalar:
        """Variance added to the data at chart time t."""

    @abstractmethod
    def alpha(self, t: Scalar) -> Scalar:
        """Signal scale at chart time t."""

    @abstractmethod
    def chart_time(self, variance: Scalar) -> Scalar:
        """Chart time at which the given variance has been added."""

    def level(self, t: Scalar) -> NoiseLevel:
        """The noise level at chart time t."""
        return NoiseLevel(time=self.variance(t), offset=self.offset, t=t, alpha=self.alpha(t))

    def at(self, time: Scalar) -> NoiseLevel:
        """The noise level at variance time `time`, exactly."""
        t = self.chart_time(time)
        return NoiseLevel(time=time, offset=self.offset, t=t, alpha=self.alpha(t))

    def time(self, level: NoiseLevel) -> Scalar:
        """Chart time of a noise level, whichever chart it came from."""
        return self.chart_time(level.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class VarianceExploding(Process):
    """Brownian motion started at the data: the clock is the variance itself.

    Source:
        [song2021score], variance-exploding process with unit diffusion; the convention of [ventura2026emergence].
    """

    def variance(self, t: Scalar) -> Scalar:
        """Variance added to the data: t."""
        return t

    def alpha(self, t: Scalar) -> Scalar:
        """Signal scale: 1."""
        return np.ones_like(t) if isinstance(t, np.ndarray) else 1.0

    def chart_time(self, variance: Scalar) -> Scalar:
        """Chart time: the variance."""
        return variance


@dataclass(frozen=True, slots=True, kw_only=True)
class OrnsteinUhlenbeck(Process):
    """dx = -x dt + sqrt(2) dB, the exactly variance-preserving process.

    Source:
        [song2021score], variance-preserving process in its natural clock; used by [biroli2024dynamical].
    """

    def variance(self, t: Scalar) -> Scalar:
        """Variance added to the unscaled data: exp(2t) - 1."""
        return np.expm1(2 * t)

    def alpha(self, t: Scalar) -> Scalar:
        """Signal scale exp(-t)."""
        return np.exp(-t)

    def chart_time(self, variance: Scalar) -> Scalar:
        """Chart time: log(1 + variance) / 2."""
        return np.log1p(variance) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class EDM(Process):
    """The clock is the standard deviation of the added noise.

    Source:
        [karras2022elucidating], sigma(t) = t and s(t) = 1.
    """

    def variance(self, t: Scalar) -> Scalar:
        """Variance added to the data: t squared."""
        return t * t

    def alpha(self, t: Scalar) -> Scalar:
        """Signal scale: 1."""
        return np.ones_like(t) if isinstance(t, np.ndarray) else 1.0

    def chart_time(self, variance: Scalar) -> Scalar:
        """Chart time: the noise standard deviation."""
        return np.sqrt(variance)


@dataclass(frozen=True, slots=True, kw_only=True)
class RectifiedFlow(Process):
    """The straight path (1 - t) x0 + t noise, t in [0, 1).

    Source:
        [liu2023flow], linear interpolation; derived in explanation/concepts.
    """

    def variance(self, t: Scalar) -> Scalar:
        """Variance added to the unscaled data: (t / (1 - t))^2.

        Raises:
            ConfigError: unless 0 <= t < 1; at t = 1 no data is left.
        """
        if not np.all((np.asarray(t) >= 0) & (np.asarray(t) < 1)):
            raise ConfigError(f"rectified flow runs over 0 <= t < 1, got t = {t}")
        return (t / (1 - t)) ** 2

    def alpha(self, t: Scalar) -> Scalar:
        """Signal scale 1 - t."""
        return 1 - t

    def chart_time(self, variance: Scalar) -> Scalar:
        """Chart time sigma / (1 + sigma)."""
        sigma = np.sqrt(variance)
        return sigma / (1 + sigma)
