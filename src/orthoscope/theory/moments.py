r"""Overlap and variance of guided paths in high dimension, for any schedule, many parameter sets at once.

Accuracy:
    Exact as d grows, except for captured paths (see `capture`). Numerically 1e-9 or better: Gauss quadrature with exact
    integrating factors between switches, events by bracketing.

Source:
    [ventura2026emergence] for the moment equations and the switch at speciation; derived in explanation/theory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orthoscope.numerics import Array
from orthoscope.theory.problem import Problem
from orthoscope.theory.stages import Paths, Stage

_BLOCK = 2048  # parameter sets integrated together: a panel then stays in the processor's cache


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """Where guided paths go, one element per parameter set.

    Attributes:
        mean_shift: Overlap with the own centroid minus 1, at t = 0.
        variance_shift: Variance per coordinate minus s^2, at t = 0.
        stage: The `Stage` at t = 0.
        speciation_time: Time at which the path commits, nan if it does not.
        capture_time: Time at which another mode captures it, nan if none does.
        overlap: Overlap at the recorded times, shape (sets, times).
        variance: Variance per coordinate at the recorded times.
    """

    mean_shift: Array
    variance_shift: Array
    stage: NDArray[np.int8]
    speciation_time: Array
    capture_time: Array
    overlap: Array
    variance: Array

    @property
    def lost(self) -> NDArray[np.bool_]:
        """Whether another mode holds the path at the end."""
        return self.stage == Stage.CAPTURED


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
        mean_shift=shift,
        variance_shift=excess,
        stage=paths.stage,
        speciation_time=np.maximum(paths.speciation - problem.base, 0.0),
        capture_time=np.maximum(paths.captures.variance - problem.base, 0.0),
        overlap=overlap,
        variance=variance,
    )


def critical_rate(problem: Problem) -> Array:
    r"""Rate below which paths commit to their class, nats per dimension; nan where the strength forbids it at any rate.

    Until its first event a path does not depend on the rate, so that one pass gives, for every moment, the rates
    $\beta_s(t)$ below which the own mode outweighs the others and $\beta_k(t)$ below which these condense. A path commits if
    its rate is passed by $\beta_s$ no later than by $\beta_k$. The problem's own rates play no part, except that a run from
    infinite noise is taken up beyond their events.

    Accuracy:
        1e-9 where the maximum lies at t = 0 or inside a panel. Paths that are captured first and return to their class
        later are not counted as committing.

    Source:
        derived in explanation/theory.
    """
    paths = Paths(problem, (edges := problem.edges())[0])
    best = np.full(len(problem.rate), -np.inf)
    top_own, top_others = np.full((2, len(problem.rate), 1), -np.inf)
    for edge in edges[1:]:
        trace = paths.skip(edge)
        own, others = (
            np.maximum.accumulate(np.hstack([top, margin + problem.rate[:, None]]), axis=1)
            for top, margin in zip((top_own, top_others), trace.margins, strict=True)
        )
        first = own >= others - 1e-12
        best = np.maximum(best, np.where(first, own, -np.inf).max(axis=1))
        top_own, top_others = own[:, -1:], others[:, -1:]
    return np.where(np.isfinite(best), best, np.nan)
