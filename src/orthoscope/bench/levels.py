r"""The mean shift of one class of one draw of the modes, to a wanted error: control variate and several step sizes.

With $D_\ell$ the difference of real modes and planted control variate on the grid of level $\ell$, coarse to fine,

$$\delta\mu = \delta\mu^{\rm planted} + E[D_0] + \sum_{\ell\ge1} E[D_\ell - D_{\ell-1}],$$

each term from trajectories of its own, and both grids of a term on one Brownian path. Rows are shared out as cost and
spread ask for (multilevel Monte Carlo).

Source:
    derived in explanation/engine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from torch import Tensor

from orthoscope import metrics, rng
from orthoscope.errors import ConfigError
from orthoscope.numerics import Array
from orthoscope.progress import Progress
from orthoscope.quantities import Estimate
from orthoscope.sampling import BrownianPath, Grid, sample
from orthoscope.sampling.noise import Noise
from orthoscope.simulation.control import planted_law
from orthoscope.simulation.draw import Draw
from orthoscope.simulation.setting import Simulation

STEPS = (16,)  # second-order steps on the refined grid leave no bias that a further level could pay for
PILOT = (48, 16)  # rows of the first and of later levels before their spread is trusted
_BATCH = 256  # rows followed together: their Brownian paths are held in memory
_LAW_SHARE = 0.25  # of the wanted error that the planted law may take
_MOST_LAW_SAMPLES = 1 << 24  # minutes of reduced planted paths, and half a gigabyte


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One term of the sum.

    Attributes:
        steps: Steps of its finer grid.
        correction: Mean of its differences.
        rows: Trajectories behind it.
        modes_read: Rows times modes read for it.
    """

    steps: int
    correction: Estimate
    rows: int
    modes_read: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MultilevelResult:
    """The mean shift of one class, modes held fixed.

    Attributes:
        simulation: The setting.
        mean_shift: The estimate; its error covers trajectories, not modes.
        law: The planted control variate's mean shift.
        levels: The terms added to it, coarse to fine.
        seconds: Wall time.
    """

    simulation: Simulation
    mean_shift: Estimate
    law: Estimate
    levels: tuple[Level, ...]
    seconds: float


def multilevel(
    draw: Draw,
    *,
    stderr: float,
    steps: Sequence[int] = STEPS,
    progress: Progress | None = None,
) -> MultilevelResult:
    """Estimate the mean shift of label 0 to a wanted standard error.

    Args:
        draw: The modes, and the simulation they belong to, a tolerance included; its samples, draws and steps play no
            part.
        stderr: Standard error wanted, modes held fixed.
        steps: Steps of the levels, ascending.
        progress: Called with rows done and rows known to be needed.

    Raises:
        ConfigError: if the error is not positive or out of reach, the steps do not ascend, or the schedule has
            clock=step.
        DivergenceError: if a state stops being finite.

    Accuracy:
        Unbiased but for the finest steps, whose bias `step_bias` measures, those of the planted law (a sixteenth of
        the bias that its paths would have on 15 steps), and the tolerance.

    Source:
        Multilevel Monte Carlo [giles2015multilevel]; derived in explanation/engine.
    """
    if not stderr > 0:
        raise ConfigError(f"expected a standard error > 0, got {stderr}")
    if not steps or steps[0] < 1 or any(b <= a for a, b in pairwise(steps)):
        raise ConfigError(f"expected ascending numbers of steps, got {', '.join(map(str, steps)) or 'none'}")
    begin = time.perf_counter()
    pair = _Pair(draw)
    law = _law(pair.control, _LAW_SHARE * stderr)
    terms = [_Term(pair, tuple(steps[max(k - 1, 0) : k + 1])) for k in range(len(steps))]
    wanted = [PILOT[min(k, 1)] for k in range(len(steps))]
    while any(term.rows < rows for term, rows in zip(terms, wanted, strict=True)):
        for term, rows in zip(terms, wanted, strict=True):
            while term.rows < rows:
                term.grow(min(rows - term.rows, _BATCH))
                if progress is not None:
                    progress(
                        sum(t.rows for t in terms), sum(max(t.rows, n) for t, n in zip(terms, wanted, strict=True))
                    )
        wanted = _shares(terms, math.sqrt(stderr**2 - law.stderr**2))
    levels = tuple(term.level() for term in terms)
    found = law
    for level in levels:
        found = level.correction.plus(found)
    return MultilevelResult(
        simulation=draw.simulation,
        mean_shift=replace(found, n=sum(level.rows for level in levels)),
        law=law,
        levels=levels,
        seconds=time.perf_counter() - begin,
    )


def step_bias(draw: Draw, *, steps: int, rows: int) -> Estimate:
    """Bias that a number of steps leaves in the differences to the control, from twice as many on the same paths.

    Accuracy:
        That of the extrapolation by which second-order steps lose a factor of four per doubling.

    Source:
        derived in explanation/engine.
    """
    term = _Term(_Pair(draw), (steps, 2 * steps))
    term.grow(rows)
    return term.level().correction.affine(-4 / 3)


def _law(control: Draw, stderr: float) -> Estimate:
    simulation, length = control.simulation, float(np.linalg.norm(control.centroid.astype(np.float64)))
    found = planted_law(simulation, length=length)["mean_shift"]
    if found.stderr <= stderr:
        return found
    samples = math.ceil(1.2 * found.n * (found.stderr / stderr) ** 2)
    if samples > _MOST_LAW_SAMPLES:
        least = found.stderr / _LAW_SHARE * math.sqrt(1.2 * found.n / _MOST_LAW_SAMPLES)
        raise ConfigError(
            f"an error of {stderr / _LAW_SHARE:g} needs {samples:.0e} planted trajectories; ask for {least:.1e} or more"
        )
    return planted_law(simulation, length=length, samples=samples)["mean_shift"]


def _shares(terms: Sequence[_Term], stderr: float) -> list[int]:
    """Rows per term that reach an error at the least cost."""
    spreads = [term.spread for term in terms]
    effort = sum(math.sqrt(variance * cost) for variance, cost in spreads)
    return [math.ceil(effort * math.sqrt(variance / cost) / stderr**2) for variance, cost in spreads]


@dataclass(frozen=True, eq=False)
class _Pair:
    """Real modes and their control, runnable from one start on one noise."""

    real: Draw
    control: Draw = field(init=False)

    def __post_init__(self) -> None:
        if self.simulation.setting.schedule.clock == "step":
            raise ConfigError("a schedule with clock=step changes with the steps: give it in clock=variance")
        object.__setattr__(self, "control", self.real.planted())

    @property
    def simulation(self) -> Simulation:
        return self.real.simulation

    def grid(self, steps: int) -> Grid:
        return replace(self.real, simulation=self.simulation.but(steps=steps)).levels

    def difference(self, x: Tensor, grid: Grid, noise: Noise | None) -> tuple[Array, int]:
        """Overlap of real rows minus that of their controls, and the modes read."""
        m = self.control.target.centroid.double()  # type: ignore[union-attr] # it is planted
        ends, read = [], 0
        for one in (self.real, self.control):
            run = sample(one.denoiser(grid), x, grid, step=one.step, noise=noise, label=0)
            ends.append(run.x.double() @ m / (m @ m))
            read += run.modes_read
        return (ends[0] - ends[1]).cpu().numpy(), read


@dataclass(eq=False)
class _Term:
    """One term of the sum, growing."""

    pair: _Pair
    steps: tuple[int, ...]  # of its grids, coarse to fine: one or two
    values: list[Array] = field(default_factory=list)
    modes_read: int = 0

    @property
    def rows(self) -> int:
        return sum(map(len, self.values))

    @property
    def spread(self) -> tuple[float, float]:
        """Variance of a row, and its cost in modes read."""
        return max(float(np.concatenate(self.values).var(ddof=1)), 1e-300), self.modes_read / self.rows

    def grow(self, rows: int) -> None:
        """Follow more rows."""
        simulation, grids = self.pair.simulation, [self.pair.grid(steps) for steps in self.steps]
        name: tuple[str | int, ...] = ("levels", *self.steps, len(self.values))
        streams = rng.row_streams(simulation.budget.seed, *name, rows=range(rows))
        x = self.pair.real.start(streams, grids[0])
        noise = self._noise(name, grids, x)
        found = [self.pair.difference(x, grid, noise) for grid in grids]
        self.values.append(found[-1][0] - (found[0][0] if len(found) > 1 else 0.0))
        self.modes_read += sum(read for _, read in found)

    def _noise(self, name: tuple[str | int, ...], grids: Sequence[Grid], x: Tensor) -> Noise | None:
        """One path for all grids; none is needed for the probability-flow ODE."""
        simulation = self.pair.simulation
        if simulation.setting.lam == 0:
            return None
        path = BrownianPath(
            seed=rng.key(simulation.budget.seed, *name),
            rows=len(x),
            dim=simulation.dim,
            variances=sorted({float(level.variance) for grid in grids for level in grid.levels}, reverse=True),
            lam=simulation.setting.lam,
        )
        return lambda level, next_level: path(level, next_level).to(x)

    def level(self) -> Level:
        """What the term has come to."""
        correction = metrics.mean_of(np.concatenate(self.values))
        return Level(steps=self.steps[-1], correction=correction, rows=self.rows, modes_read=self.modes_read)
