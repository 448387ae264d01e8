"""Claims about two classes on a line: edges of the support, imperfect scores, how strong is too strong."""

from __future__ import annotations

import math
from dataclasses import replace

from orthoscope.quantities import Estimate
from orthoscope.study.claims.claim import Claim, Effort, Finding, agrees, beyond, both, claim, exactly
from orthoscope.study.two_class import TwoClass
from orthoscope.study.two_class_measures import largest_monotone_strength, measured
from orthoscope.theory import two_class

_SCORE_ERROR = 0.05


def _uniform(strength: float, effort: Effort, **fields: float | str) -> TwoClass:
    setting = TwoClass(law="uniform", strength=strength, samples=effort.pick(500, 4000), seed=effort.seed)
    return replace(setting, steps=effort.pick(100, 200), **fields)  # type: ignore[arg-type]


@claim(
    "boundary",
    "Strong guidance crowds samples at the far edge of the support.",
    source="chidambaram2024does",
    setting="uniform on [1, 2] against [-2, -1], w = 10, ODE; mean of samples, whose tilted law has mean 1.5",
)
def boundary(effort: Effort) -> Finding:
    """The mean of the flow, and the share in the outer 5 % of the support."""
    setting = _uniform(10.0, effort)
    found = measured(setting.run())
    theory = two_class.guided_moments("uniform", 10.0, sigma_end=setting.sigma_end).mean
    edge = found["boundary_fraction"]
    return both(
        agrees(found["mean"], theory, slack=2e-3), beyond(edge, 0.9, note=f"in the outer 5 % of the support: {edge}")
    )


@claim(
    "boundary-sde",
    "Strong guidance crowds samples at the far edge of the support, whatever the sampler.",
    source="chidambaram2024does",
    setting="as before, ODE and reverse SDE; share of samples in the outer 5 % of the support by the SDE",
    verdict="depends",
)
def boundary_sde(effort: Effort) -> Finding:
    """The ODE crowds the edge; the noise of the SDE takes samples back inside."""
    path = measured(_uniform(10.0, effort, lam=1.0).run())
    flow = measured(_uniform(10.0, effort).run())["boundary_fraction"]
    crowded = beyond(flow, 0.9, note=f"ODE {flow}, SDE mean {path['mean']}")
    return both(beyond(path["boundary_fraction"], 0.2, below=True), crowded)


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
    slope = Estimate(value=(far.value - near.value) / 10, stderr=math.hypot(far.stderr, near.stderr) / 10, n=near.n)
    limit = two_class.large_strength_coefficient()
    return agrees(slope, (theory[1] - theory[0]) / 10, slack=2e-3, note=f"limit of infinite strength: {limit:.4f}")


@claim(
    "bounded-score-error",
    "A bounded score error does not carry samples off the support.",
    source="chidambaram2024does",
    setting=f"uniform classes, w = 10, ODE, conditional score off by {_SCORE_ERROR}; mean distance from the support "
    "when the final noise is 100 times smaller, relative to before",
)
def bounded_score_error(effort: Effort) -> Finding:
    """The distance falls with the final noise, by a factor of at least 50."""
    coarse, fine = (
        measured(_uniform(10.0, effort, score_error=_SCORE_ERROR, sigma_end=sigma).run())["off_support_distance"]
        for sigma in (0.0045, 0.000045)
    )
    ratio = fine.value / coarse.value
    error = ratio * math.hypot(fine.stderr / fine.value, coarse.stderr / coarse.value)
    note = f"distances {coarse} and {fine}"
    # In proportion up to a root of a logarithm.
    return beyond(Estimate(value=ratio, stderr=error, n=fine.n), 0.02, theory=0.01, below=True, note=note)


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
    share = measured(wrong.run())["off_support_fraction"]
    exact = measured(replace(wrong, score_error=None).run())["off_support_distance"]
    near = beyond(exact, 10 * wrong.sigma_end, below=True, note=f"with exact scores {exact} away on average")
    return both(beyond(share, 0.5), near)


@claim(
    "largest-monotone-strength",
    "The largest strength whose path is still monotone keeps samples on the support.",
    source="chidambaram2024does",
    setting="uniform classes, ODE, path from 0 in the variance-preserving state",
)
def largest_monotone(effort: Effort) -> Finding:
    """The strength by the sampler and by theory, and where samples end at it and far above it."""
    strength = largest_monotone_strength(_uniform(0.0, effort)) or math.nan
    theory = two_class.largest_monotone_strength("uniform")
    at, above = (measured(_uniform(w, effort).run()) for w in (strength, 10.0))
    inside, edge = at["off_support_fraction"], "boundary_fraction"
    crowding = Estimate(
        value=above[edge].value - at[edge].value, stderr=math.hypot(above[edge].stderr, at[edge].stderr), n=at[edge].n
    )
    return both(
        exactly(strength, theory, within=0.02 * theory),
        beyond(inside, 0.02, below=True, note=f"off the support {inside}"),
        beyond(crowding, 0.1, note=f"boundary {at[edge]}"),
    )


ROWS: tuple[Claim, ...] = (
    boundary,
    boundary_sde,
    square_root_growth,
    bounded_score_error,
    missing_pullback,
    largest_monotone,
)
