"""Claims about two Gaussian classes under the reverse SDE: overshoot, shrinkage, and the posterior of the class."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np

from orthoscope import metrics
from orthoscope.experiments.claims.claim import (
    Claim,
    Comparison,
    Effort,
    Finding,
    at_least,
    at_most,
    claim,
    equal,
    found,
)
from orthoscope.experiments.two_class import TwoClass
from orthoscope.experiments.two_class_measures import spread
from orthoscope.guidance.schedules import Constant
from orthoscope.metrics.scaling import power_law
from orthoscope.numerics import Array
from orthoscope.quantities import Estimate
from orthoscope.simulation.draw import draw
from orthoscope.simulation.setting import Simulation
from orthoscope.theory.two_class_sde import sde_inverse_posterior, sde_moments

_T_MAX = 4000.0
_DIMS = (4, 16, 64)
_PUBLISHED = {4: 0.640, 16: 0.316, 64: 0.142}  # overshoot at w = 4, three digits each
_HALF_DIGIT = 5e-4


@cache
def _samples(strength: float, effort: Effort, *, dim: int = 1) -> Array:
    """Guided samples of the class along the classes' axis, from an exact start; equal seeds share their noise."""
    setting = TwoClass(
        law="gaussian", strength=strength, lam=1.0, samples=effort.pick(2000, 20_000), steps=effort.pick(60, 240),
        t_max=_T_MAX, start="exact", dim=dim, seed=effort.seed,
    )  # fmt: skip
    return setting.sampled()


def _overshoot(strength: float, effort: Effort, *, dim: int = 1) -> Estimate:
    """Mean along the axis beyond that of the class: beside no guidance on the same noise, whose own is 0."""
    return metrics.mean_of(_samples(strength, effort, dim=dim) - _samples(0.0, effort, dim=dim))


@cache
def _theory(strength: float, dim: int = 1) -> tuple[float, float]:
    mean, std = sde_moments(strength, dim=dim, t_max=_T_MAX, start="exact")
    return mean - math.sqrt(dim), std


@claim(
    "overshoot",
    "In low dimension guidance overshoots the class mean and shrinks its variance.",
    source="pavasovic2025classifier",
    setting=f"N(1, 1) against N(-1, 1), SDE, exact start at T = {_T_MAX:g}; published: overshoot 0.486 at w = 1, 1.07 "
    "at w = 4, standard deviation 0.72 there",
)
def overshoot(effort: Effort) -> Finding:
    """Mean and spread at two strengths, against the law of the guided SDE."""
    strong, plain = (_samples(w, effort) for w in (4.0, 0.0))
    (weak_theory, _), (strong_theory, std_theory) = _theory(1.0), _theory(4.0)
    over, std = metrics.mean_of(strong - plain), spread(strong)
    return found(
        equal("overshoot at w = 4", over, strong_theory),
        at_least("overshoot at w = 4", over, 0.0),
        equal("standard deviation at w = 4", std, std_theory),
        at_most("standard deviation at w = 4", std, 1.0),
        equal("overshoot at w = 1", _overshoot(1.0, effort), weak_theory),
        note=f"the published 0.486 is {0.486 - weak_theory:.4f} above theory",
    )


@claim(
    "overshoot-falls",
    "The overshoot is O(1/sqrt(d)) for class means at distance sqrt(d).",
    source="pavasovic2025classifier",
    setting=f"N(m, I) against N(-m, I), |m|^2 = d, w = 4, SDE, exact start at T = {_T_MAX:g}; decay exponent from "
    "d = 4 to 64",
)
def overshoot_falls(effort: Effort) -> Finding:
    """The exponent 1/2, up to what theory says of dimensions as low."""
    measured = [_overshoot(4.0, effort, dim=dim) for dim in _DIMS]
    theory = [_theory(4.0, dim)[0] for dim in _DIMS]
    law = power_law(_DIMS, measured, correction=False)
    here = power_law(_DIMS, [replace(m, value=t) for m, t in zip(measured, theory, strict=True)], correction=False)
    return found(
        equal(
            "decay exponent", replace(law.exponent, dof=None), 0.5, allowance=abs(here.exponent.value - 0.5),
            because="theory in the same dimensions",
        ),
        *_at_theory(measured, theory),
    )  # fmt: skip


@claim(
    "overshoot-published",
    "At w = 4 the overshoot is 0.640, 0.316 and 0.142 in d = 4, 16 and 64.",
    source="pavasovic2025classifier",
    setting=f"N(m, I) against N(-m, I), |m|^2 = d, SDE, exact start at T = {_T_MAX:g}",
    verdict="contradicted",
)
def overshoot_published(effort: Effort) -> Finding:
    """Right in d = 4; beyond, the numbers are those of steps of 0.01 in the process's time, not of the process."""
    measured = [_overshoot(4.0, effort, dim=dim) for dim in _DIMS]
    theory = [_theory(4.0, dim)[0] for dim in _DIMS]
    return found(
        at_least(
            "overshoot, d = 64, above the published one and its rounding", measured[2], _PUBLISHED[64] + _HALF_DIGIT
        ),
        at_least("the same, d = 16, by theory", theory[1], _PUBLISHED[16] + _HALF_DIGIT),
        *_at_theory(measured, theory),
    )


def _at_theory(measured: list[Estimate], theory: list[float]) -> list[Comparison]:
    return [
        equal(f"overshoot, d = {dim}", estimate, value)
        for dim, estimate, value in zip(_DIMS, measured, theory, strict=True)
    ]


@claim(
    "inverse-posterior",
    "The mean of 1/p(c given x) is the number of classes without guidance, and falls with the strength.",
    source="pavasovic2025classifier",
    setting=f"N(1, 1) against N(-1, 1), SDE, exact start at T = {_T_MAX:g}, w = 0, 0.5, 1; 8 real modes in d = 2, "
    "std 1.5, w = 0 and 1: classes that overlap, since once they commit the mean rests on samples that never come",
)
def inverse_posterior(effort: Effort) -> Finding:
    """Two classes against theory at three strengths; more of them at 0, and below at 1."""
    two = {w: metrics.mean_of(1 + np.exp(-2 * _samples(w, effort))) for w in (0.0, 0.5, 1.0)}
    eight = {w: _inverse_of_modes(w, effort) for w in (0.0, 1.0)}
    return found(
        equal("8 classes, w = 0", eight[0.0], 8.0),
        at_most("8 classes, w = 1", eight[1.0], 8.0),
        *(
            equal(f"2 classes, w = {w:g}", mean, sde_inverse_posterior(w, t_max=_T_MAX, start="exact"))
            for w, mean in two.items()
        ),
        at_most("2 classes, w = 1, less w = 0.5", two[1.0].minus(two[0.5]), 0.0),
        at_most("2 classes, w = 0.5", two[0.5], 2.0),
    )


def _inverse_of_modes(strength: float, effort: Effort) -> Estimate:
    """Mean of 1 / p(c given x) over draws of 8 modes."""
    simulation = Simulation.of(
        dim=2, classes=8, std=1.5, schedule=Constant(value=strength), start="exact", t_max=50.0, samples=256,
        draws=effort.pick(24, 400), steps=24, dtype="float64", seed=effort.seed,
    )  # fmt: skip
    draws = [draw(simulation, index) for index in range(simulation.budget.draws)]
    levels = draws[0].levels
    ends = [one.run(levels, recorded=False).x for one in draws]
    posteriors = [one.target.class_posterior(x, 0) for one, x in zip(draws, ends, strict=True)]
    return metrics.mean_of([float((1 / own).mean()) for own in posteriors])


ROWS: tuple[Claim, ...] = (overshoot, overshoot_falls, overshoot_published, inverse_posterior)
