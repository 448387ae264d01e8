"""Claims about mixtures of exponentially many classes, one mode each."""

from __future__ import annotations

import math

import torch

from orthoscope.denoise import ExactDenoiser, FixedLabel
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
from orthoscope.guidance.guided import classifier_free
from orthoscope.guidance.schedules import Constant, GuidanceSchedule
from orthoscope.process import VarianceExploding
from orthoscope.quantities import Estimate
from orthoscope.sampling import Exponential, geometric, sample
from orthoscope.simulation.draw import draw
from orthoscope.simulation.setting import Simulation
from orthoscope.simulation.simulate import simulate
from orthoscope.theory import predict
from orthoscope.theory.constant import critical_rate

DENSE_RATE = 2.0  # far above every critical rate used here: theory is then exact in every dimension


def _committed(effort: Effort) -> Simulation:
    """Brute force over every mode, where the class is decided."""
    return Simulation.of(
        dim=32,
        rate=0.2,
        std=0.5,
        schedule=Constant(value=1.0),
        t_max=50.0,
        samples=64,
        draws=effort.pick(24, 400),
        steps=30,
        seed=effort.seed,
    )


def dense(schedule: GuidanceSchedule, effort: Effort) -> Simulation:
    """The planted ensemble far above the critical rate."""
    return Simulation.of(
        dim=32,
        rate=DENSE_RATE,
        std=0.5,
        schedule=schedule,
        modes="planted",
        t_max=10.0,
        samples=effort.pick(500, 4000),
        draws=8,
        steps=effort.pick(40, 80),
        seed=effort.seed,
    )


def measured(simulation: Simulation, *names: str) -> list[Estimate]:
    """Estimates of one simulation, by name."""
    estimates = simulate(simulation).estimates
    return [estimates[name] for name in names]


def in_this_dim(what: str, shift: Estimate, simulation: Simulation, name: str = "mean_shift") -> Comparison:
    """A shift beside the finite-dimension theory, an expansion: good to half of what it adds to infinite dimension."""
    limit, here = (float(getattr(predict(setting), name)) for setting in (simulation.mean_field, simulation.finite_dim))
    return equal(what, shift, here, allowance=abs(here - limit) / 2, because="half of the step from infinite dimension")


@claim(
    "mean-shift",
    "Guidance shifts the class mean away from the other classes.",
    source="ventura2026emergence",
    setting="brute force: rate 0.2, std 0.5, d = 32, w = 1, T = 50; theory in this dimension",
)
def mean_shift(effort: Effort) -> Finding:
    """Positive, and what the finite-dimension theory says."""
    simulation = _committed(effort)
    (shift,) = measured(simulation, "mean_shift")
    return found(in_this_dim("mean shift", shift, simulation), at_least("mean shift", shift, 0.0))


@claim(
    "variance-shrinks",
    "Guidance shrinks the variance of the class.",
    source="ventura2026emergence",
    setting="planted ensemble: rate 2, std 0.5, d = 32, w = 1, T = 10; theory without free choice",
)
def variance_shrinks(effort: Effort) -> Finding:
    """Negative, and what theory says."""
    simulation = dense(Constant(value=1.0), effort)
    (shift,) = measured(simulation, "variance_shift")
    theory = predict(simulation.mean_field).variance_shift
    return found(equal("variance shift", shift, theory), at_most("variance shift", shift, 0.0))


@claim(
    "unconditional",
    "At w = -1 guidance samples the unconditional law.",
    source="ho2022classifier",
    setting="brute force: rate 0.7, std 0.5, d = 12, T = 50: the variance of the class grows by that of the centroids",
)
def unconditional(effort: Effort) -> Finding:
    """The variance of the whole, and the unconditional sampler's path bit for bit."""
    simulation = Simulation.of(
        dim=12,
        rate=0.7,
        std=0.5,
        schedule=Constant(value=-1.0),
        t_max=50.0,
        samples=effort.pick(32, 64),
        draws=effort.pick(16, 96),
        steps=40,
        seed=effort.seed,
    )
    (shift,) = measured(simulation, "variance_shift")
    narrow, offset = draw(simulation).target.absorbed()
    levels, exact = geometric(VarianceExploding(offset=offset), simulation.setting.t_max, 10), ExactDenoiser(narrow)
    x, plain = torch.ones(8, simulation.dim), FixedLabel(exact)
    guided = classifier_free(exact, simulation.setting.schedule)
    runs = [sample(denoiser, x, levels, step=Exponential(lam=0), label=0).x for denoiser in (guided, plain)]
    gap = float((runs[0] - runs[1]).abs().max())
    return found(
        equal("variance shift", shift, 1.0), equal("distance from the unconditional sampler's paths", gap, 0.0)
    )


@claim(
    "side-of-the-critical-rate",
    "The unguided speciation time turns negative where the rate is too small.",
    source="ventura2026emergence",
    setting="planted ensemble, w = 0, std 0.5, d = 64: class posterior at clean data at rates 0.5 and 1.1, "
    "on either side of the critical rate 0.805",
    verdict="contradicted",
)
def side_of_the_critical_rate(effort: Effort) -> Finding:
    """Paths commit below the critical rate and not above it: the time is negative where there are too many classes."""
    posteriors = []
    for rate in (0.5, 1.1):
        simulation = Simulation.of(
            dim=64, rate=rate, std=0.5, schedule=Constant(value=0.0), t_max=50.0, modes="planted",
            samples=effort.pick(12, 100), draws=40, seed=effort.seed,
        )  # fmt: skip
        posteriors += measured(simulation, "class_posterior")
    few, many = posteriors
    low, high = (1 / math.expm1(2 * rate) - 0.25 for rate in (0.5, 1.1))
    return found(
        at_most("class posterior at rate 1.1, above the critical rate", many, 0.5),
        at_least("class posterior at rate 0.5, below it", few, 0.5),
        note=f"the formula of the time, 1 / (exp(2 rate) - 1) - std^2, is {low:.3f} at 0.5 and {high:.3f} at 1.1: it "
        f"turns negative above the critical rate {float(critical_rate(0.5, 0.0)):.3g}, not below",
    )


ROWS: tuple[Claim, ...] = (mean_shift, variance_shrinks, unconditional, side_of_the_critical_rate)
