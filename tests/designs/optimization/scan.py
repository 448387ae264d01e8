"""Linear and step windows by a plain scan, without gradients.

A second way to the best window, so that a fault in gradients or searches of the design would show.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from orthoscope.designs.optimization.search import PENALTY, TOLERANCE, Task
from orthoscope.guidance.schedules import GuidanceSchedule, Linear, Step
from orthoscope.numerics import Array


def scanned(task: Task, name: str, points: int = 9) -> tuple[float, GuidanceSchedule | None]:
    """The best linear or step window of a scan over all its numbers, refined by a simplex from the best three.

    Args:
        task: What is asked.
        name: `linear` or `step`.
        points: Points per number of the scan.

    Returns:
        Its signed gain, -inf if none keeps the floors, and the window.

    Accuracy:
        The refinement to about 1e-8 in the gain; the scan may miss narrow optima.
    """
    law, run = task.law, task.family
    best: tuple[float, GuidanceSchedule | None] = (-np.inf, None)

    def window(point: Array) -> GuidanceSchedule:
        early, late = task.low + (task.high - task.low) * np.clip(point[:2], 0, 1)
        if name == "linear":
            return Linear(w0=float(late), slope=float(early - late) / law.t_max)
        switch = np.exp(run.bottom + (run.top - run.bottom) * np.clip(point[2], 0, 1)) - law.base
        return Step(early=float(early), late=float(late), switch=max(float(switch), 0.0))

    def priced(point: Array) -> float:
        nonlocal best
        outcome = law.evaluate(schedule := window(point))
        gain = task.sign * float(getattr(outcome, task.objective))
        missed = max((floor - float(getattr(outcome, key)) for key, floor in task.floors.items()), default=0.0)
        if outcome.lost or not np.isfinite(gain):
            return PENALTY
        if missed <= TOLERANCE and gain > best[0]:
            best = (gain, schedule)
        return PENALTY * max(missed, 0.0) - gain

    strength = np.linspace(0, 1, points) ** 2  # denser near the lower bound, where windows are
    axes = [strength, strength] if name == "linear" else [strength, strength, np.linspace(0, 1, points)]
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*axes)], axis=1)
    order = np.argsort([priced(point) for point in grid])
    for index in order[:3]:
        minimize(priced, grid[index], method="Nelder-Mead", options={"maxfev": 80 * len(axes), "fatol": 1e-11})
    return best
