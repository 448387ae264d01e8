r"""Trajectories whose class is decided, completed analytically.

Once a trajectory of the reverse SDE has committed to a class of one mode $m$, guidance has nothing left to do and the
rest of its path is known: from $x$ at total variance $v$ it ends, at $s^2$, as

$$N\big(m + \tfrac{s^2}{v}(x - m),\; s^2(1 - \tfrac{s^2}{v})\,I\big).$$

Estimators take the mean and variance of that Gaussian instead of one sample of it (Rao-Blackwell): the same expectation
without the noise of the last part of the path.

Source:
    derived in explanation/engine.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from orthoscope.guidance.guided import GuidedMemory
from orthoscope.quantities import Estimate
from orthoscope.sampling import Run, State
from orthoscope.simulation.control import row_estimates, row_values
from orthoscope.simulation.draw import Draw
from orthoscope.simulation.setting import Simulation


class Completion:
    """The `Estimator` of one draw: where each trajectory stood when its class was decided."""

    _before: State | None = None
    _x: Tensor
    _variance: Tensor
    _decided: Tensor

    def watch(self, state: State) -> None:
        """Keep the state in which rows that are newly decided were found to be."""
        if self._before is None:
            self._x = state.x.clone()
            self._variance = torch.zeros(len(state.x), dtype=torch.float64, device=state.x.device)
            self._decided = torch.zeros(len(state.x), dtype=torch.bool, device=state.x.device)
        elif isinstance(state.memory, GuidedMemory) and "uncond" in state.memory.parts:
            new = state.memory.parts["uncond"] & ~self._decided
            self._x[new], self._variance[new] = self._before.x[new], float(self._before.level.variance)
            self._decided |= new
        self._before = state

    def rows(self, draw: Draw, run: Run) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance per coordinate of each trajectory's end; the end itself where no class was decided."""
        m = torch.as_tensor(draw.centroid, dtype=torch.float64)
        last = float(run.grid.levels[-1].variance)
        x = torch.where(self._decided[:, None], self._x, run.x).double().cpu()
        share = torch.where(self._decided, last / self._variance.clamp_min(last), 1.0).cpu()
        return (m + share[:, None] * (x - m)).numpy(), (last * (1 - share)).numpy()

    def estimates(self, draw: Draw, run: Run) -> Mapping[str, Estimate]:
        """Estimates of all `control.row_values` from means and variances."""
        means, variances = self.rows(draw, run)
        m, base = draw.centroid, draw.simulation.setting.law.std**2
        ends = {
            name: values + (variances - base if name.startswith("variance") else -1.0)
            for name, values in row_values(means, m).items()
        }
        return row_estimates(ends, m)

    @staticmethod
    def known(simulation: Simulation) -> Mapping[str, Estimate]:
        """Nothing: these are the estimates themselves."""
        return {}
