"""Design for a data set: simple families first, then a strength per stretch of noise, by gradients through the sampler.

All candidates run on the same paths. What is found there is partly fitted to these paths; therefore nothing here is a
result: `data.judge` measures it again on fresh ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import combinations, product
from typing import Any

import numpy as np
import torch

from orthoscope.designs.data import Batch
from orthoscope.designs.optimization.goals import Goal
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Interval, Linear, Step, Tabulated
from orthoscope.numerics import Array

Tick = Callable[[], None]
_PIECES = 8  # stretches with a strength of their own
_ITERATIONS, _AGAIN = 20, 5  # of the gradient search: over all stretches, and over the strengths of a family
_TOLERANCE = 1e-4
_CALIBRATIONS = 6  # steps of the search for the scale at which the floors hold
_MOST_SHARE = 4.0  # by which strengths are scaled up
_CLOSE = 2e-3  # margin of a floor that counts as none
_FORGIVEN = 0.003  # by which a floor may be missed after calibration
_FRUGAL = 1e-4  # weight of the mean square strength, which settles strengths that do nothing
_MISSED = 1e3  # weight of a missed floor when simple families are compared
_POSITIONS = 5  # breakpoints tried, even in log-variance


@dataclass(kw_only=True, eq=False)
class Search:
    """The search for one goal.

    Attributes:
        batch: Training paths.
        check: Other paths, more of them, on which strengths are scaled until the floors hold.
        goal: What is asked.
        tick: Called after every run.
    """

    batch: Batch
    check: Batch
    goal: Goal
    tick: Tick = lambda: None
    _seen: dict[GuidanceSchedule, dict[str, float]] = field(default_factory=dict, init=False)
    _checked: dict[GuidanceSchedule, dict[str, float]] = field(default_factory=dict, init=False)

    def values(self, schedule: GuidanceSchedule) -> dict[str, float]:
        """Quantities on the training paths, effort included."""
        if schedule not in self._seen:
            self._seen[schedule] = self.batch.values(schedule) | {"effort": effort(self.batch, schedule)}
            self.tick()
        return self._seen[schedule]

    def score(self, schedule: GuidanceSchedule) -> float:
        """The objective, less a penalty for missed floors."""
        return self.rank(self.values(schedule))

    def checked(self, schedule: GuidanceSchedule) -> dict[str, float]:
        """Quantities on the paths of `check`, effort included."""
        if schedule not in self._checked:
            self._checked[schedule] = self.check.values(schedule) | {"effort": effort(self.check, schedule)}
            self.tick()
        return self._checked[schedule]

    def checked_score(self, schedule: GuidanceSchedule) -> float:
        """The objective on paths that the gradients have not seen; floors hold there up to calibration."""
        found = self.checked(schedule)
        return self.rank(found | {name: found[name] + _FORGIVEN for name in self.goal.floors})

    def rank(self, found: Mapping[str, float]) -> float:
        """The objective of some quantities, less a penalty for missed floors."""
        missed = sum(max(floor - found[name], 0.0) for name, floor in self.goal.floors.items())
        return self.goal.sign * found[self.goal.objective] - _MISSED * missed

    def most(self, name: str) -> float:
        """The largest value of a quantity among all schedules tried."""
        return max(found[name] for found in self._seen.values())

    def families(self) -> dict[str, GuidanceSchedule]:
        """The best schedule of each simple family on the training paths."""
        times = self.batch.levels.times
        inner = [times[k] for k in np.linspace(0, len(times) - 1, _POSITIONS + 2).round().astype(int)[1:-1]]
        constant = self._best(Constant(value=w) for w in self._amplitudes())
        w = abs(constant.value) or 1.0  # type: ignore[attr-defined]
        early = sorted({self._bounded(x) for x in (w, 3 * w)})
        late = sorted({self._bounded(x) for x in (-1.0, -0.5, 0.0)})
        step = self._best(Step(early=a, late=b, switch=t) for a, b, t in product(early, late[:2], inner))
        interval = self._best(
            Interval(inside=a, low=t[1], high=t[0]) for a, t in product(early, combinations([times[0], *inner], 2))
        )
        three = self._best(self._phases(a, b, t) for a, b, t in product(early, late[:2], combinations(inner, 2)))
        linear = self._best(
            Linear(w0=b, slope=(a - b) / times[0] ** 0.5, clock="sigma") for a, b in product(early, late)
        )
        found = {"constant": constant, "interval": interval, "linear": linear, "step": step, "three_phase": three}
        return {name: self._polished(name, schedule) for name, schedule in found.items()}

    def _amplitudes(self) -> Iterator[float]:
        yield from sorted({self._bounded(w) for w in (-1, -0.5, -0.2, 0, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 8, 12)})

    def _bounded(self, w: float) -> float:
        return float(np.clip(w, self.goal.low, self.goal.high))

    def _phases(self, early: float, late: float, times: tuple[float, float]) -> Tabulated:
        at = (0.0, times[1], times[1], times[0], times[0], self.batch.law.t_max)
        return Tabulated(at=at, strengths=(early, early, late, late, early, early))

    def _best(self, candidates: Iterator[GuidanceSchedule] | Any) -> GuidanceSchedule:
        return max(dict.fromkeys(candidates), key=self.score)

    def _polished(self, name: str, schedule: GuidanceSchedule) -> GuidanceSchedule:
        """The same breakpoints with the best strengths; a linear window stays as it is."""
        if name == "linear":
            return schedule
        strengths = self.batch.strengths(schedule)
        changes = np.flatnonzero(np.diff(strengths)) + 1
        columns = np.zeros((len(strengths), len(changes) + 1))
        for j, part in enumerate(np.split(np.arange(len(strengths)), changes)):
            columns[part, j] = 1.0
        if name == "interval":
            inside = np.flatnonzero(strengths)
            if not inside.size:
                return schedule
            columns = np.zeros((len(strengths), 1))
            columns[inside] = 1.0
        start = np.asarray(np.linalg.lstsq(columns, strengths, rcond=None)[0], dtype=np.float64)
        polished = self.batch.schedule(columns @ self._ascend(columns, start, self.goal.floors, _AGAIN))
        return max((schedule, polished), key=self.score)

    def pieces(self, start: GuidanceSchedule) -> Tabulated:
        """A strength per stretch, from a start."""
        steps = self.batch.steps
        columns = np.repeat(np.eye(_PIECES), steps // _PIECES, axis=0)
        weights = columns.T @ self.batch.strengths(start) / (steps // _PIECES)
        return self.batch.schedule(np.round(columns @ self._ascend(columns, weights, self.goal.floors, _ITERATIONS), 4))

    def calibrated(self, schedule: GuidanceSchedule) -> GuidanceSchedule:
        """The schedule scaled until its floors hold, and no better than that, on the many paths of `check`.

        Floors are met on the training paths up to their noise only; without this, schedules that happened to miss
        theirs would look strong. Where floors are not what limits the objective, the schedule stays as it is.
        """
        if not self.goal.floors or (isinstance(schedule, Constant) and schedule.value == 0):
            return schedule
        return max((self._on_floors(schedule), schedule), key=self.checked_score)

    def _on_floors(self, schedule: GuidanceSchedule) -> GuidanceSchedule:
        def margin(share: float) -> float:
            found = self.checked(scaled(schedule, share, self.goal))
            return min(found[name] - floor for name, floor in self.goal.floors.items())

        # Both ends of a bracket and their margins; a line between them proposes, and halving keeps it moving.
        low, high = 0.0, 1.0
        at_low, at_high = margin(low), margin(high)
        while at_low * at_high > 0 and high < _MOST_SHARE:
            low, at_low, high = high, at_high, 2 * high
            at_high = margin(high)
        if at_low * at_high > 0:
            return scaled(schedule, high if abs(at_high) <= abs(at_low) else low, self.goal)
        for k in range(_CALIBRATIONS):
            middle = (low + high) / 2 if k % 2 else low + (high - low) * at_low / (at_low - at_high)
            if abs(at_middle := margin(middle)) < _CLOSE:
                return scaled(schedule, middle, self.goal)
            if at_middle * at_low > 0:
                low, at_low = middle, at_middle
            else:
                high, at_high = middle, at_middle
        return scaled(schedule, low if abs(at_low) <= abs(at_high) else high, self.goal)

    def _ascend(self, columns: Array, start: Array, floors: Mapping[Any, float], iterations: int) -> Array:
        from scipy.optimize import minimize

        names = [self.goal.objective, *floors]
        memory: dict[bytes, tuple[Array, Array]] = {}

        def evaluate(weights: Array) -> tuple[Array, Array]:
            key = weights.tobytes()
            if key not in memory:
                memory.clear()
                memory[key] = self._gradients(columns, weights, names)
                self.tick()
            return memory[key]

        sign = self.goal.sign
        constraints = [
            {
                "type": "ineq",
                "fun": lambda w, j=j: evaluate(w)[0][j] - floors[names[j]],
                "jac": lambda w, j=j: evaluate(w)[1][j],
            }
            for j in range(1, len(names))
        ]
        found = minimize(
            lambda w: -sign * evaluate(w)[0][0],
            np.clip(start, self.goal.low, self.goal.high),
            jac=lambda w: -sign * evaluate(w)[1][0],
            bounds=[(self.goal.low, self.goal.high)] * len(start),
            constraints=constraints,
            method="SLSQP",
            options={"maxiter": iterations, "ftol": _TOLERANCE},
        )
        return np.clip(found.x, self.goal.low, self.goal.high)

    def _gradients(self, columns: Array, weights: Array, names: list[Any]) -> tuple[Array, Array]:
        strengths = torch.tensor(columns @ weights, dtype=torch.float64, requires_grad=True)
        square = strengths.square().mean()
        found = self.batch.measure(strengths) | {"effort": square}
        found[self.goal.objective] = found[self.goal.objective] - self.goal.sign * _FRUGAL * square
        rows = [torch.autograd.grad(found[name], strengths, retain_graph=True)[0].numpy() for name in names]
        return np.array([found[name].item() for name in names]), np.array(rows) @ columns


def scaled(schedule: GuidanceSchedule, share: float, goal: Goal) -> GuidanceSchedule:
    """The schedule with all strengths multiplied, within the bounds."""
    if share == 1:
        return schedule
    numbers = {f.name: getattr(schedule, f.name) for f in fields(schedule)}
    for name in ("value", "w0", "slope", "early", "late", "inside", "outside"):
        if name in numbers:
            inside = name != "slope"
            numbers[name] = float(
                np.clip(share * numbers[name], goal.low, goal.high) if inside else share * numbers[name]
            )
    if "strengths" in numbers:
        numbers["strengths"] = tuple(np.clip(share * np.array(numbers["strengths"]), goal.low, goal.high).tolist())
    return type(schedule)(**numbers)


def effort(batch: Batch, schedule: GuidanceSchedule) -> float:
    """Mean square of the strength over log-variance."""
    return float(np.mean(batch.strengths(schedule) ** 2))
