"""What the moment theory needs to know: many parameter sets that share a width, a start and an ensemble.

Arrays have one row per parameter set. Strengths are asked for by row, so that a grid of windows and a single
schedule go the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.laws import Start, check_std
from orthoscope.numerics import Array
from orthoscope.settings import check_run
from orthoscope.theory.energy import GaussianModes, Modes, SphereModes
from orthoscope.theory.flow import drift_factor, limit_strength, panel_edges, response

Rows = NDArray[np.intp]
_BEYOND = 10.0  # how far beyond the last possible event a run from infinity is taken up
_SPHERE_FAR = 1e8  # on the sphere the start is asymptotic and has to be forgotten


@runtime_checkable
class Strengths(Protocol):
    """Strengths of many parameter sets."""

    @property
    def knots(self) -> Sequence[float]:
        """Variance times at which a strength jumps or bends."""

    @property
    def graded(self) -> bool:
        """Whether strengths are not smooth at t = 0."""

    def at(self, time: Array, rows: Rows) -> Array:
        """Strengths of some rows at times of shape (len(rows), n)."""

    def limit(self) -> Array:
        """Strength at infinite noise, one per row or one for all; ConfigError if there is none."""

    def take(self, rows: slice) -> Strengths:
        """The strengths of a block of rows alone."""


@dataclass(frozen=True, slots=True)
class OneSchedule:
    """The same schedule in every row."""

    schedule: GuidanceSchedule

    @property
    def knots(self) -> Sequence[float]:
        """The schedule's switches."""
        return self.schedule.switches()

    @property
    def graded(self) -> bool:
        """Whether the schedule reads another clock than variance time."""
        return self.schedule.graded

    def at(self, time: Array, rows: Rows) -> Array:
        """The schedule at these times."""
        return self.schedule.at_time(time)

    def limit(self) -> Array:
        """The schedule's limit."""
        return np.array([limit_strength(self.schedule)])

    def take(self, rows: slice) -> OneSchedule:
        """Itself."""
        return self


@dataclass(frozen=True, slots=True, eq=False)
class LinearStrengths:
    """w0 + slope * t, with one w0 and one slope per row."""

    w0: Array
    slope: Array
    knots: Sequence[float] = ()
    graded: bool = False

    def at(self, time: Array, rows: Rows) -> Array:
        """The lines at these times."""
        return self.w0[rows, None] + self.slope[rows, None] * time

    def limit(self) -> Array:
        """w0 where every slope is zero."""
        if self.slope.any():
            raise ConfigError("a strength that grows with t has no limit: give the finite time at which the run starts")
        return self.w0

    def take(self, rows: slice) -> LinearStrengths:
        """The lines of a block of rows."""
        return LinearStrengths(self.w0[rows], self.slope[rows])


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """Parameter sets that share a width, a start and an ensemble.

    Attributes:
        rate: Class rate of each set, in nats per dimension.
        std: Within-class standard deviation.
        strengths: Strengths of each set.
        t_max: Variance time of the start; may be infinite.
        start: "prior", N(0, t_max + s^2 + 1), or "exact", the true conditional law.
        lam: 1 for the reverse SDE, 0 for the probability-flow ODE.
        modes: The ensemble of centroids.
    """

    rate: Array
    std: float
    strengths: Strengths
    t_max: float = np.inf
    start: Start = "prior"
    lam: float = 1.0
    modes: Modes = field(default_factory=GaussianModes)

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        if not (np.isfinite(self.rate).all() and (self.rate > 0).all()):
            raise ConfigError(f"rate = log(classes)/dim must be finite and > 0, got {np.min(self.rate)}")
        check_std(self.std)
        check_run(self.t_max, self.start, self.lam)

    @property
    def base(self) -> float:
        """Variance within a class: v at t = 0."""
        return self.std**2

    @property
    def factor(self) -> float:
        """Drift factor k."""
        return drift_factor(self.lam)

    def take(self, rows: slice) -> Problem:
        """A block of rows alone."""
        return replace(self, rate=self.rate[rows], strengths=self.strengths.take(rows))

    def edges(self, extra: Sequence[float] = ()) -> Array:
        """Times of the panels: from the start, or from beyond every event if that is at infinity, down to 0."""
        knots = [*self.strengths.knots, *extra]
        t_max = self.t_max
        if not np.isfinite(t_max):
            # At high noise both event rates are (1 + 2w) / 2v.
            reach = (1 + 2 * np.abs(self.strengths.limit())) / self.rate
            far = _SPHERE_FAR if isinstance(self.modes, SphereModes) else 1.0
            t_max = max([_BEYOND * float(np.max(reach)), far, *knots])
        return panel_edges(t_max, self.base, self._growth, knots=knots, graded=self.strengths.graded)

    def _growth(self, time: Array) -> Array:
        rows = np.arange(len(self.rate))
        strength = self.strengths.at(np.broadcast_to(time, (len(rows), len(time))), rows)
        return 2 * self.factor * (1 + np.abs(strength) / (1 + self.base + time))

    def begin(self, time: float, share: float = 1.0) -> tuple[Array, Array]:
        """Shift and excess at the first edge.

        Args:
            time: The first edge.
            share: Share of the strength that acts at infinite noise: the prior weight of the other modes.
        """
        ones = np.ones(len(self.rate))
        if np.isfinite(self.t_max):
            return (0 * ones, 0 * ones) if self.start == "exact" else (-ones, ones)
        strength = self.strengths.limit() * share * ones
        variance = self.base + time
        ratio = variance / (1 + variance)
        shift, excess = response(strength, ratio, self.factor), -response(strength, ratio, 2 * self.factor)
        return strength * shift, strength * excess
