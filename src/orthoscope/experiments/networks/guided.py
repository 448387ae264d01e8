"""Guided samples of many classes on common noise, by any pair of branches, and what became of the classes.

All schedules share one grid, which has the jumps of all of them, and one Brownian path: what differs between two runs
is what their branches or their strengths are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from orthoscope import rng
from orthoscope.denoise import Bounded, Counted, Denoiser, Evaluation, FixedLabel, Label, Memory
from orthoscope.guidance.guided import Guided
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.metrics.estimators import jackknife
from orthoscope.metrics.modes import far_from_modes
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.quantities import Estimate
from orthoscope.sampling import BrownianPath, Exponential, Grid, geometric_in_time, sample, through
from orthoscope.simulation.response import Response, respond, tangent
from orthoscope.targets import Mixture
from orthoscope.typing import Labels, Rows

FloatArray = NDArray[np.float64]
MEASURES = ("mean_shift", "variance_ratio", "far")
_LEFT = 1e-3  # of the width that levels leave: denoised means say nothing at clean data
_LONGEST = 3.0  # denoised means, over the typical length of points: none is ever that long


Pair: TypeAlias = tuple[Denoiser, Denoiser]  # conditional and unconditional branch, denoisers of the whole law


def guided(pair: Pair, schedule: GuidanceSchedule) -> Guided:
    """Guidance by a pair of branches where the width of a law counts as noise."""
    main, reference = pair
    return Guided(main=Counted(main), reference=FixedLabel(Counted(reference)), schedule=schedule)


@dataclass(frozen=True, kw_only=True, eq=False)
class Track:
    """Where guided samples run: their classes, start, levels and noise.

    Attributes:
        law: The law, one mode per class.
        labels: Class of each row; rows of a class stand together.
        schedules: All that will be run.
        steps: Steps, to which the jumps of the schedules are added.
        t_max: Variance time of the start, from the exact noised class.
        lam: 1 for the reverse SDE, 0 for the probability-flow ODE.
        seed: Root seed.
    """

    law: Mixture
    labels: Labels
    schedules: Sequence[GuidanceSchedule]
    steps: int
    t_max: float
    lam: float = 1.0
    seed: int = 0

    @cached_property
    def levels(self) -> Grid:
        """The levels of all runs, even in log t as the errors of networks ask; the width of modes counts as noise."""
        process = VarianceExploding(offset=self.law.width)
        base = geometric_in_time(process, self.t_max, self.steps, end=_LEFT * self.law.width)
        jumps = sorted({time for schedule in self.schedules for time in schedule.switches()})
        return through(base, process, jumps)

    @cached_property
    def start(self) -> Rows:
        """The noised classes."""
        normal = rng.stream(self.seed, "start").standard_normal((len(self.labels), self.law.dim))
        own = self.law.centroids[self.labels]
        return own + (self.t_max + self.law.width) ** 0.5 * torch.from_numpy(normal).to(own)

    @cached_property
    def longest(self) -> float:
        """Length to which denoised means are cut."""
        mean, cov = self.law.moments()
        return _LONGEST * float(mean.square().sum() + cov.trace()) ** 0.5

    @cached_property
    def noise(self) -> BrownianPath:
        """The path that all runs share."""
        variances = [float(level.variance) for level in self.levels.levels]
        return BrownianPath(
            seed=self.seed, rows=len(self.labels), dim=self.law.dim, variances=variances, lam=self.lam or 1.0,
            dtype=self.law.dtype,
        )  # fmt: skip

    def _guided(self, pair: Pair, schedule: GuidanceSchedule) -> Guided:
        """Guidance by a pair of branches that stay where the law has points."""
        main, reference = (Bounded(one, self.longest) for one in pair)
        return guided((main, reference), schedule)

    def run(self, pair: Pair, schedule: GuidanceSchedule) -> Outcome:
        """Sample with a pair of branches."""
        found = sample(
            self._guided(pair, schedule), self.start, self.levels, step=Exponential(lam=self.lam), noise=self.noise,
            label=self.labels,
        )  # fmt: skip
        return self.outcome(found.x)

    def respond(self, exact: Pair, wrong: Pair, gaussian: Denoiser, schedule: GuidanceSchedule) -> Response:
        """How exact paths answer to the errors of a pair, to first order."""
        tangents = tangent(self._guided(exact, schedule), self._guided(wrong, schedule), FixedLabel(Counted(gaussian)))
        return respond(tangents, self.start, self.levels, self.labels, step=Exponential(lam=self.lam), noise=self.noise)

    def outcome(self, x: Rows) -> Outcome:
        """What became of each class."""
        own = self.law.centroids[self.labels]
        classes = len(torch.unique(self.labels))
        away = x - own
        far = far_from_modes(self.law, x)

        def mean(rows: torch.Tensor) -> FloatArray:
            return rows.double().reshape(classes, -1).mean(1).numpy(force=True)

        grouped = x.double().reshape(classes, -1, self.law.dim)
        return Outcome(
            moved=mean((away * own).sum(1)),
            size=mean(own.square().sum(1)),
            variance=grouped.var(1).mean(1).numpy(force=True) / self.law.width,
            far=mean(far),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What became of each class.

    Attributes:
        moved: Displacement of the mean along the centroid, times its length.
        size: Squared length of the centroid.
        variance: Mean variance per coordinate, over that of the class.
        far: Share of samples that are far from every mode.
    """

    moved: FloatArray
    size: FloatArray
    variance: FloatArray
    far: FloatArray

    def estimates(self, without: Outcome | None = None) -> dict[str, Estimate]:
        """Mean shift, variance ratio and share far from every mode; less those of another run on the same noise."""
        less = (0.0, 0.0, 0.0) if without is None else (without.moved, without.variance, without.far)
        columns = [self.moved - less[0], self.variance - less[1], self.far - less[2]]
        shift = jackknife(lambda rows: float(rows[:, 0].sum() / rows[:, 1].sum()), np.stack([columns[0], self.size], 1))
        rest = [jackknife(lambda rows: float(rows.mean()), one[:, None]) for one in columns[1:]]
        return dict(zip(MEASURES, (shift, *rest), strict=True))


def gain(found: Outcome, constants: Sequence[Outcome]) -> Estimate:
    """Variance ratio beyond that of the constant strength of equal mean shift, or of the nearest if none has it.

    Args:
        found: What a schedule came to.
        constants: What constants came to, on the same noise.

    Accuracy:
        Between constants the variance ratio is taken as linear in the mean shift. Which two they are is taken as known:
        where strengths hardly differ in mean shift, the error does not say that others may be as near.
    """
    shift, shifts = found.moved.mean(), np.array([one.moved.mean() for one in constants])
    order = np.argsort(shifts)
    above = int(np.searchsorted(shifts[order], shift))
    below, above = max(above - 1, 0), min(above, len(constants) - 1)
    low, high = constants[order[below]], constants[order[above]]
    rows = np.stack([found.moved, found.variance, low.moved, low.variance, high.moved, high.variance], axis=1)

    def beyond(columns: FloatArray) -> float:
        at, variance, near, first, far, last = columns.mean(0)
        share = (at - near) / (far - near) if above > below else 0.0
        return float(variance - first - share * (last - first))

    return jackknife(beyond, rows)


@dataclass(frozen=True, eq=False)
class PosteriorMixture(Denoiser):
    """The unconditional branch that a network's own conditional one makes, its classes weighted by the exact posterior.

    Attributes:
        law: What the posterior is of.
        network: Whose conditional branch is asked.
        leading: Classes of each row that are asked, those of the largest posterior.
    """

    law: Mixture
    network: Denoiser
    leading: int = 4

    def evaluate(self, x: Rows, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        """The mean over classes, whatever the label."""
        v = float(level.variance) + self.law.width
        scores = (x @ self.law.centroids.T - self.law.centroids.square().sum(1) / 2) / v
        best = scores.topk(min(self.leading, self.law.size), dim=1)
        shares = best.values.softmax(1)
        parts = [self.network(x, level, best.indices[:, k]) for k in range(shares.shape[1])]
        mean = sum(share[:, None] * part for share, part in zip(shares.T, parts, strict=True))
        return Evaluation(denoised=mean, memory=memory, calls=len(parts))


def run_all(
    track: Track, pairs: Mapping[str, Pair], asked: Mapping[str, Sequence[int]]
) -> dict[str, list[Outcome | None]]:
    """Outcomes of every pair under every schedule that it is asked for; None elsewhere.

    Args:
        track: Where they run.
        pairs: Conditional and unconditional branch by name.
        asked: Positions of the schedules, by name of the pair; all that are not named.
    """
    every = range(len(track.schedules))
    return {
        name: [track.run(pair, track.schedules[k]) if k in asked.get(name, every) else None for k in every]
        for name, pair in pairs.items()
    }
