r"""Real modes beside their planted control variate: the same centroid, start and noise, the other modes averaged.

The planted ensemble has almost the same answer as the real modes and costs almost nothing, so that the modes are needed
only for the difference of the two,

$$E[f(x)] = E[f(x^{\rm planted})] + E[f(x) - f(x^{\rm planted})].$$

The first term comes from reduced coordinates (`radial`) with as many trajectories and steps as one likes. In the second
most of the noise cancels: after both paths have committed they obey one linear equation and their difference shrinks
without noise. Unbiased for every setting; how much it saves depends on how alike the two are.

Source:
    derived in explanation/engine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from orthoscope import metrics
from orthoscope.numerics import Array
from orthoscope.quantities import Estimate
from orthoscope.sampling import Run, State
from orthoscope.simulation.draw import Draw
from orthoscope.simulation.radial import radial
from orthoscope.simulation.setting import Simulation

LAW_STEPS = 60  # of the reduced planted paths, of second order: a sixteenth of the bias of 15
LAW_TRAJECTORIES = 1 << 15
FEWEST_DIM = 4  # of the reduced coordinates that the planted law comes from
QUANTITIES = ("mean_shift", "variance_shift", "variance_shift_along", "variance_shift_across")


@lru_cache(maxsize=64)
def planted_law(
    simulation: Simulation, *, length: float | None = None, samples: int = LAW_TRAJECTORIES
) -> dict[str, Estimate]:
    """Estimates of `QUANTITIES` for the planted ensemble, on a fine grid.

    A schedule with clock=step is another schedule on another grid: its grid is that of the simulation.

    Args:
        simulation: The setting; its samples and draws play no part.
        length: |m| of the centroid; averaged over the simulation's ensemble if None.
        samples: Trajectories.
    """
    numerics, budget, ensemble = simulation.numerics, simulation.budget, simulation.setting.law.ensemble
    if length is None and ensemble == "sphere":
        length = math.sqrt(simulation.dim)
    counted = simulation.setting.schedule.clock == "step"
    planted = simulation.planted_version().but(
        samples=samples,
        draws=1,
        steps=numerics.steps if counted else max(LAW_STEPS, numerics.steps),
        seed=budget.seed + 1,  # independent of the runs that it is added to
    )
    found = radial(planted, length=length)
    return {
        "mean_shift": found.mean_shift,
        "variance_shift": found.variance_shift,
        "variance_shift_along": found.variance_shift_along,
        "variance_shift_across": found.variance_shift_across,
    }


class PlantedControl:
    """The `Estimator` of one draw: real modes minus their planted control variate, of `QUANTITIES`."""

    def watch(self, state: State) -> None:
        """The end of a run is enough."""

    def estimates(self, draw: Draw, run: Run) -> Mapping[str, Estimate]:
        """Mean differences to the control's run on the same noise."""
        control = draw.planted().run(run.grid, recorded=False)
        ours, its = (row_values(one.x.double().cpu().numpy(), draw.centroid) for one in (run, control))
        return row_estimates({name: ours[name] - its[name] for name in QUANTITIES}, draw.centroid)

    @staticmethod
    def known(simulation: Simulation) -> Mapping[str, Estimate]:
        """The planted law, averaged over centroids."""
        return planted_law(simulation)


def row_values(rows: Array, centroid: ArrayLike) -> dict[str, Array]:
    """What each row adds to the estimates of `QUANTITIES`, but for the constants 1 and std^2 that they are less.

    In one dimension there is nothing across the centroid.
    """
    m = np.asarray(centroid, dtype=np.float64)
    n, dim = rows.shape
    centred = rows - rows.mean(0)
    square = (centred**2).sum(1) * n / (n - 1)
    along = (centred @ m) ** 2 / (m @ m) * n / (n - 1)
    values = {"mean_shift": rows @ m / (m @ m), "variance_shift": square / dim, "variance_shift_along": along}
    return values | ({"variance_shift_across": (square - along) / (dim - 1)} if dim > 1 else {})


def row_estimates(values: Mapping[str, Array], centroid: ArrayLike) -> dict[str, Estimate]:
    """Means over one draw's rows of `row_values`, or of their differences; the shift has its denominator as weight."""
    m = np.asarray(centroid, dtype=np.float64)
    weights = {"mean_shift": float(m @ m)}
    return {name: metrics.mean_of(column, weight=weights.get(name, 1.0)) for name, column in values.items()}
