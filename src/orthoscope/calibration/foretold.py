"""What constant guidance is expected to cost, from affine answers of both branches along a pipeline's own paths.

The answers are regressed on the mean of a class and on the displacement from it, and integrated by
`theory.predict_linearized`. That is exact for branches that are affine; the share of the difference of the branches
that the regression explains tells how far to trust it.
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


def foretell(
    answers: Sequence[Answers], means: Array, within: float, strengths: Sequence[float], lam: float
) -> Foretold:
    """Variance ratios of constant strengths.

    Args:
        answers: What the branches said along paths, from noise to data.
        means: Mean of every path's own class.
        within: Variance within classes per coordinate.
        strengths: Strengths above 0.
        lam: 1 for a sampler of the reverse SDE, 0 for one of the probability-flow ODE.
    """
    fits = [_fitted(said, torch.from_numpy(means), within) for said in reversed(answers)]
    columns = np.array([fit[:4] for fit in fits]).T.tolist()
    names = ("cond_pull", "cond_slope", "pull", "slope")
    branches = AffineBranches(
        times=[said.time for said in reversed(answers)], **dict(zip(names, map(tuple, columns), strict=True))
    )
    plain, *guided = (
        predict_linearized(
            branches, Constant(value=float(w)), std=within**0.5, t_max=_BELOW * answers[0].time, lam=lam
        )[1]
        for w in (0.0, *strengths)
    )
    explained, whole = (sum(fit[k] for fit in fits) for k in (4, 5))
    return Foretold(ratios=tuple(one / plain for one in guided), affine_share=explained / whole if whole > 0 else 0.0)


def _fitted(said: Answers, means: torch.Tensor, within: float) -> list[float]:
    """The four numbers of one level, and what of the squared difference they explain of how much, in nats."""
    time, v = said.time, said.time + within
    x, own, none = said.x.cpu(), said.own.cpu(), said.none.cpu()
    regressors = torch.stack([means, x - means]).flatten(1)
    centers = ((v * own - within * x) / time - means).flatten()
    apart = (v / time * (own - none)).flatten()
    products = torch.stack([centers, apart]) @ regressors.T
    (cond_pull, cond_slope), (pull, slope) = torch.linalg.solve(regressors @ regressors.T, products.T).T.tolist()
    explained, whole = float(products[1] @ torch.tensor([pull, slope]).to(products)), float(apart.square().sum())
    weight = time / v**2  # squared difference over the time, for levels evenly spaced in its logarithm
    return [cond_pull, cond_slope, pull, slope, weight * explained, weight * whole]


def noise_content(scheduler: object) -> float:
    """1 for schedulers that add noise, 0 for the others."""
    name, config = type(scheduler).__name__, getattr(scheduler, "config", {})
    is_noisy = name.startswith(_NOISY) or "Ancestral" in name or "sde" in str(config.get("algorithm_type", ""))
    return float(is_noisy)
