"""Designs over a grid of rates and widths, each against the best linear and the best step window found independently.

The windows come from a plain scan without gradients, refined by a simplex, so that a fault in gradients or searches
of the design would show. Where outcomes jump a design starts from that scan too.

Source:
    derived in explanation/design.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from orthoscope.designs.optimization.goals import Design, Goal
from orthoscope.designs.optimization.mixture import MixtureLaw
from orthoscope.designs.optimization.optimize import design
from orthoscope.designs.optimization.scan import scanned
from orthoscope.designs.optimization.search import Task
from orthoscope.laws import Start


@dataclass(frozen=True, slots=True, kw_only=True)
class GridPoint:
    """One point of the grid.

    Attributes:
        rate: Class rate.
        std: Within-class standard deviation.
        design: The design.
        linear: Gain of the best linear window of the scan; -inf if none keeps the floors.
        step: Gain of the best step window of the scan.
    """

    rate: float
    std: float
    design: Design
    linear: float
    step: float

    @property
    def advantage(self) -> float:
        """What the design gains on the better of the two windows; -inf if only a window is feasible."""
        best = max(self.linear, self.step)
        gain = self.design.outcome.gain(self.design.goal) if self.design.feasible else -np.inf
        return 0.0 if gain == best else gain - best


def compared(
    rates: Sequence[float],
    stds: Sequence[float],
    goal: Goal,
    *,
    t_max: float,
    start: Start = "prior",
    lam: float = 1.0,
    dim: int | None = None,
    points: int = 9,
    tick: Callable[[], None] = lambda: None,
) -> tuple[GridPoint, ...]:
    """The design of every rate and std, and how it compares.

    Args:
        rates: Class rates.
        stds: Within-class standard deviations.
        goal: What is asked at each.
        t_max: Variance time of the start.
        start: "prior" or "exact".
        lam: 1 for the reverse SDE, 0 for the probability-flow ODE.
        dim: Dimension; None for mean-field theory.
        points: Points per number of the scan.
        tick: Called after each.

    Accuracy:
        As `design` and `scanned`.

    Source:
        derived in explanation/design.
    """
    found = []
    for rate in rates:
        for std in stds:
            law = MixtureLaw(rate=rate, std=std, t_max=t_max, start=start, lam=lam, dim=dim)
            linear, step = (scanned(Task.of(law, goal), name, points)[0] for name in ("linear", "step"))
            found.append(GridPoint(rate=rate, std=std, design=design(law, goal), linear=linear, step=step))
            tick()
    return tuple(found)
