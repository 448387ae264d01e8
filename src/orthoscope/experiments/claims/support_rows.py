"""Claims about two classes on a line: edges of the support, imperfect scores, how strong is too strong.

Steps are so many that their bias is a small part of the error.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from orthoscope import metrics
from orthoscope.experiments.claims.claim import Claim, Effort, Finding, at_least, at_most, claim, equal, found
from orthoscope.experiments.two_class import TwoClass
from orthoscope.experiments.two_class_measures import largest_monotone_strength, measured, off_support
from orthoscope.numerics import Array
from orthoscope.quantities import Estimate
from orthoscope.theory import two_class

_SCORE_ERROR = 0.05
_RESOLUTION = 32 / 128**2 + 32 / 32**3  # of the searches for a largest strength, sampled and by theory


def _uniform(strength: float, effort: Effort, **fields: Any) -> TwoClass:
    sizes: dict[str, Any] = {"samples": effort.pick(500, 4000), "steps": effort.pick(100, 200)}
    return TwoClass(law="uniform", strength=strength, seed=effort.seed, **(sizes | fields))


@claim(
    "boundary",
    "Strong guidance crowds samples at the far edge of the support.",
    source="chidambaram2024does",
    setting="uniform on [1, 2] against [-2, -1], w = 10, ODE; mean of samples, whose tilted law has mean 1.5",
)
def boundary(effort: Effort) -> Finding:
    """The mean of the flow, and the share in the outer 5 % of the support."""
    setting = _uniform(10.0, effort, steps=effort.pick(200, 400))
    here = measured(setting.run())
    return found(
        equal("mean", here["mean"], here["flow_mean"]),
        at_least("mean, above that of the tilted law", here["mean"], here["tilted_mean"]),
        at_least("share in the outer 5 % of the support", here["boundary_fraction"], 0.9),
    )


@claim(
    "boundary-sde",
    "Strong guidance crowds samples at the far edge of the support, whatever the sampler.",
    source="chidambaram2024does",
    setting="uniform on [1, 2] against [-2, -1], w = 10, ODE and reverse SDE",
    verdict="depends",
)
def boundary_sde(effort: Effort) -> Finding:
    """The ODE crowds the edge; the noise of the SDE takes samples back inside."""
    path = measured(_uniform(10.0, effort, lam=1.0).run())
    flow = measured(_uniform(10.0, effort).run())["boundary_fraction"]
    return found(
        at_most("share in the outer 5 % of the support, SDE", path["boundary_fraction"], 0.2),
        at_least("the same, ODE", flow, 0.9),
        note=f"mean of the SDE's samples {path['mean']}",
    )


@claim(
    "square-root-growth",
    "Samples of N(1, 1) guided away from N(-1, 1) move out like sqrt(w).",
    source="chidambaram2024does",
    setting="ODE; growth of the mean per growth of sqrt(w) from w = 100 to 400",
)
def square_root_growth(effort: Effort) -> Finding:
    """The slope in sqrt(w), by theory and sampled, beside its limit."""
    near, far = (
        measured(TwoClass(law="gaussian", strength=w, samples=effort.pick(500, 4000), seed=effort.seed).run())["mean"]
        for w in (100.0, 400.0)
    )
    theory = [two_class.guided_moments("gaussian", w).mean for w in (100.0, 400.0)]
    slope = far.minus(near).times(1 / 10)
    limit = two_class.large_strength_coefficient()
    return found(
        equal("growth of the mean per growth of sqrt(w)", slope, (theory[1] - theory[0]) / 10),
        note=f"limit of infinite strength: {limit:.4f}",
    )


@claim(
    "bounded-score-error",
    "A bounded score error does not carry samples off the support.",
    source="chidambaram2024does",
    setting=f"uniform classes, w = 10, ODE from T = 10^10, conditional score off by {_SCORE_ERROR}; mean distance from "
    "the support when the final noise is 100 times smaller, relative to before",
)
def bounded_score_error(effort: Effort) -> Finding:
    """The distance falls with the final noise: nearly in proportion, as theory says to the last digit."""
    settings = [
        _uniform(10.0, effort, score_error=_SCORE_ERROR, sigma_end=sigma, steps=effort.pick(100, 400))
        for sigma in (0.0045, 0.000045)
    ]
    coarse, fine = (off_support(one.run()["sample"].values) for one in settings)
    before, after = (
        two_class.off_support_distance(10.0, _SCORE_ERROR, sigma_end=one.sigma_end, t_max=one.t_max) for one in settings
    )
    ratio = _ratio(fine, coarse)
    return found(
        equal("distance relative to that at 100 times the final noise", ratio, after / before),
        at_most("the same", ratio, 0.02),
        note=f"distances {metrics.mean_of(coarse)} and {metrics.mean_of(fine)}; in proportion to the final noise it "
        "were 0.01, but for the root of a logarithm",
    )


def _ratio(above: Array, below: Array) -> Estimate:
    """Ratio of two means over the same starts, with its error to first order."""
    ratio = float(above.mean() / below.mean())
    rest = metrics.mean_of(above - ratio * below)
    return Estimate(value=ratio, stderr=rest.stderr / float(below.mean()), n=rest.n)


@claim(
    "missing-pullback",
    "A score error as small carries samples off the support for good if it is the pull-back that is missing.",
    source="chidambaram2024does",
    setting=f"uniform classes, w = 30, ODE, both scores 0 so far outside the support that the error is {_SCORE_ERROR} "
    "in root mean square; share off the support at a final noise 100 times smaller",
)
def missing_pullback(effort: Effort) -> Finding:
    """Most samples stay outside; with exact scores they are as near as the final noise."""
    wrong = _uniform(30.0, effort, score_error=_SCORE_ERROR, error_kind="missing-pullback", sigma_end=0.000045)
    end, share = wrong.sigma_end, measured(wrong.run())["off_support_fraction"]
    exact = measured(replace(wrong, score_error=None).run())["off_support_distance"]
    return found(
        at_least("share off the support", share, 0.5),
        at_most("mean distance from it with exact scores, in units of the final noise", exact.times(1 / end), 10.0),
    )


@claim(
    "largest-monotone-strength",
    "The largest strength whose path is still monotone keeps samples on the support.",
    source="chidambaram2024does",
    setting="uniform classes, ODE, path from 0 in the variance-preserving state",
)
def largest_monotone(effort: Effort) -> Finding:
    """The strength by the sampler and by theory, and where samples end at it and far above it."""
    strength = largest_monotone_strength(_uniform(0.0, effort, steps=effort.pick(300, 400))) or math.nan
    theory = two_class.largest_monotone_strength("uniform")
    at, above = (measured(_uniform(w, effort).run()) for w in (strength, 10.0))
    edge, away = "boundary_fraction", at["off_support_distance"].affine(1 / _uniform(0.0, effort).sigma_end)
    crowding = above[edge].minus(at[edge])
    return found(
        equal("largest strength", strength, theory, allowance=_RESOLUTION, because="the resolution of both searches"),
        at_most("mean distance from the support there, in units of the final noise", away, 1.0),
        at_least("share in the outer 5 % of the support at w = 10, above that there", crowding, 0.1),
    )


ROWS: tuple[Claim, ...] = (
    boundary,
    boundary_sde,
    square_root_growth,
    bounded_score_error,
    missing_pullback,
    largest_monotone,
)
