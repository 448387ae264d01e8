r"""Overlap and variance of guided paths in high dimension, for any schedule, many parameter sets at once.

Accuracy:
    Exact as d grows, except for captured paths (see `capture`). Numerically 1e-9 or better: Gauss quadrature
    with exact integrating factors between switches, events by bracketing.

Source:
    [ventura2026emergence] for the moment equations and the switch at speciation; derived in
    explanation/theory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from orthoscope.numerics import Array, golden_maximum
from orthoscope.theory.problem import Problem
from orthoscope.theory.stages import Paths, Stage

_BLOCK = 2048  # parameter sets integrated together: a panel then stays in the processor's cache
_SAME_RATE = 1e-12
_RATES = 64  # rates followed at once when the critical one is narrowed down ...
_REFINEMENTS = 5  # ... this often: to 64**-5 = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """Where guided paths go, one element per parameter set.

    Attributes:
        mean_shift: Overlap with the own centroid minus 1, at t = 0.
        variance_shift: Variance per coordinate minus s^2, at t = 0.
        variance_ratio: Variance per coordinate over s^2, at t = 0.
        stage: The `Stage` at t = 0.
        speciation_time: Time at which the path commits, nan if it does not.
        condensation_time: Time at which the weight of the other modes first condenses before the path commits, nan
            if it does not; from then on the path is frozen or captured.
        capture_time: Time at which another mode captures it, nan if none does.
        overlap: Overlap at the recorded times, shape (sets, times).
        variance: Variance per coordinate at the recorded times.
    """

    mean_shift: Array
    variance_shift: Array
    variance_ratio: Array
    stage: NDArray[np.int8]
    speciation_time: Array
    condensation_time: Array
    capture_time: Array
    overlap: Array
    variance: Array

    @property
    def lost(self) -> NDArray[np.bool_]:
        """Whether another mode holds the path at the end."""
        return np.asarray(self.stage == Stage.CAPTURED)


def solve(problem: Problem, times: Sequence[float] = ()) -> Moments:
    """Follow every path of a problem to t = 0.

    Args:
        problem: The parameter sets.
        times: Variance times, in any order, at which to record overlap and variance.

    Raises:
        ConfigError: if a run from infinite noise has no strength there, or the strength is too large.

    Source:
        [ventura2026emergence]; derived in explanation/theory.
    """
    count = len(problem.rate)
    blocks = [slice(i, i + _BLOCK) for i in range(0, count, _BLOCK)]
    solved = [_solve_block(problem.take(block) if len(blocks) > 1 else problem, times) for block in blocks]
    return Moments(**{name: np.concatenate([getattr(part, name) for part in solved]) for name in Moments.__slots__})


def _solve_block(problem: Problem, times: Sequence[float]) -> Moments:
    edges = problem.edges(times)
    paths = Paths(problem, edges[0])
    overlap, variance = (np.empty((len(problem.rate), len(times))) for _ in range(2))
    wanted = np.asarray(times, dtype=np.float64)
    for edge in edges:
        paths.advance(edge)
        for column in np.flatnonzero(wanted == edge):
            shift, excess = paths.state(edge)
            overlap[:, column], variance[:, column] = 1 + shift, problem.base + edge + excess
    shift, excess = paths.state(0.0)
    return Moments(
        mean_shift=shift + 0.0,  # a negative zero becomes a plain one
        variance_shift=excess + 0.0,
        variance_ratio=paths.variance_ratio(),
        stage=paths.stage,
        speciation_time=np.maximum(paths.speciation - problem.base, 0.0),
        condensation_time=np.maximum(paths.condensation - problem.base, 0.0),
        capture_time=np.maximum(paths.captures.variance - problem.base, 0.0),
        overlap=overlap,
        variance=variance,
    )


def critical_rate(problem: Problem) -> float | None:
    r"""Largest rate at which a path commits to its class, nats per dimension; None if it commits at no rate.

    Until its first event a path does not depend on the rate. One pass therefore gives the largest rate at
    which the own mode ever outweighs exponentially many others, and the largest at which these condense. If
    the first is no smaller, nothing can come between, and it is the answer. Otherwise paths at rates in
    between freeze or are captured, may still return to their class, and are followed one by one. The
    problem's own rate plays no part, except that a run from infinite noise is taken up beyond its events.

    Accuracy:
        1e-9.

    Source:
        derived in explanation/theory.
    """
    paths, rows = Paths(problem, (edges := problem.edges())[0]), np.zeros(1, dtype=np.intp)
    own = others = -np.inf
    for edge in edges[1:]:
        stop = np.full(1, np.log(problem.base + edge))

        def own_rate(log_variance: Array) -> Array:
            return paths.trace(Stage.FREE, rows, np.exp(log_variance)).margins[0][:, -1] + problem.rate

        trace = paths.trace(Stage.FREE, rows, np.exp(stop))
        rates = trace.margins[0][0] + problem.rate
        peak = int(np.argmax(rates))
        low, high = (np.log(trace.variance[:, np.clip(peak + step, 0, rates.size - 1)]) for step in (1, -1))
        # Only a maximum off the data side's end can hide between nodes.
        inside = peak < rates.size - 1 and rates[peak] > own
        own = max(own, float(golden_maximum(own_rate, low, high)[0]) if inside else float(rates[-1]))
        others = max(others, float(np.max(trace.margins[1] + problem.rate)))
        paths.skip(edge)
    return own if own >= others - _SAME_RATE else _last_committed(problem, others)


def _last_committed(problem: Problem, bound: float) -> float | None:
    low, high = 0.0, bound
    for _ in range(_REFINEMENTS):
        rates = np.linspace(low, high, _RATES + 1)[1:]
        stages = solve(replace(problem, rate=rates)).stage
        committed = np.flatnonzero(stages == Stage.COMMITTED)
        last = int(committed[-1]) + 1 if committed.size else 0
        width = (high - low) / _RATES
        low, high = low + last * width, low + min(last + 1, _RATES) * width
    return low or None
