"""What constant guidance is expected to cost, from affine answers of both branches at a pipeline's own states.

The answers are regressed on where the mean of a class is from that of all, and on the displacement from it, and
integrated by `theory.predict_linearized`. That is exact for branches that are affine; the share of the difference of
the branches that the regression explains tells how far to trust it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from orthoscope.calibration.weighing import Answers
from orthoscope.guidance.schedules import Constant
from orthoscope.numerics import Array
from orthoscope.theory.linearized import AffineBranches, predict_linearized

_NOISY = ("DDPM", "LCM", "TCD")  # beginnings of names of schedulers that add noise
_BELOW = 0.99  # of the highest level: the start of the prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Foretold:
    """What is expected of constant strengths.

    Attributes:
        ratios: Variance ratio to strength 0, by strength.
        affine_share: Share of the squared difference of the branches that affine answers make.
    """

    ratios: tuple[float, ...]
    affine_share: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """What both branches said of states of known classes, as far as an affine fit needs it.

    Attributes:
        time: Variance times, descending.
        products: At every one the products, summed over states, of five vectors (levels, 5, 5): the mean of the class
            less that of all, the mean of the class, the state, and what was said for the class and without it.
    """

    time: Array
    products: Array

    @classmethod
    def of(cls, answers: Sequence[Answers], means: Array, center: Array) -> Pairs:
        """Those of paths.

        Args:
            answers: What the branches said along paths, from noise to data.
            means: Mean of every path's own class.
            center: Mean of all classes.
        """
        own, middle = torch.from_numpy(means), torch.from_numpy(center)
        found = [
            products_of(own - middle, own, said.x.cpu(), said.own.cpu(), said.none.cpu()).sum(0) for said in answers
        ]
        return cls(time=np.array([said.time for said in answers]), products=torch.stack(found).numpy())


def products_of(*vectors: torch.Tensor) -> torch.Tensor:
    """Products of vectors that are given for every state, one row each (states, vectors, vectors)."""
    stacked = torch.stack([one.double().flatten(1) for one in vectors], dim=1)
    return stacked @ stacked.mT


def foretell(pairs: Pairs, within: float, strengths: Sequence[float], lam: float) -> Foretold:
    """Variance ratios of constant strengths.

    Args:
        pairs: What the branches said at strength 0.
        within: Variance within classes per coordinate.
        strengths: Strengths above 0.
        lam: 1 for a sampler of the reverse SDE, 0 for one of the probability-flow ODE.
    """
    levels = zip(pairs.time[::-1].tolist(), pairs.products[::-1], strict=True)
    fits = [_fitted(time, products, within) for time, products in levels]
    columns = np.array([fit[:4] for fit in fits]).T.tolist()
    names = ("cond_pull", "cond_slope", "pull", "slope")
    branches = AffineBranches(times=pairs.time[::-1].tolist(), **dict(zip(names, map(tuple, columns), strict=True)))
    plain, *guided = (
        predict_linearized(
            branches, Constant(value=float(w)), std=within**0.5, t_max=_BELOW * float(pairs.time[0]), lam=lam
        )[1]
        for w in (0.0, *strengths)
    )
    explained, whole = (sum(fit[k] for fit in fits) for k in (4, 5))
    return Foretold(ratios=tuple(one / plain for one in guided), affine_share=explained / whole if whole > 0 else 0.0)


def _fitted(time: float, products: Array, within: float) -> list[float]:
    """The four numbers of one level, and what of the squared difference they explain of how much, in nats."""
    v = time + within
    regressors = np.array([[1.0, 0, 0, 0, 0], [0, -1, 1, 0, 0]])
    answers = np.array([[0, -1, -within / time, v / time, 0], [0, 0, 0, v / time, -v / time]])
    gram, along = regressors @ products @ regressors.T, answers @ products @ regressors.T
    (cond_pull, cond_slope), (pull, slope) = np.linalg.solve(gram, along.T).T.tolist()
    explained, whole = float(along[1] @ [pull, slope]), float(answers[1] @ products @ answers[1])
    weight = time / v**2  # squared difference over the time, for levels evenly spaced in its logarithm
    return [cond_pull, cond_slope, pull, slope, weight * explained, weight * whole]


def noise_content(scheduler: object) -> float:
    """1 for schedulers that add noise, 0 for the others."""
    name, config = type(scheduler).__name__, getattr(scheduler, "config", {})
    is_noisy = name.startswith(_NOISY) or "Ancestral" in name or "sde" in str(config.get("algorithm_type", ""))
    return float(is_noisy)
