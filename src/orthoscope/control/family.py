"""Laws of which episodes are drawn, and what a batch of samples is worth there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from orthoscope.checks import whole
from orthoscope.denoise import Blended, Denoiser, Evaluation, ExactDenoiser, Label, Memory
from orthoscope.errors import ConfigError
from orthoscope.guidance.rules import LinearCFG, Rule
from orthoscope.guidance.schedules import Constant
from orthoscope.laws import check_std
from orthoscope.process import NoiseLevel
from orthoscope.sampling import Exponential
from orthoscope.simulation.classes import ClassRun, moments_of
from orthoscope.targets import Mixture, mixture
from orthoscope.targets.base import CLEAN
from orthoscope.typing import Events, PerRow, Rows

T = TypeVar("T")
Goal = Literal["truth", "effect"]
_HELD = 10.0  # of a missed variance, in mean shifts
_LOOK = 256  # exact samples by which a class is judged
_CHANCE = 1.5  # times the share of a class, below which its own posterior says nothing


@dataclass(frozen=True, eq=False)
class TwoBranches(Denoiser):
    """One denoiser for classes and another one for all data: a network that knows the two differently well.

    Attributes:
        cond: Asked with a label.
        uncond: Asked without.
    """

    cond: Denoiser
    uncond: Denoiser

    def evaluate(self, x: Events, level: NoiseLevel, label: Label = None, memory: Memory = None) -> Evaluation:
        """What the branch says; neither remembers anything."""
        branch = self.uncond if label is None else self.cond
        return branch.evaluate(x, level, label)


@dataclass(frozen=True, eq=False, kw_only=True)
class Case:
    """One class of one law, with the branches by which it is sampled.

    Attributes:
        target: The law.
        label: The class.
        network: What is sampled in place of the exact score; None for that.
    """

    target: Any
    label: int = 0
    network: Denoiser | None = None

    def __post_init__(self) -> None:
        """Refuse a class that no guidance can reach: exact samples of it do not look like it.

        Raises:
            ConfigError: if there is none such, it is the only one, or its posterior says nothing.
        """
        whole("label", self.label, 0)
        law = self.target.conditional(self.label)
        x = law.sample(_LOOK, np.random.default_rng(0))
        posterior = float(self.posterior(x).mean())
        labels = getattr(self.target, "labels", None)
        share = None if labels is None else float((labels == self.label).double().mean())
        if share is not None and (share == 1 or posterior < _CHANCE * share):
            raise ConfigError(
                f"class {self.label} cannot be reached: the posterior of its own exact samples is {posterior:.3g}, and "
                f"{share:.3g} of the modes are its; take classes that can be told apart",
                field="label",
            )

    def posterior(self, x: Rows) -> PerRow:
        """Posterior of the class at clean samples."""
        if hasattr(self.target, "class_posterior"):
            return self.target.class_posterior(x, self.label)
        return self.target.class_posteriors(x, CLEAN)[:, self.label]

    def draw(self, stream: np.random.Generator) -> Case:
        """This very case."""
        return self

    def run(self, rule: Rule | None = None, *, most: Any = 0.0, samples: int, steps: int, seed: int) -> ClassRun:
        """Its run by a rule, on steps of first order, on which memory and feedback are up to date."""
        schedule = Constant(value=float(most)) if isinstance(most, int | float) else most
        return ClassRun(
            target=self.target, label=self.label, network=self.network, rule=rule or LinearCFG(), schedule=schedule,
            samples=samples, steps=steps, seed=seed, step=Exponential(order=1),
        )  # fmt: skip

    def reward(self, x: Rows, preference: float, goal: Goal = "truth") -> Tensor:
        """What an agent is paid for samples.

        Args:
            x: The samples.
            preference: What counts more, from 0 to 1.
            goal: `truth`: the class, against the distortion; `effect`: the mean shift that guidance is used for,
                against the squared miss of the variance.
        """
        found = self.worth(x)
        gain, loss = (
            (found["adherence"], found["distortion"])
            if goal == "truth"
            else (found["mean_shift"], _HELD * (found["variance_ratio"] - 1).square())
        )
        return (1 - preference) * gain - preference * loss

    def worth(self, x: Rows) -> dict[str, Tensor]:
        """What samples are worth, as gradients can pass it.

        `adherence` is the mean posterior of the class; `distortion` the squared Frechet distance from it, as if both
        were Gaussian and alike in all directions, in units of its variance, without the bias of a finite batch.
        """
        moments = moments_of(self.target, self.label)
        mean = torch.from_numpy(np.asarray(moments.mean)).to(x)
        total = float(np.trace(moments.covariance))
        ratio = x.var(0).sum() / total
        away = (x.mean(0) - mean).square().sum() / total - ratio / len(x)
        axis = mean - torch.from_numpy(np.asarray(moments.center)).to(x)
        return {
            "adherence": self.posterior(x).mean(),
            "distortion": away + (ratio.clamp_min(1e-12).sqrt() - 1).square(),
            "variance_ratio": ratio,
            "mean_shift": ((x.mean(0) - mean) * axis).sum() / axis.square().sum(),
        }


@runtime_checkable
class Draws(Protocol):
    """Where cases come from."""

    def draw(self, stream: np.random.Generator) -> Case:
        """One case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Random mixtures, as likely with every value of every field.

    Attributes:
        dims: Dimensions.
        classes: Numbers of classes.
        stds: Widths of modes.
        modes: Modes per class.
        learned: Shares of the law that the unconditional branch has learned beyond one Gaussian; 1 is exact.
    """

    dims: tuple[int, ...] = (4, 8, 16)
    classes: tuple[int, ...] = (8, 32, 128)
    stds: tuple[float, ...] = (0.5, 0.8)
    modes: tuple[int, ...] = (1, 3)
    learned: tuple[float, ...] = (1.0, 0.5, 0.0)

    def __post_init__(self) -> None:
        """Reject laws that have nothing to guide to."""
        for name, least in (("dims", 1), ("classes", 2), ("modes", 1)):
            values = getattr(self, name)
            if isinstance(values, str) or not isinstance(values, Sequence) or not values:
                raise ConfigError(f"`{name}` is a list of one value or more, got {values!r:.40}", field=name)
            object.__setattr__(self, name, tuple(whole(name, value, least) for value in values))
        for value in self.stds:
            check_std(value)
        if not self.stds or not self.learned or not all(0 <= share <= 1 for share in self.learned):
            raise ConfigError(f"`learned` holds shares from 0 to 1, got {self.learned}", field="learned")

    def draw(self, stream: np.random.Generator) -> Case:
        """One class of one law."""
        dim, classes = _one(self.dims, stream), _one(self.classes, stream)
        std, modes, learned = _one(self.stds, stream), _one(self.modes, stream), _one(self.learned, stream)
        centers = stream.standard_normal((classes * modes, dim))
        labels = torch.arange(classes).repeat(modes)
        law = mixture(torch.from_numpy(centers).float(), std=std, labels=labels)
        return Case(target=law, network=None if learned == 1 else partly_learned(law, learned))


def _one(values: Sequence[T], stream: np.random.Generator) -> T:
    return values[int(stream.integers(len(values)))]


def partly_learned(law: Mixture, share: float) -> TwoBranches:
    """Exact classes, and an unconditional branch that knows this share of the law beyond its Gaussian."""
    exact = ExactDenoiser(law)
    return TwoBranches(exact, Blended(exact, ExactDenoiser(law.gaussian()), share))
