"""Guided samples of a law that is no ball: where they stray, what became of their classes, and what branches know.

As for random mixtures all runs share their levels and one Brownian path. What width a law has counts as noise; a law
that has none is sampled down to noise that does not show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from orthoscope import rng
from orthoscope.denoise import Denoiser, ExactDenoiser
from orthoscope.experiments.networks.guided import Outcome, Pair, gain, guided
from orthoscope.experiments.networks.supports import CLASSES, TELLS, Support
from orthoscope.guidance.schedules import Constant, GuidanceSchedule
from orthoscope.metrics.estimators import jackknife
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.quantities import Estimate, allowing_unseen
from orthoscope.sampling import BrownianPath, Exponential, Grid, grid, sample, through
from orthoscope.typing import Rows

FloatArray = NDArray[np.float64]
MEASURES = ("mean_shift", "variance_ratio", *TELLS, "gain")


@dataclass(frozen=True, kw_only=True, eq=False)
class Strays:
    """Where guided samples run: their classes, start, levels and noise; all by the reverse SDE.

    Attributes:
        support: The law.
        schedules: All that will be run; the constants among them are what the others are compared with.
        samples: Samples of each class.
        steps: Steps, even in log t, to which the jumps of the schedules are added.
        t_max: Variance time of the start, from the exact noised class.
        seed: Root seed.
    """

    support: Support
    schedules: tuple[GuidanceSchedule, ...]
    samples: int
    steps: int
    t_max: float
    seed: int

    @cached_property
    def start(self) -> Rows:
        """The noised classes."""
        clean, _ = self.support.sample(self.samples, rng.stream(self.seed, "start"))
        normal = rng.stream(self.seed, "start", "noise").standard_normal(tuple(clean.shape))
        return clean + self.t_max**0.5 * torch.from_numpy(normal).to(clean)

    def levels(self, every: int = 1) -> Grid:
        """The levels of all runs, or every so many of them, with all jumps."""
        process = VarianceExploding(offset=self.support.law.width)
        times = np.geomspace(self.t_max, self.support.end, self.steps + 1).tolist()
        jumps = sorted({time for schedule in self.schedules for time in schedule.switches()})
        return through(grid(process, [*times[:-1:every], times[-1]]), process, jumps)

    @cached_property
    def noise(self) -> BrownianPath:
        """The path that all runs share."""
        variances = [float(level.variance) for level in self.levels().levels]
        rows, dim = self.start.shape
        return BrownianPath(seed=self.seed, rows=rows, dim=dim, variances=variances, dtype=self.start.dtype)

    def run(self, pair: Pair, schedule: GuidanceSchedule, every: int = 1) -> Rows:
        """Samples of all classes, by a pair of branches; by fewer steps if only every so many levels are visited."""
        labels = torch.arange(CLASSES).repeat_interleave(self.samples)
        levels = self.levels(every)
        return sample(
            guided(pair, schedule), self.start, levels, step=Exponential(lam=1.0), noise=self.noise, label=labels
        ).x

    def measure(self, pair: Pair, every: int = 1) -> dict[str, list[Estimate]]:
        """`MEASURES` of a pair under every schedule."""
        found = [self.run(pair, schedule, every) for schedule in self.schedules]
        outcomes = [self.outcome(x) for x in found]
        rivals = [one for one, plan in zip(outcomes, self.schedules, strict=True) if isinstance(plan, Constant)]
        rows = [
            one.estimates() | self.astray(x) | {"gain": gain(one, rivals)}
            for x, one in zip(found, outcomes, strict=True)
        ]
        return {name: [row[name] for row in rows] for name in MEASURES}

    def outcome(self, x: Rows) -> Outcome:
        """Means along the center of each class, seen from that of all, and variances over those of the class."""
        means, variances = self.support.means, self.support.variances.numpy()
        own = means - means.mean(0)
        grouped = x.double().reshape(CLASSES, self.samples, -1)
        return Outcome(
            moved=((grouped.mean(1) - means) * own).sum(1).numpy(),
            size=own.square().sum(1).numpy(),
            variance=grouped.var(1).mean(1).numpy() / variances,
            far=np.zeros(CLASSES),
        )

    def astray(self, x: Rows) -> dict[str, Estimate]:
        """`TELLS` of samples: the root mean square of distances, and shares; errors are those between classes."""
        labels = torch.arange(CLASSES).repeat_interleave(self.samples)
        told = {name: one.double().reshape(CLASSES, -1).numpy() for name, one in self.support.tell(x, labels).items()}
        squares = np.square(told["distance"]).mean(1, keepdims=True)
        found = {"distance": jackknife(lambda rows: float(np.sqrt(rows.mean())), squares)}
        for name in TELLS[1:]:
            share = jackknife(lambda rows: float(rows.mean()), told[name].mean(1, keepdims=True))
            found[name] = allowing_unseen(share, spread=float(told[name].std()), units=told[name].size)
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Levels:
    """Points of every class at every noise level, by which branches are judged and classes seen to be decided.

    Attributes:
        support: The law.
        times: Variance times, ascending.
        samples: Points of each class.
        seed: Root seed.
    """

    support: Support
    times: tuple[float, ...]
    samples: int
    seed: int

    @cached_property
    def states(self) -> Mapping[float, Rows]:
        """The noised points."""
        clean, _ = self.support.sample(self.samples, rng.stream(self.seed, "exam"))
        normal = torch.from_numpy(rng.stream(self.seed, "exam", "noise").standard_normal(tuple(clean.shape))).to(clean)
        return {time: clean + time**0.5 * normal for time in self.times}

    @cached_property
    def posterior(self) -> FloatArray:
        """Mean posterior of the own class at every level."""
        law = self.support.law
        found = [
            [law.class_posterior(rows, label, NoiseLevel(time=time)).mean() for label, rows in enumerate(own)]
            for time, own in ((time, x.chunk(CLASSES)) for time, x in self.states.items())
        ]
        return np.array(found, dtype=np.float64).mean(1)

    def decided(self, share: float) -> float:
        """The time at which the mean posterior has come this share of its way from chance to that of the last level."""
        way = (self.posterior - 1 / CLASSES) / (self.posterior[0] - 1 / CLASSES)
        return float(np.exp(np.interp(share, way[::-1], np.log(self.times)[::-1])))

    def learned(self, network: Denoiser) -> Estimate:
        """Learned fraction: 1 minus the excess of the unconditional branch over one Gaussian's, over all levels."""
        blind, spread = ExactDenoiser(self.support.gaussian), self.support.scale**2
        columns = np.zeros((CLASSES, 2))
        for time, x in self.states.items():
            level = NoiseLevel(time=time)
            exact = self.support.exact(x, level)
            squares = [
                (one(x, level) - exact).double().square().reshape(CLASSES, -1).mean(1) for one in (network, blind)
            ]
            columns += torch.stack(squares, 1).numpy() * (time + spread) / (time * spread)
        return jackknife(lambda rows: float(1 - rows[:, 0].sum() / rows[:, 1].sum()), columns)
