"""One class of any target, sampled under guidance: levels, start, noise and width are found from the target itself.

The target's width counts as noise, which makes steps exact. A rule that bends sees the target's own denoised means all
the same, and a network of one's own gives such (`denoise.Counted`), on levels that end just above 0: they leave a
ten-thousandth of the width. Levels of a network are even in the logarithm of the time, where its errors count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from orthoscope import rng
from orthoscope.checks import LARGEST, MOST_STEPS, real, whole
from orthoscope.denoise import Counted, Denoiser, ExactDenoiser
from orthoscope.errors import ConfigError
from orthoscope.guidance.guided import classifier_free
from orthoscope.guidance.rules import LinearCFG, Rule
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.laws import STARTS, Start
from orthoscope.process import VarianceExploding
from orthoscope.sampling import (
    Exponential,
    Grid,
    IndependentNoise,
    Run,
    geometric,
    geometric_in_time,
    sample,
    start,
    through,
)
from orthoscope.sampling.given import as_step
from orthoscope.sampling.steps import Step
from orthoscope.simulation.setting import check_states
from orthoscope.targets import Target
from orthoscope.threads import threads_for

_FAR = 200.0  # variances of the data at which a run starts, far above the times at which classes are told apart
_LEFT = 1e-4  # of the width, or of the data's variance, that levels which cannot reach 0 leave
_ROUNDED = 1e-12  # of the same: a start below it is clean data
_LOOK = 4096  # exact samples from which scales are taken


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassRun:
    """One class of a target under guidance; equal fields give equal samples.

    Attributes:
        target: The data's law.
        label: The class.
        schedule: Guidance strength.
        rule: How predictions are combined.
        network: What is asked in place of the exact denoiser, for the class and for all data (label None).
        samples: Trajectories.
        steps: Steps, to which the jumps of a schedule are added.
        t_max: Variance time of the start; None for 200 variances of the data.
        start: `exact`, the noised class, or `prior`, noise of the data's variance.
        lam: 1 for the reverse SDE, 0 for the probability-flow ODE.
        step: What leads from one level to the next: also a name or place as text; second order if None.
        seed: Root seed; runs of one seed share their noise.
    """

    target: Any
    label: int | Any
    schedule: GuidanceSchedule
    rule: Rule = field(default_factory=LinearCFG)
    network: Denoiser | None = None
    samples: int | Any = 256
    steps: int = 48
    t_max: float | None = None
    start: Start | Any = "exact"
    lam: float = 1.0
    step: Step | Any = None
    seed: int | Any = 0

    def __post_init__(self) -> None:
        """Reject what cannot be run."""
        for name, bounds in (("label", (-LARGEST, LARGEST)), ("steps", (1, MOST_STEPS)), ("seed", ())):
            object.__setattr__(self, name, whole(name, getattr(self, name), *bounds))
        object.__setattr__(self, "samples", whole("n", self.samples, 2))
        if self.t_max is not None and not 0 < real("t_max", self.t_max) < math.inf:
            raise ConfigError(f"`t_max` must be finite and > 0 to sample, got {self.t_max}", field="t_max")
        if self.start not in STARTS:
            raise ConfigError(f"a `start` is one of {', '.join(STARTS)}, got {self.start!r}", field="start")
        if not 0 <= real("lam", self.lam) <= 1:
            raise ConfigError(f"`lam` must lie in [0, 1] (1 is the SDE, 0 the ODE), got {self.lam}", field="lam")
        object.__setattr__(self, "step", Exponential(lam=self.lam) if self.step is None else as_step(self.step))
        self.law  # noqa: B018 - says which labels there are
        check_states(self.samples, self.target.dim, self.target.dtype, "n")

    @cached_property
    def law(self) -> Target:
        """The law of the class."""
        return self.target.conditional(self.label)

    @cached_property
    def spread(self) -> float:
        """Variance of the data per coordinate."""
        return float(self.target.sample(_LOOK, rng.stream(0, "spread")).double().var(0).mean())

    @cached_property
    def levels(self) -> Grid:
        """The levels to visit."""
        begin, process = self._begin, VarianceExploding(offset=self.target.width)
        end = 0.0 if process.offset > 0 and self._counts else _LEFT * (self.target.width or self.spread)
        if begin <= max(end, _ROUNDED * (self.target.width or self.spread)):
            raise ConfigError(
                f"`t_max` {begin:g} is too small for this target: there is no noise to take away", field="t_max"
            )
        spaced = geometric if self.network is None else geometric_in_time
        base = spaced(process, begin, self.steps, end=end)
        return base if self.schedule.clock == "step" else through(base, process, self.schedule.switches())

    @property
    def _counts(self) -> bool:
        """Whether denoised means are those with the width counted as noise: a network and a bent rule have others."""
        return self.rule.is_linear and self.network is None

    @property
    def _begin(self) -> float:
        return _FAR * self.spread if self.t_max is None else self.t_max

    def run(self) -> Run:
        """Sample it; small work on one thread."""
        with threads_for(self.samples * getattr(self.target, "size", 1) * self.target.dim):
            return self._run()

    def _run(self) -> Run:
        x, noise = self.begin()
        return sample(self.guided(), x, self.levels, step=self.step, noise=noise, label=self.label)

    def guided(self) -> Denoiser:
        """What is sampled, over its levels."""
        exact = ExactDenoiser(self.target.absorbed()[0] if self._counts else self.target)
        plain = classifier_free(self.network or exact, self.schedule, self.rule.resolved(self.levels.times))
        return plain if self._counts else Counted(plain)

    def begin(self) -> tuple[Tensor, IndependentNoise]:
        """States at the first level, and the noise of the run."""
        streams = rng.row_streams(self.seed, "class", self.label, rows=range(self.samples))
        x = start(self.start, self.law, self.levels.levels[0], streams, prior_variance=self.spread)
        return x, IndependentNoise(streams, (self.target.dim,), like=x)

    def reference(self, samples: int | None = None) -> Tensor:
        """Exact samples of the class, on noise of their own."""
        return self.law.sample(samples or self.samples, rng.stream(self.seed, "reference", self.label))

    def but(self, **fields: Any) -> ClassRun:
        """The same with some fields changed."""
        return replace(self, **fields)


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassMoments:
    """Moments of a class and of the data around it, exact where the target knows them.

    Attributes:
        mean: Mean of the class.
        covariance: Its covariance.
        center: Mean of the data.
    """

    mean: np.ndarray
    covariance: np.ndarray
    center: np.ndarray


def moments_of(target: Any, label: int) -> ClassMoments:
    """Moments of a class: exact for mixtures, from samples elsewhere."""
    law = target.conditional(label)
    if hasattr(law, "moments") and hasattr(target, "moments"):
        (mean, covariance), (center, _) = law.moments(), target.moments()
        return ClassMoments(mean=mean.numpy(), covariance=covariance.numpy(), center=center.numpy())
    many = 16 * _LOOK
    x, all_of_it = (one.sample(many, rng.stream(0, "moments", name)).double().numpy() for one, name in
                    ((law, "class"), (target, "data")))  # fmt: skip
    return ClassMoments(mean=x.mean(0), covariance=np.atleast_2d(np.cov(x.T)), center=all_of_it.mean(0))
