r"""A class of a data set as something to design for: exact scores, no closed theory, only samples.

Samples are weighted by their exact posterior of the class, so that a sample that ends elsewhere adds no diversity. With
$\mu_c$ and $\mu_u$ the means of class and data, $a = \mu_c - \mu_u$, and mean $m$ and covariance $C$ of the weighted
samples:

- `mean_shift` $(m - \mu_c)\cdot a/|a|^2$,
- `variance_ratio` $\mathrm{tr}\,C/\mathrm{tr}\,C_c$,
- `separability` $\bigl((m - \mu_u)\cdot a\bigr)^2 / a^\top C a$,
- `frechet` the squared Fréchet distance of Gaussians with these moments, per dimension,
- `class_posterior` the plain mean of the posterior.

All runs of one batch share their noise, so that schedules are compared, and differentiated, on the same paths. From the
exact start the plain conditional run on these paths samples the class itself, and every quantity but the posterior is
measured against it: what both have in common, noise included, cancels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from orthoscope import rng
from orthoscope.checks import settle
from orthoscope.denoise import Denoiser, Evaluation, ExactDenoiser, Label, Memory
from orthoscope.errors import ConfigError
from orthoscope.guidance.guided import classifier_free
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Tabulated
from orthoscope.laws import Start
from orthoscope.metrics import jackknife, share_of
from orthoscope.metrics.away import Away, squared_distance
from orthoscope.metrics.modes import far_from_modes
from orthoscope.numerics import Array
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.quantities import Estimate
from orthoscope.registered import TARGETS, InMemory
from orthoscope.sampling import Exponential, Grid, geometric, sample, start
from orthoscope.serialize import VERSION
from orthoscope.settings import check_run
from orthoscope.targets import Mixture
from orthoscope.targets.datafiles import read_labelled
from orthoscope.targets.given import as_target, names_target
from orthoscope.targets.labelled import standardized
from orthoscope.typing import Events, PerRow, Rows

MEASURED = ("mean_shift", "variance_ratio", "class_posterior", "separability", "frechet")
_FEWEST = 16  # points of a class whose moments mean anything


@dataclass(frozen=True, kw_only=True, eq=False)
class DataLaw:
    """One class of a data set.

    Attributes:
        source: `digits`, `glyphs`, or a file, see `targets.datafiles.read_labelled`; or labelled modes such as
            `mixture(x, labels=y)`, what makes them, or the name or place of either as text.
        label: The class.
        t_max: Variance time of the start, in squared units in which the data has unit mean variance.
        start: `exact`, the noised class, or `prior`, noise of the data's mean variance.
        lam: 1 for the reverse SDE, 0 for the probability-flow ODE.
    """

    source: Any
    label: int | Any
    t_max: float = 200.0
    start: Start = "exact"
    lam: float = 1.0

    def __post_init__(self) -> None:
        """Read the data; reject numbers out of range, and a class that is not there or too small."""
        settle(self)
        check_run(self.t_max, self.start, self.lam)
        if not (np.isfinite(self.t_max) and self.t_max > 0):
            raise ConfigError(f"t_max must be finite and > 0 to sample a data set, got {self.t_max}")
        members = int((self.data.labels == self.label).sum())
        if members < _FEWEST:
            self.data.conditional(self.label)  # says which labels there are
            raise ConfigError(f"label {self.label} has {members} points; at least {_FEWEST} are needed")

    @cached_property
    def data(self) -> Mixture:
        """All classes, standardized."""
        if isinstance(self.source, str | Path) and not names_target(self.source):
            return read_labelled(self.source).standardized().mixture()
        found = as_target(self.source)
        if not isinstance(found, Mixture):
            raise ConfigError(
                f"expected labelled points, such as mixture(x, labels=y), to design for, got a {type(found).__name__}",
                field="data",
            )
        return standardized(found)

    def to_spec(self) -> dict[str, Any]:
        """What stands in a file: where the data is found again, which data made in memory refuses to say."""
        source = str(self.source) if isinstance(self.source, str | Path) else InMemory(self.source, TARGETS).spec()
        fields = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        return {"type": "DataLaw", "version": VERSION, **fields, "source": source}

    @classmethod
    def from_spec(
        cls, source: str, label: int, t_max: float = 200.0, start: Start = "exact", lam: float = 1.0
    ) -> DataLaw:
        """The law of a file, which imports no module."""
        if names_target(source):
            TARGETS.find(source, imports=False)
        return cls(source=source, label=label, t_max=t_max, start=start, lam=lam)

    @cached_property
    def narrow(self) -> tuple[Mixture, VarianceExploding]:
        """The data as points, and the process that carries their width."""
        points, offset = self.data.absorbed()
        assert isinstance(points, Mixture)
        return points, VarianceExploding(offset=offset)

    @cached_property
    def moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and covariance of the class, and the direction from the mean of the data to that of the class."""
        mean, covariance = self.data.conditional(self.label).moments()
        return mean, covariance, mean - self.data.moments()[0]

    @cached_property
    def exact(self) -> dict[str, float]:
        """The quantities of the class itself, but for the posterior."""
        _, covariance, axis = self.moments
        separability = float((axis @ axis) ** 2 / (axis @ covariance @ axis))
        return {"mean_shift": 0.0, "variance_ratio": 1.0, "separability": separability, "frechet": 0.0}

    @cached_property
    def root(self) -> Tensor:
        """Symmetric root of the covariance of the class."""
        values, vectors = torch.linalg.eigh(self.moments[1])
        return (vectors * values.clamp_min(0).sqrt()) @ vectors.T

    def grid(self, steps: int) -> Grid:
        """Equal ratios of variance; a grid of twice the steps contains it."""
        return geometric(self.narrow[1], self.t_max, steps)

    def posterior(self, x: Rows) -> PerRow:
        """Exact posterior of the class."""
        return self.data.class_posterior(x, self.label)

    def measure(self, x: Tensor, posterior: Tensor) -> dict[str, Tensor]:
        """The module's quantities, as numbers that can be differentiated."""
        mean, covariance, axis = self.moments
        x = x.double()
        weights = posterior / posterior.sum()
        center = weights @ x
        rows = x - center
        spread = (rows * weights[:, None]).T @ rows / (1 - weights.square().sum())
        eigenvalues = torch.linalg.eigvalsh(self.root @ spread @ self.root)
        # Directions that a finite sample leaves out have none; a root there has no derivative.
        cross = eigenvalues.clamp_min(1e-12 * float(covariance.trace()) ** 2).sqrt().sum()
        square = axis @ axis
        return {
            "mean_shift": (center - mean) @ axis / square,
            "variance_ratio": spread.trace() / covariance.trace(),
            "class_posterior": posterior.mean(),
            "separability": ((center - mean) @ axis + square) ** 2 / (axis @ spread @ axis),
            "frechet": ((center - mean).square().sum() + spread.trace() + covariance.trace() - 2 * cross) / len(mean),
        }


@dataclass(frozen=True, eq=False)
class _Steps(Denoiser):
    """Guidance with one strength per step, each a tensor that can be differentiated."""

    cond: Mixture
    uncond: Mixture
    strengths: Tensor

    def evaluate(self, x: Events, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        """(1 + w) cond - w uncond."""
        w = self.strengths[level.step].to(x.dtype)
        return Evaluation(denoised=(1 + w) * self.cond.denoised(x, level) - w * self.uncond.denoised(x, level))


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Runs that share their start and noise.

    Attributes:
        law: The class.
        rows: Trajectories.
        steps: Steps of the geometric grid.
        seed: Root seed.
        name: Name of the stream: other batches have other noise.
    """

    law: DataLaw
    rows: int
    steps: int
    seed: int
    name: str
    _tables: dict[GuidanceSchedule, Array] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def levels(self) -> Grid:
        """The grid."""
        return self.law.grid(self.steps)

    @cached_property
    def _random(self) -> tuple[Tensor, Tensor]:
        streams = rng.row_streams(self.seed, "design", self.name, rows=range(self.rows))
        target, first = self.law.data.conditional(self.law.label), self.levels.levels[0]
        x = start(self.law.start, target, first, streams, prior_variance=1.0)
        shape = (self.steps, self.law.data.dim)
        noise = np.stack([stream.standard_normal(shape, dtype=np.float32) for stream in streams], axis=1)
        return x.float(), torch.from_numpy(noise)

    def _noise(self, level: NoiseLevel, next_level: NoiseLevel) -> Tensor:
        return self._random[1][level.step]

    def run(self, schedule: GuidanceSchedule | Tensor) -> Tensor:
        """Final states under a schedule, or under one strength per step, which can then be differentiated."""
        points = self.law.narrow[0]
        denoiser: Denoiser
        if isinstance(schedule, Tensor):
            denoiser = _Steps(points.conditional(self.law.label), points, schedule)
        else:
            denoiser = classifier_free(ExactDenoiser(points), schedule)
        step = Exponential(lam=self.law.lam)
        return sample(denoiser, self._random[0], self.levels, step=step, noise=self._noise, label=self.law.label).x

    @cached_property
    def plain(self) -> Array:
        """Final states of the plain conditional run, with their posteriors in the last column."""
        return self.table(Constant(value=0.0))

    @cached_property
    def _offsets(self) -> dict[str, float]:
        # Zero where there is nothing to measure against.
        return {name: _offset(self.law, name, self.plain) for name in MEASURED}

    def table(self, schedule: GuidanceSchedule) -> Array:
        """Final states under a schedule, with their posteriors in the last column; kept for the next call."""
        if schedule not in self._tables:
            with torch.no_grad():
                x = self.run(schedule)
                self._tables[schedule] = np.column_stack([x.double().numpy(), self.law.posterior(x).numpy()])
        return self._tables[schedule]

    def away(self, schedule: GuidanceSchedule) -> list[Away]:
        """How far final states are from the class, and from every point of the data."""
        x = self.table(schedule)[:, :-1]
        mean, covariance, _ = self.law.moments
        far = far_from_modes(self.law.data, torch.from_numpy(np.ascontiguousarray(x)).to(self.law.data.centroids))
        squares = squared_distance(x, mean.double().numpy(), covariance.double().numpy())
        return [Away(squares=squares, far=far.double().numpy())]

    def measure(self, schedule: GuidanceSchedule | Tensor) -> dict[str, Tensor]:
        """The quantities of a schedule on these paths."""
        x = self.run(schedule)
        found = self.law.measure(x, self.law.posterior(x))
        return {name: value - self._offsets[name] for name, value in found.items()}

    def values(self, schedule: GuidanceSchedule | Tensor) -> dict[str, float]:
        """The same as numbers."""
        with torch.no_grad():
            return {name: float(value) for name, value in self.measure(schedule).items()}

    def strengths(self, schedule: GuidanceSchedule) -> Array:
        """Strength of a schedule on each step of this grid."""
        return np.array([schedule.strength(level) for level in self.levels.levels[:-1]], dtype=np.float64)

    def schedule(self, strengths: Sequence[float] | Array) -> Tabulated:
        """One strength per step as a schedule in variance time."""
        times = self.levels.times
        points: list[tuple[float, float]] = []
        for k, w in enumerate(strengths):
            if points and points[-1][1] == float(w):
                points[-1] = (times[k + 1], float(w))
            else:
                points += [(times[k], float(w)), (times[k + 1], float(w))]
        at, values = zip(*points[::-1], strict=True)
        return Tabulated(at=at, strengths=values)


def judge(batch: Batch, schedules: Mapping[str, GuidanceSchedule]) -> dict[str, dict[str, Estimate]]:
    """Every schedule on the same paths, with standard errors."""
    result = {}
    for name, schedule in schedules.items():
        both = np.hstack([batch.table(schedule), batch.plain])
        result[name] = {quantity: jackknife(_against_plain(batch, quantity), both) for quantity in MEASURED}
        result[name]["class_posterior"] = share_of(batch.table(schedule)[:, -1])
    return result


def _against_plain(batch: Batch, quantity: str) -> Callable[[Array], float]:
    law, width = batch.law, batch.plain.shape[1]
    return lambda rows: _value(law, quantity, rows[:, :width]) - _offset(law, quantity, rows[:, width:])


def paired(batch: Batch, quantity: str, first: GuidanceSchedule, second: GuidanceSchedule) -> Estimate:
    """First minus second in one quantity on the same paths, whose common noise cancels."""
    law, width = batch.law, batch.plain.shape[1]
    both = np.hstack([batch.table(first), batch.table(second)])
    return jackknife(lambda rows: _value(law, quantity, rows[:, :width]) - _value(law, quantity, rows[:, width:]), both)


def _value(law: DataLaw, quantity: str, table: Array) -> float:
    rows = torch.from_numpy(np.ascontiguousarray(table))
    return float(law.measure(rows[:, :-1], rows[:, -1])[quantity])


def _offset(law: DataLaw, quantity: str, plain: Array) -> float:
    """By how much plain conditional runs miss the class itself on these paths."""
    if law.start != "exact" or quantity == "class_posterior":
        return 0.0
    return _value(law, quantity, plain) - law.exact[quantity]
