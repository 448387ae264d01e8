r"""The four stages of a guided path in high dimension, and how a path moves through them.

- *free*: exponentially many modes share the unconditional weight; shift and excess follow `flow.transport`;
- *frozen*: that weight has condensed while the strength is not negative; the pull is that of the few nearest
modes;
- *captured*: it has condensed and the strength is negative: one mode holds the path (`capture`);
- *committed*: the own mode has won. Guidance does nothing any more; shift and excess decay as $v^k$ and
$v^{2k}$.

A panel is integrated for all paths of a stage at once; where one of the stage's margins turns positive the
moment is located and the path goes on from there in its next stage.

Source:
    [ventura2026emergence] for free and committed; derived in explanation/theory.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from orthoscope.numerics import Array, bracketed_root, unit_gauss, unit_integrals
from orthoscope.theory.capture import Capture, capture, captured_state
from orthoscope.theory.energy import GaussianModes
from orthoscope.theory.flow import NODES, log_variance, transport
from orthoscope.theory.problem import Problem, Rows

_INSIDE = 1e-9  # share of a panel by which its ends are approached from inside: a jump belongs to one side
_ROUNDING = 1e-17
_PICARD = 100  # most iterations for a pull that depends on the state; a dozen do
_TIE = 1e-9  # closeness in log v below which the own mode wins against condensation


class Stage(IntEnum):
    """What holds a path."""

    FREE = 0
    FROZEN = 1
    CAPTURED = 2
    COMMITTED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Paths along (part of) a panel: columns are its start, the quadrature nodes and its end.

    Attributes:
        variance: v.
        shift: Overlap minus 1.
        excess: Variance per coordinate minus v.
        lag: Lag J of captured paths, else 0.
        log_variance: Log of the variance per coordinate, at the end alone.
        margins: One array per possible event, positive once it has happened: the own mode wins; then, for
            free paths, condensation, and for frozen ones, negative strength.
    """

    variance: Array
    shift: Array
    excess: Array
    lag: Array
    log_variance: Array
    margins: tuple[Array, ...]


class Paths:
    """The present state of every path, and the events it has met (nan where none).

    Attributes:
        variance: v, one per path, as are all.
        shift: Overlap minus 1.
        excess: Variance per coordinate minus v.
        log_variance: Log of the variance per coordinate, which may be far below v.
        lag: Lag J of a captured path.
        stage: Its `Stage`.
        speciation: v at which it committed.
        condensation: v at which the weight of the other modes first condensed, before speciation.
        captures: Its capture.
    """

    def __init__(self, problem: Problem, time: float) -> None:
        """Put every path at the start of its run."""
        self.problem = problem
        count = len(problem.rate)
        self.variance = np.full(count, problem.base + time)
        self.shift, self.excess = problem.begin(time)
        self.log_variance = np.log(self.variance + self.excess)
        self.lag = np.zeros(count)
        self.stage: NDArray[np.int8] = np.full(count, Stage.FREE, dtype=np.int8)
        self.speciation = np.full(count, np.nan)
        self.condensation = np.full(count, np.nan)
        self.captures = Capture(**{name: np.full(count, np.nan) for name in Capture.__slots__})

    def advance(self, time: float) -> None:
        """Take every path down to a time, through whatever it meets."""
        stop = self.problem.base + time
        while (lagging := (self.variance > stop) & (self.stage != Stage.COMMITTED)).any():
            for stage in (Stage.FREE, Stage.FROZEN, Stage.CAPTURED):
                rows = np.flatnonzero(lagging & (self.stage == stage))
                if rows.size:
                    self._march(stage, rows, stop)

    def skip(self, time: float) -> Trace:
        """Take every path down to a time as if nothing could happen to it, and return how it went."""
        rows = np.arange(self.variance.size)
        ends = np.full(rows.size, self.problem.base + time)
        trace = self.trace(Stage.FREE, rows, ends)
        self._store(rows, trace, ends)
        return trace

    def state(self, time: float) -> tuple[Array, Array]:
        """Shift and excess of every path at a time to which it has been advanced, committed paths included."""
        variance = self.problem.base + time
        decay = np.where(self.stage == Stage.COMMITTED, (variance / self.variance) ** self.problem.factor, 1.0)
        return self.shift * decay, self.excess * decay**2

    def variance_ratio(self) -> Array:
        """Variance per coordinate over that of the class, at t = 0, of paths that have been advanced there."""
        base, lam = self.problem.base, self.problem.lam
        log_decay = np.log(base / self.variance)
        kept = self.log_variance + (1 + lam**2) * log_decay
        if lam > 0:
            with np.errstate(divide="ignore"):  # at t = 0 already
                kept = np.logaddexp(kept, np.log(base) + np.log(-np.expm1(lam**2 * log_decay)))
        change = self.state(0.0)[1] / base
        return np.where(change > -0.5, 1 + change, np.exp(np.minimum(kept - np.log(base), 0.0)))

    def _march(self, stage: Stage, rows: Rows, stop: float) -> None:
        ends = np.full(rows.size, stop)
        trace = self.trace(stage, rows, ends)
        where = np.full(rows.size, -np.inf)  # log v of the first event
        which = np.zeros(rows.size, dtype=np.intp)
        for event, margin in enumerate(trace.margins):
            met = np.flatnonzero((margin > 0).any(axis=1))
            if met.size:
                at = self._locate(stage, rows[met], event, trace.variance[met], margin[met])
                earlier = at > where[met] + _TIE
                where[met], which[met] = (
                    np.where(earlier, at, where[met]),
                    np.where(earlier, event, which[met]),
                )
        met = np.flatnonzero(np.isfinite(where))
        ends[met] = np.clip(np.exp(where[met]), stop, self.variance[rows[met]])
        self._store(rows, self.trace(stage, rows, ends) if met.size else trace, ends)
        self._transfer(stage, rows[met], which[met])

    def _locate(self, stage: Stage, rows: Rows, event: int, variance: Array, margin: Array) -> Array:
        first = np.argmax(margin > 0, axis=1)
        before = np.maximum(first - 1, 0)
        pick = np.arange(rows.size)

        def at_end(log_variance: Array) -> Array:
            return self.trace(stage, rows, np.exp(log_variance)).margins[event][:, -1]

        high, low = np.log(variance[pick, before]), np.log(variance[pick, first])
        values = margin[pick, before], margin[pick, first]
        return np.where(first == 0, high, bracketed_root(at_end, high, low, values=values))

    def _store(self, rows: Rows, trace: Trace, ends: Array) -> None:
        self.variance[rows] = ends
        self.shift[rows], self.excess[rows] = trace.shift[:, -1], trace.excess[:, -1]
        self.lag[rows], self.log_variance[rows] = trace.lag[:, -1], trace.log_variance

    def _transfer(self, stage: Stage, rows: Rows, event: NDArray[np.intp]) -> None:
        own, others = rows[event == 0], rows[event == 1]
        self.stage[own], self.speciation[own] = Stage.COMMITTED, self.variance[own]
        if stage == Stage.FREE:
            self.stage[others], self.condensation[others] = Stage.FROZEN, self.variance[others]
        elif others.size:
            self.stage[others] = Stage.CAPTURED
            at = capture(
                self.problem.modes,
                self.shift[others],
                self.excess[others],
                self.variance[others],
                self.problem.rate[others],
            )
            for name in Capture.__slots__:
                getattr(self.captures, name)[others] = getattr(at, name)

    def trace(self, stage: Stage, rows: Rows, stop: Array) -> Trace:
        """Some paths from where they are down to v = `stop`, all in one stage, events ignored."""
        start = self.variance[rows][:, None]
        width = np.log(start / stop[:, None])
        x = np.concatenate([[_INSIDE], unit_gauss(NODES)[0], [1 - _INSIDE]])
        # Rounding must not carry a time below 0, where some clocks end.
        time = np.maximum(start * np.exp(-width * x) - self.problem.base, _ROUNDING * self.problem.base)
        strength = self.problem.strengths.at(time, rows)
        variance = start * np.exp(-width * unit_gauss(NODES)[0])
        variance = np.hstack([start, variance, stop[:, None]])
        if stage == Stage.CAPTURED:
            return self._captured(rows, width, strength, variance)
        return self._independent(stage, rows, width, strength, variance)

    def _captured(self, rows: Rows, width: Array, strength: Array, variance: Array) -> Trace:
        lag, zero = self.lag[rows][:, None], np.zeros((1, 1))
        rest, _ = transport(
            lag,
            zero,
            width=width,
            strength=strength[:, 1:-1],
            pull=zero,
            rest=zero + 1,
            variance=zero,
            factor=self.problem.factor,
        )
        lag = np.hstack([lag, rest])
        shift, excess, margin = captured_state(self.captures.rows(rows), lag, variance, self.problem.lam)
        last = np.log(variance[:, -1] + excess[:, -1])
        return Trace(variance=variance, shift=shift, excess=excess, lag=lag, log_variance=last, margins=(margin,))

    def _independent(self, stage: Stage, rows: Rows, width: Array, strength: Array, variance: Array) -> Trace:
        modes, rate = self.problem.modes, self.problem.rate[rows][:, None]
        first = self.shift[rows][:, None], self.excess[rows][:, None]
        shift, excess = (np.broadcast_to(column, variance.shape) for column in first)
        for _ in range(_PICARD):
            square = (1 + shift) ** 2 + variance + excess
            pull = modes.free_pull(square, variance) if stage == Stage.FREE else modes.pull(square, variance, rate)
            rest = transport(
                *first,
                width=width,
                strength=strength[:, 1:-1],
                pull=pull[:, 1:-1],
                rest=modes.rest(pull, variance)[:, 1:-1],
                variance=variance[:, 1:-1],
                factor=self.problem.factor,
            )
            before = shift
            shift, excess = (np.hstack(pair) for pair in zip(first, rest, strict=True))
            if stage == Stage.FREE and isinstance(modes, GaussianModes):
                break  # this pull does not depend on the state
            if np.all(np.abs(shift - before) <= 1e-14 * (1 + np.abs(shift))):
                break
        if stage == Stage.FREE:
            own = modes.speciation_rate(shift, excess, variance) - rate
            second = modes.condensation_rate((1 + shift) ** 2 + variance + excess, variance) - rate
        else:
            own = modes.margin(shift, excess, variance, rate)[0]
            # What has spread over many modes again captures nothing.
            condensed = modes.condensation_rate((1 + shift) ** 2 + variance + excess, variance) - rate
            second = np.minimum(-strength, condensed)
        growth = self.problem.factor * width * (1 + strength * pull)[:, 1:-1] @ unit_integrals(NODES).T
        last = log_variance(
            self.log_variance[rows][:, None],
            width=width,
            growth=growth,
            variance=variance[:, 1:-1],
            lam=self.problem.lam,
        )
        return Trace(
            variance=variance,
            shift=shift,
            excess=excess,
            lag=np.zeros_like(shift),
            log_variance=last[:, 0],
            margins=(own, second),
        )
