r"""Searches that hold the moment of commitment.

Where a class is almost decided for a long time, the moment $y_s$ at which it is decided, and with it every outcome,
hangs on the last digits of a strength: the best schedules lie in a thin curved sheet. Outcomes are smooth in $y_s$
itself. So $y_s$ takes the place of the one strength $w_j$ that moves it most, which is solved for,

$$ F(p, e, y_s) = \beta_s - \beta = 0, \qquad
   \frac{dw_j}{dx_i} = -\frac{\partial F/\partial x_i}{\partial F/\partial w_j}, \qquad
   \frac{dw_j}{dy_s} = -\frac{\partial F/\partial y_s}{\partial F/\partial w_j}, $$

and at every switch before $y_s$ the class must still be undecided, $F \le 0$.

Source:
    derived in explanation/design.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from orthoscope.designs.optimization.families import Family
from orthoscope.designs.optimization.goals import QUANTITIES
from orthoscope.designs.optimization.mixture import MixtureLaw
from orthoscope.designs.optimization.search import Found, Stalled, Task
from orthoscope.numerics import Array

_AIM = 1e-9
_NEWTON = 40
_PATIENCE = 20
_INSIDE = 1e-6  # distance in y within which a switch counts as the moment of commitment


@dataclass(slots=True)
class _Walk:
    """Points of a family, told by the moment of commitment instead of strength `j`."""

    task: Task
    law: MixtureLaw
    family: Family
    j: int
    last: float
    best: Found | None = None
    idle: int = 0
    known: dict[bytes, tuple[Found, Array]] = field(default_factory=dict)
    leads: dict[tuple[bytes, float], tuple[float, Array, float]] = field(default_factory=dict)

    def point(self, chart: Array) -> Array:
        """The point whose path, followed freely, commits at the chart's moment; nearest bound if none does."""
        point = np.clip(chart, 0, 1)
        y, low, high = self._moment(chart), 0.0, 1.0
        point[self.j] = self.last
        for _ in range(_NEWTON):
            lead, by_point, _ = self.lead(point, y)
            if lead > 0:
                high = point[self.j]
            else:
                low = point[self.j]
            step = point[self.j] - lead / by_point[self.j] if by_point[self.j] > 0 else np.nan
            step = step if low <= step <= high else (low + high) / 2
            done = abs(step - point[self.j]) <= 1e-16
            point[self.j] = step
            if done or high - low <= 1e-16:
                break
        self.last = float(point[self.j])
        return point

    def lead(self, point: Array, y: float) -> tuple[float, Array, float]:
        """F at y, and its derivatives by the point and by y; remembered, as the last steps to a root are repeated."""
        if (key := (point.tobytes(), y)) not in self.leads:
            value, gradient, slope = self.law.lead(self.family.pieces(point), y)
            self.leads[key] = value, self.family.pullback(gradient), slope
        return self.leads[key]

    def at(self, chart: Array) -> tuple[Found, Array]:
        """What a point of the chart does, and the derivatives of the family's point by the chart's."""
        if (key := chart.tobytes()) not in self.known:
            point, y = self.point(chart), self._moment(chart)
            _, by_point, by_y = self.lead(point, y)
            tangent = np.eye(point.size)
            tangent[self.j] = -by_point / by_point[self.j] if by_point[self.j] else 0.0
            tangent[self.j, self.j] = -by_y * self._span / by_point[self.j] if by_point[self.j] else 0.0
            response = self.law.respond(self.family.pieces(point))
            found = Found(self.family, point, response, self.task.violation(response), response.lost)
            self.known = {key: (found, tangent), **dict(list(self.known.items())[:3])}
            before, self.best = self.best, self.task.better(self.best, found)
            self.idle = 0 if self.task.ahead(self.best, before) else self.idle + 1
            if self.idle > _PATIENCE:
                raise Stalled
        return self.known[key]

    def slopes(self, chart: Array) -> Array:
        """Derivatives of the quantities by the chart's point."""
        found, tangent = self.at(chart)
        return np.nan_to_num(self.family.pullback(found.response.gradient)[: len(QUANTITIES)] @ tangent)

    def undecided(self, chart: Array) -> tuple[Array, Array]:
        """-F at every switch before commitment, 1 for those after it, and the derivatives."""
        found, tangent = self.at(chart)
        y, edges = self._moment(chart), found.pieces.edges[1:-1]
        values, slopes = np.ones(edges.size), np.zeros((edges.size, chart.size))
        for i in np.flatnonzero(edges > y + _INSIDE):
            value, by_point, by_y = self.lead(found.point, float(edges[i]))
            moved = by_point.copy()
            moved[i] += by_y * self._span
            values[i], slopes[i] = -value, -moved @ tangent
        return values, slopes

    @property
    def _span(self) -> float:
        return self.family.top - self.family.bottom

    def _moment(self, chart: Array) -> float:
        return self.family.bottom + self._span * float(np.clip(chart[self.j], 0, 1))


def climb_committed(task: Task, found: Found, iterations: int = 100) -> Found:
    """The best point that a search from a committed one visits, with the moment of commitment held.

    Accuracy:
        A local optimum, to about 1e-9 in the objective.

    Source:
        derived in explanation/design.
    """
    # Loaded on first use: scipy.optimize is slow to import.
    from scipy.optimize import minimize

    law, family, time = task.law, found.family, task.law.evaluate(found.pieces.schedule()).speciation_time
    if not isinstance(law, MixtureLaw) or not time or found.response.lost or family.cells or task.margin:
        return found
    y = float(np.log(law.base + time))
    _, gradient, _ = law.lead(found.pieces, y)
    by_point = family.pullback(gradient)
    by_point[: family.positions] = 0
    j = int(np.argmax(by_point))
    walk = _Walk(task, law, family, j, last=float(found.point[j]), best=found)
    start = found.point.copy()
    start[j] = (y - family.bottom) / (family.top - family.bottom)
    row, rows = QUANTITIES.index(task.objective), [QUANTITIES.index(name) for name in task.floors]
    floors, order = np.array(list(task.floors.values())), family.order()
    order[:, j] = 0 if j >= family.positions else order[:, j]
    with suppress(Stalled):
        scale = task.sign / max(float(np.linalg.norm(walk.slopes(start)[row])), 1e-6)
        minimize(
            lambda chart: -scale * walk.at(chart)[0].response.values[row],
            start,
            jac=lambda chart: -scale * walk.slopes(chart)[row],
            bounds=[(0.0, 1.0)] * family.size,
            constraints=[
                {
                    "type": "ineq",
                    "fun": lambda chart: np.concatenate(
                        [
                            walk.at(chart)[0].response.values[rows] - floors - _AIM,
                            walk.undecided(chart)[0] - _AIM,
                            order @ chart,
                        ]
                    ),
                    "jac": lambda chart: np.vstack([walk.slopes(chart)[rows], walk.undecided(chart)[1], order]),
                }
            ],
            method="SLSQP",
            options={"maxiter": iterations, "ftol": 1e-12},
        )
    return task.better(found, walk.best) or found
