r"""What an unconditional branch knows, from what a pipeline itself says along reverse paths of its classes.

Paths drawn with the conditional predictions have, at every level, the joint law of state and class that the network
implies, and their likelihoods the posterior of the classes. So what the unconditional branch should say is known: the
mean $\bar D$ of the conditional predictions over that posterior. Per level, in units of the variance of what is to be
predicted ($d\,c_{out}^2$, $c_{out}^2 = tS/(t + S)$, $S$ the variance of the data per coordinate):

- *excess*: $E|D_u - \bar D|^2$;
- *ignorance*: the same of one Gaussian with the moments of all images in place of the unconditional branch;
- *learned fraction*: 1 minus the ratio of the two, where classes compete: the class is not decided, and the ignorance
  is a fair share of its highest. Over these levels it is that of the sums;
- *doubt*: $E|D_c - \bar D|^2$, how far an exact unconditional branch would be from the conditional one.

The moments have errors of their own, and the ignorance of a Gaussian with wrong moments is too large. Leaving out a
block of the images together with one of the paths removes that to first order, and makes the interval one of both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from orthoscope.calibration.moments import shrunk_gaussian, variance_of
from orthoscope.calibration.plan import FEWEST
from orthoscope.calibration.weighing import Answers
from orthoscope.errors import ConfigError
from orthoscope.metrics.contributions import blocks_of
from orthoscope.numerics import Array
from orthoscope.process import NoiseLevel
from orthoscope.quantities import Estimate
from orthoscope.targets.covariant import Covariant

_FAIR = 0.1  # of the highest ignorance: from here on classes compete at a level
_DECIDED = 0.9  # mean posterior of the own class from which a class counts as decided

Index = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Squares:
    """Squared distances between predictions, rows by levels, levels descending.

    Attributes:
        time: Variance times.
        excess: Of the unconditional branch from what it should say.
        doubt: Of the conditional branch from the same.
        pair: Of the two branches.
        posterior: Posterior of the own class.
    """

    time: Array
    excess: Array
    doubt: Array
    pair: Array
    posterior: Array

    @classmethod
    def of(cls, answers: Sequence[Answers]) -> Squares:
        """Those of what was said along paths."""

        def square(one: str, other: str) -> Array:
            apart = [(getattr(said, one) - getattr(said, other)).square().sum(1) for said in answers]
            return torch.stack(apart, dim=1).numpy(force=True)

        return cls(
            time=np.array([said.time for said in answers]),
            excess=square("none", "mixed"),
            doubt=square("own", "mixed"),
            pair=square("own", "none"),
            posterior=torch.stack([said.posterior for said in answers], dim=1).numpy(force=True),
        )


def ignorance_of(gaussian: Covariant, answers: Sequence[Answers]) -> Array:
    """Squared distance of one Gaussian's prediction from what the unconditional branch should say, rows by levels."""
    found = []
    for said in answers:
        blind = gaussian.denoised(said.x.cpu(), NoiseLevel(time=said.time))
        found.append((blind - said.mixed.cpu()).square().sum(1))
    return torch.stack(found, dim=1).numpy(force=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What was found; arrays over levels, from noise to data.

    Attributes:
        time: Variance times.
        excess: Excess of the unconditional branch.
        ignorance: That of one Gaussian in its place.
        doubt: Distance of an exact unconditional branch from the conditional one.
        pair: Distance of the two branches.
        fraction: Learned fraction at every level.
        competing: Whether classes compete there, so that the fraction means something.
        posterior: Mean posterior of the own class.
        learned: Learned fraction over the levels at which classes compete.
        disagreement: Nats that the pair claims after the class is decided; None if it never is.
        left: What exact scores would leave there.
        paths: Number of paths.
        images: Number of images behind the moments.
    """

    time: Array
    excess: tuple[Estimate, ...]
    ignorance: tuple[Estimate, ...]
    doubt: tuple[Estimate, ...]
    pair: tuple[Estimate, ...]
    fraction: tuple[Estimate, ...]
    competing: NDArray[np.bool_]
    posterior: Array
    learned: Estimate
    disagreement: Estimate | None
    left: Estimate | None
    paths: int
    images: int


def know(answers: Sequence[Answers], end: float, images: Array) -> Knowledge:
    """What the unconditional branch knows.

    Args:
        answers: What the branches said along paths, from noise to data.
        end: Variance time at which the paths ended.
        images: Clean images, one per row, of all classes together and in random order.

    Raises:
        ConfigError: if there are too few paths or images, or classes compete nowhere.
    """
    squares = Squares.of(answers)
    paths = len(squares.pair)
    if min(paths, len(images)) < FEWEST:
        raise ConfigError(
            f"expected at least {FEWEST} paths and {FEWEST} images to say what the unconditional branch knows, got "
            f"{paths} and {len(images)}; give more `images_per_prompt`"
        )
    found = _Found(squares=squares, answers=answers, end=end, images=np.asarray(images, dtype=np.float64))
    return found.knowledge()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Found:
    """Squares and images, and what is measured of parts of both."""

    squares: Squares
    answers: Sequence[Answers]
    end: float
    images: Array

    @cached_property
    def _unit(self) -> Array:
        """Variance of what is to be predicted, over all coordinates, at every level."""
        dim, spread = self.images.shape[1], variance_of(shrunk_gaussian(self.images))
        return np.asarray(dim * self.squares.time * spread / (self.squares.time + spread))

    @cached_property
    def _weights(self) -> Array:
        """Width of every level in the logarithm of the time; levels evenly spaced weigh the same."""
        edges = np.append(self.squares.time, self.end)
        return np.log(edges[:-1] / edges[1:])

    @cached_property
    def _nats(self) -> Array:
        """Nats per squared distance at every level: half of dt/t^2."""
        edges = np.append(self.squares.time, self.end)
        return np.diff(1 / edges) / 2

    @cached_property
    def competing(self) -> NDArray[np.bool_]:
        """Levels before the decision at which one Gaussian would err by a fair share of its highest error there."""
        shares = self._ignorance(np.arange(len(self.images))).mean(0) / self._unit * ~self._decided
        highest = shares.max()
        if not highest > 0:
            raise ConfigError(
                "one Gaussian says what the classes together say at every level, so nothing is to be known"
            )
        return np.asarray(shares >= _FAIR * highest)

    def _ignorance(self, images: Index) -> Array:
        return ignorance_of(shrunk_gaussian(self.images[images]), self.answers)

    def knowledge(self) -> Knowledge:
        """All of it."""
        count = len(self.squares.time)
        value, stderr, dof = _jackknifed(self._measured, len(self.squares.pair), len(self.images))

        def estimates(at: int) -> tuple[Estimate, ...]:
            return tuple(
                Estimate(value=float(value[k]), stderr=float(stderr[k]), n=len(self.squares.pair), dof=dof)
                for k in range(at * count, (at + 1) * count)
            )

        last = [
            Estimate(value=float(v), stderr=float(e), n=len(self.squares.pair), dof=dof)
            for v, e in zip(value[5 * count :], stderr[5 * count :], strict=True)
        ]
        decided = bool(self._decided.any())
        return Knowledge(
            time=self.squares.time,
            **{name: estimates(at) for at, name in enumerate(("excess", "ignorance", "doubt", "pair", "fraction"))},
            competing=self.competing,
            posterior=self.squares.posterior.mean(0),
            learned=last[0],
            disagreement=last[1] if decided else None,
            left=last[2] if decided else None,
            paths=len(self.squares.pair),
            images=len(self.images),
        )

    @cached_property
    def _decided(self) -> NDArray[np.bool_]:
        return np.asarray(self.squares.posterior.mean(0) > _DECIDED)

    def _measured(self, rows: Index, images: Index) -> Array:
        """Four means and the fraction at every level, the fraction over levels, and nats after the decision."""
        ignorance = self._ignorance(images)[rows].mean(0) / self._unit
        excess, doubt, pair = (
            getattr(self.squares, name)[rows].mean(0) / self._unit for name in ("excess", "doubt", "pair")
        )
        weights = self._weights * self.competing
        learned = 1 - (weights @ excess) / (weights @ ignorance)
        nats = self._nats * self._unit * self._decided
        return np.concatenate(
            [excess, ignorance, doubt, pair, 1 - excess / ignorance, [learned, nats @ pair, nats @ doubt]]
        )


def _jackknifed(statistic: Callable[[Index, Index], Array], rows: int, images: int) -> tuple[Array, Array, int]:
    """Statistics of paths and images with their bias removed to first order, their errors, and degrees of freedom.

    A block of both is left out at a time: they are independent, so their errors add up as they should.
    """
    every = np.arange(rows), np.arange(images)
    count = min(len(blocks_of(rows)), len(blocks_of(images)))
    parts = list(zip(*(np.array_split(one, count) for one in every), strict=True))
    whole = statistic(*every)
    rest = np.array([statistic(*(np.setdiff1d(a, b) for a, b in zip(every, part, strict=True))) for part in parts])
    value = count * whole - (count - 1) * rest.mean(0)
    stderr = np.sqrt((count - 1) * ((rest - rest.mean(0)) ** 2).mean(0))
    return value, stderr, count - 1
