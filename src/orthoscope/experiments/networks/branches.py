r"""What the two branches of a network know, per noise level, judged on labelled points of the law itself.

All is in units of the variance of what is to be predicted, $d\,c_{out}^2$ with $c_{out}^2 = t S/(t + S)$, $S$ the
variance of the data per coordinate:

- *excess* of a branch: $E|\hat D - D|^2$, of the conditional one, the unconditional one and their difference;
- *ignorance* of a Gaussian: the excess of one Gaussian with the moments of all data in place of the unconditional
  branch. The *learned fraction* is 1 minus the excess of the unconditional branch over it;
- *slope*: of the regression of the unconditional branch on the exact one, both measured from that Gaussian. It is the
  learned fraction if the network is a projection of the truth on what it can say;
- the *affine* answers of both branches round their class, by regression; see `theory.linearized`;
- *disagreement* of the pair, $E|\hat D_c - \hat D_u|^2$. Half its integral over $1/t$ is the information that the pair
  claims to have about the class, in nats; exact branches keep it at the mutual information, at most $\log K$.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from orthoscope import rng
from orthoscope.denoise import Denoiser, ExactDenoiser, OwnMode
from orthoscope.metrics.estimators import jackknife
from orthoscope.process import NoiseLevel
from orthoscope.quantities import Estimate
from orthoscope.targets import Mixture
from orthoscope.theory.linearized import AffineBranches
from orthoscope.typing import Labels, Rows

FloatArray = NDArray[np.float64]
ERRORS = ("cond", "uncond", "difference")
_DECIDED = 0.9  # mean posterior of the own class from which a class counts as decided


@dataclass(frozen=True, kw_only=True, eq=False)
class Exam:
    """Labelled points of a law, at every level.

    Attributes:
        law: The law, one mode per class.
        labels: Class of each row; rows of a class stand together.
        times: Variance times, ascending.
        seed: Root seed.
    """

    law: Mixture
    labels: Labels
    times: tuple[float, ...]
    seed: int

    @cached_property
    def spread(self) -> float:
        """Variance of the data per coordinate."""
        return float(self.law.moments()[1].diagonal().mean())

    def states(self, time: float) -> Rows:
        """The points at one level; the clean ones are the same at all."""
        clean, added = (
            torch.from_numpy(rng.stream(self.seed, *name).standard_normal((len(self.labels), self.law.dim)))
            for name in (("exam",), ("exam", f"{time:.6g}"))
        )
        centroids = self.law.centroids[self.labels]
        return centroids + (self.law.std * clean + time**0.5 * added).to(centroids)

    def mark(self, network: Denoiser) -> Marks:
        """What a network knows."""
        exact, gaussian = OwnMode(self.law), ExactDenoiser(self.law.gaussian())
        found = [self._level(network, exact, gaussian, time) for time in self.times]
        by_level = {name: np.stack([one[name] for one in found]) for name in found[0]}
        affine = {name: tuple(by_level.pop(name).tolist()) for name in ("cond_pull", "cond_slope", "pull", "slope")}
        times = np.array(self.times)
        branches = AffineBranches(times=self.times, **affine)
        return Marks(times=times, unit=self._unit(times), branches=branches, **by_level)

    def _unit(self, time: FloatArray) -> FloatArray:
        return self.law.dim * time * self.spread / (time + self.spread)

    def _level(self, network: Denoiser, exact: Denoiser, gaussian: Denoiser, time: float) -> Mapping[str, FloatArray]:
        """Mean squares of every class at one level, and the mean posterior of the own class."""
        x, level = self.states(time), NoiseLevel(time=time)
        unit = float(self._unit(np.array(time)))
        classes = len(torch.unique(self.labels))

        def mean(rows: torch.Tensor) -> FloatArray:
            return rows.double().reshape(classes, -1).mean(1).numpy(force=True)

        def square(rows: Rows, others: Rows | None = None) -> FloatArray:
            return mean((rows * (rows if others is None else others)).sum(1)) / unit

        (cond, true_cond), (uncond, true_uncond) = (
            [one(x, level, label) for one in (network, exact)] for label in (self.labels, None)
        )
        blind = gaussian(x, level)
        return {
            "cond": square(cond - true_cond),
            "uncond": square(uncond - true_uncond),
            "difference": square((cond - uncond) - (true_cond - true_uncond)),
            "ignorance": square(blind - true_uncond),
            "product": square(uncond - blind, true_uncond - blind),
            "disagreement": square(cond - uncond),
            "disagreement_exact": square(true_cond - true_uncond),
            "posterior": mean(self._posterior(x, level)),
        } | self._affine(x, time, cond, uncond)

    def _affine(self, x: Rows, time: float, cond: Rows, uncond: Rows) -> dict[str, FloatArray]:
        """Regressions of the conditional branch and of the difference, and the share of that which is affine."""
        own, v = self.law.centroids[self.labels].double(), time + self.law.width
        regressors = torch.stack([own, x - own]).flatten(1)
        centers = (v * cond.double() - self.law.width * x) / time - own
        apart = (v / time * (cond - uncond).double()).flatten()
        products = torch.stack([centers.flatten(), apart]) @ regressors.T
        (cond_pull, cond_slope), (pull, slope) = torch.linalg.solve(regressors @ regressors.T, products.T).T
        share = (products[1] @ torch.stack([pull, slope])) / apart.square().sum()
        named = {"cond_pull": cond_pull, "cond_slope": cond_slope, "pull": pull, "slope": slope, "affine_share": share}
        return {name: value.numpy(force=True) for name, value in named.items()}

    def _posterior(self, x: Rows, level: NoiseLevel) -> torch.Tensor:
        v = float(level.variance) + self.law.width
        scores = (x @ self.law.centroids.T - self.law.centroids.square().sum(1) / 2) / v
        return scores.double().softmax(1).gather(1, self.labels[:, None])[:, 0]


@dataclass(frozen=True, kw_only=True, eq=False)
class Marks:
    """Mean squares by level and class; see the head of this module.

    Attributes:
        times: Variance times, ascending.
        unit: Variance of what is to be predicted, over all coordinates, at each.
        affine_share: Share of the disagreement that the affine answers make, by level.
        branches: The affine answers.
    """

    times: FloatArray
    unit: FloatArray
    cond: FloatArray
    uncond: FloatArray
    difference: FloatArray
    ignorance: FloatArray
    product: FloatArray
    disagreement: FloatArray
    disagreement_exact: FloatArray
    posterior: FloatArray
    affine_share: FloatArray
    branches: AffineBranches

    def excess(self, name: str) -> tuple[list[Estimate], Estimate]:
        """Excess at every level, and its mean over levels."""
        values: FloatArray = getattr(self, name)
        return [_mean(one[:, None]) for one in values], _mean(values.mean(0)[:, None])

    def learned(self) -> tuple[list[Estimate], Estimate]:
        """Learned fraction at every level, and that of the means over levels."""
        return self._over(self.uncond, minus=True)

    def slope(self) -> tuple[list[Estimate], Estimate]:
        """Slope of the regression on the exact branch, the same way."""
        return self._over(self.product)

    def _over(self, values: FloatArray, *, minus: bool = False) -> tuple[list[Estimate], Estimate]:
        by_level = [_ratio(a, b) for a, b in zip(values, self.ignorance, strict=True)]
        found = [*by_level, _ratio(values.mean(0), self.ignorance.mean(0))]
        found = [one.affine(-1.0, 1.0) for one in found] if minus else found
        return found[:-1], found[-1]

    def information(self, name: str) -> tuple[Estimate, Estimate]:
        """Nats that a pair claims about the class, over all levels and over those where the class is decided.

        Args:
            name: `disagreement` or `disagreement_exact`.
        """
        weights = self.unit / (2 * self.times) * np.gradient(np.log(self.times))
        values: FloatArray = getattr(self, name) * weights[:, None]
        return _mean(values.sum(0)[:, None]), _mean(values[self.decided].sum(0)[:, None])

    @property
    def decided(self) -> NDArray[np.bool_]:
        """The levels at which the class is decided."""
        return self.posterior.mean(1) > _DECIDED


def _mean(columns: FloatArray) -> Estimate:
    return jackknife(lambda rows: float(rows[:, 0].mean()), columns)


def _ratio(top: FloatArray, bottom: FloatArray) -> Estimate:
    return jackknife(lambda rows: float(rows[:, 0].sum() / rows[:, 1].sum()), np.stack([top, bottom], axis=1))
