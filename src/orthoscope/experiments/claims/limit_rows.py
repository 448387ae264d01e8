"""Claims about high dimension: speciation, dense classes, few classes, and how fast finite dimension gets there.

Exponents are fitted over finite dimensions. Where orders beyond the fit bend them, the same fit to the finite-dimension
theory tells by how much, and that is the allowance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from orthoscope.datasets import stored
from orthoscope.errors import ConfigError
from orthoscope.experiments import approach, correlations, limits
from orthoscope.experiments.approach import ApproachStudy
from orthoscope.experiments.claims.claim import Claim, Comparison, Effort, Finding, at_least, claim, equal, found
from orthoscope.experiments.claims.mixture_rows import in_this_dim
from orthoscope.experiments.correlations import CorrelationStudy
from orthoscope.guidance.schedules import Constant
from orthoscope.metrics.scaling import power_law
from orthoscope.quantities import Estimate
from orthoscope.simulation.control import PlantedControl
from orthoscope.simulation.radial import radial
from orthoscope.simulation.setting import Simulation
from orthoscope.simulation.simulate import simulate
from orthoscope.theory import predict

_BENT = "the same fit to the finite-dimension theory"


def _fitted(estimate: Estimate) -> Estimate:
    """A fitted number, judged by the normal law: a fit widens errors by its residuals and never narrows them."""
    return replace(estimate, dof=None)


def _bend(dims: Sequence[int], measured: Sequence[Estimate], theory: Sequence[float], exponent: float) -> float:
    """How far the exponent of theory in the same dimensions, weighted alike, is from its limit."""
    alike = [replace(m, value=t) for m, t in zip(measured, theory, strict=True)]
    return abs(power_law(dims, alike).exponent.value - exponent)


@claim(
    "speciation-time",
    "The class is decided at the root of the implicit speciation equation.",
    source="ventura2026emergence",
    setting="planted ensemble: rate 0.2, std 0.5, w = 1, from infinite noise; the time at which the mean class "
    "posterior crosses 1/2, extrapolated from d = 256 to 16384 to infinite d",
)
def speciation_time(effort: Effort) -> Finding:
    """Several dimensions and their limit."""
    dims = (256, 1024, 4096, 16384) if effort.quick else (256, 512, 1024, 2048, 4096, 8192, 16384)
    paths = limits.planted(
        rate=0.2, trajectories=effort.pick(8192, 32768), steps=effort.pick(120, 240), seed=effort.seed
    )
    reached = limits.speciation(paths, dims)
    return found(equal("time, extrapolated", _fitted(reached.limit), reached.theory))


@claim(
    "dense-any-dimension",
    "Without speciation the distortion is the same in every dimension.",
    source="ventura2026emergence",
    setting="rate 2, std 0.5, w = 1: planted ensemble from infinite noise, d = 16 to 128; real modes, d = 4, T = 50",
)
def dense_any_dimension(effort: Effort) -> Finding:
    """Both shifts in several dimensions, against one closed form."""
    paths = limits.planted(
        rate=2.0, trajectories=effort.pick(16384, 65536), steps=effort.pick(200, 480), seed=effort.seed
    )
    rows = limits.dense_shifts(paths, (16, 128) if effort.quick else (16, 32, 64, 128))
    real = limits.real(_brute_force(dim=4, rate=2.0, draws=effort.pick(16, 64), seed=effort.seed))
    return found(
        *(
            equal(f"{name.replace('_', ' ')}, planted, d = {row.dim}", row.measured, row.theory)
            for name, column in rows.items()
            for row in column
        ),
        *_both_shifts(real),
    )


def _brute_force(**fields: Any) -> Simulation:
    """Real modes at w = 1."""
    return Simulation.of(**{"std": 0.5, "schedule": Constant(value=1.0), "t_max": 50.0, "samples": 32, **fields})


def _both_shifts(real: limits.Real) -> list[Comparison]:
    return [
        equal(f"{name.replace('_', ' ')}, {real.modes} modes, d = {real.dim}", getattr(real, name), theory)
        for name, theory in (("mean_shift", real.mean_field_mean), ("variance_shift", real.mean_field_variance))
    ]


@claim(
    "infinitely-many-classes",
    "With infinitely many classes the distortion persists in any fixed dimension.",
    source="ventura2026emergence",
    setting="brute force: 4000 classes in d = 2 and 8000 in d = 3, std 0.5, w = 1, T = 50",
)
def infinitely_many_classes(effort: Effort) -> Finding:
    """Low dimension, real modes, against the closed form for infinitely many of them."""
    draws = effort.pick(16, 96)
    reals = [
        limits.real(_brute_force(dim=dim, rate=math.log(classes) / dim, draws=draws, seed=effort.seed))
        for dim, classes in ((2, 4000), (3, 8000))
    ]
    return found(
        *(comparison for real in reals for comparison in _both_shifts(real)),
        *(at_least(f"mean shift, d = {real.dim}", real.mean_shift, 0.0) for real in reals),
    )


@claim(
    "few-classes",
    "With sub-exponentially many classes distortions vanish as the dimension grows.",
    source="ventura2026emergence",
    setting="brute force: 64 classes, std 0.5, w = 1, exact start; decay exponent of the mean shift from d = 16 to 256",
)
def few_classes(effort: Effort) -> Finding:
    """A power law of exponent 1 at a fixed number of classes."""
    dims = (16, 64, 256) if effort.quick else (16, 32, 64, 128, 256)
    classes = _brute_force(
        dim=dims[0], classes=64, start="exact", draws=effort.pick(16, 64), steps=effort.pick(25, 40), grid="geometric",
        seed=effort.seed,
    )  # fmt: skip
    reached = limits.few_classes(classes, dims)
    shifts = [row.measured for row in reached.rows]
    return found(
        equal(
            f"decay exponent from d = {dims[0]} to {dims[-1]}", _fitted(reached.law.exponent), 1.0,
            allowance=_bend(dims, shifts, [row.finite_dim for row in reached.rows], 1.0), because=_BENT,
        ),
        note="; ".join(f"d = {row.dim}: {row.measured}" for row in reached.rows),
    )  # fmt: skip


_CROSSED = {0.25: (8, 64), 0.5: (8, 64), 0.75: (8, 20), 1.0: (5, 9)}


@claim(
    "from-few-to-many-classes",
    "Distortions vanish in high dimension unless the number of classes is exponential in it.",
    source="ventura2026emergence",
    setting="brute force: exp(d^a) classes, std 0.5, w = 1, exact start at T = 100; decay exponent of the mean shift "
    "in d, which is 1 - a to leading order, from d = 8 to 64 (a = 0.25, 0.5), 8 to 20 (0.75), 5 to 9 (1)",
)
def from_few_to_many(effort: Effort) -> Finding:
    """The exponent falls to zero along one axis."""
    comparisons, exponents = [], {}
    for power in (0.5, 1.0) if effort.quick else tuple(_CROSSED):
        dims = _CROSSED[power]
        reals = [
            limits.real(
                _brute_force(
                    dim=dim, rate=dim ** (power - 1), draws=effort.pick(20, 128), samples=16, steps=20, t_max=100.0,
                    start="exact", seed=effort.seed,
                )
            )
            for dim in dims
        ]  # fmt: skip
        exponent = exponents[power] = limits.exponent(dims, [real.mean_shift for real in reals])
        here = limits.exponent(dims, [replace(real.mean_shift, value=real.finite_dim_mean) for real in reals]).value
        comparisons.append(
            equal(
                f"decay exponent, a = {power:g}", exponent, (1 - power + here) / 2,
                allowance=abs(1 - power - here) / 2,
                because=f"from {1 - power:g}, in high dimension, to {here:.3f}, theory in these dimensions",
            )
        )  # fmt: skip
    fall = exponents[0.5].minus(exponents[1.0])
    return found(*comparisons, at_least("decay exponent, a = 0.5, less that at a = 1", fall, 0.0))


@claim(
    "exponentially-many-classes",
    "With exponentially many classes distortions persist in high dimension.",
    source="ventura2026emergence",
    setting="rate 0.2, std 0.5, w = 1, exact start at T = 50: planted ensemble, d = 4096; real modes beside their "
    "planted control variate, d = 32 and 48 (64 without --quick), theory in these dimensions",
)
def exponentially_many_classes(effort: Effort) -> Finding:
    """Not zero in a dimension that could as well be infinite, and real modes on the way there."""
    study = ApproachStudy(trajectories=effort.pick(16384, 200_000), steps=effort.pick(80, 160), seed=effort.seed)
    simulation = study.simulation(0.2, 1.0, 4096)
    shift = radial(simulation).mean_shift
    comparisons = [in_this_dim("mean shift, planted, d = 4096", shift, simulation), at_least("the same", shift, 0.0)]
    for dim in (32, 48) if effort.quick else (32, 48, 64):
        draws = effort.pick(16, 24) if dim == 32 else effort.pick(8, 16)
        real = study.simulation(0.2, 1.0, dim).but(modes="memory", samples=32, draws=draws, steps=20)
        shift = simulate(real, estimator=PlantedControl).estimates["mean_shift"]
        comparisons += [
            in_this_dim(f"mean shift, {round(math.exp(real.log_classes))} modes, d = {dim}", shift, real),
            at_least("the same, above that of infinite dimension", shift, predict(real.mean_field).mean_shift),
        ]
    return found(*comparisons)


@claim(
    "mean-field-rate",
    "Finite dimension approaches mean field like 1/d.",
    source="ventura2026emergence",
    setting="planted ensemble: rate 0.2, std 0.5, w = 1, exact start at T = 50; exponent of the gap in the mean shift "
    "between d = 64 and 4096",
)
def mean_field_rate(effort: Effort) -> Finding:
    """The fitted exponent, and the dimension from which mean field is within 5 %."""
    study = replace(
        ApproachStudy.quick() if effort.quick else ApproachStudy(), rates=(0.2,), strengths=(1.0,), brute_dims=(),
        seed=effort.seed,
    )  # fmt: skip
    if effort.quick:
        study = replace(study, dims=(64, 128, 256, 512, 1024, 4096))
    result = study.run()
    fitted = approach.approach_law(result, "mean_shift", 0.2, 1.0)
    if fitted is None:
        raise ConfigError("no power law fits the gap to mean field")
    one = result.sel(rate=0.2, strength=1.0, dim=[dim for dim in study.dims if dim >= fitted.from_dim])
    gaps = approach.gaps(result.sel(dim=one["dim"].values), "mean_shift", 0.2, 1.0)
    theory = (one["mean_shift_finite_dim"] - one["mean_shift_mean_field"]).values.tolist()
    low, high = fitted.law.interval()
    near = approach.smallest_dim(result, "mean_shift", 0.2, 1.0)
    reached = ", ".join(f"{kind.replace('_', ' ')} {value:.0f}" for kind, value in near.items())
    return found(
        equal(
            f"exponent of the gap from d = {fitted.from_dim}", _fitted(fitted.law.exponent), 1.0,
            allowance=_bend(one["dim"].values.tolist(), gaps, theory, 1.0), because=_BENT,
        ),
        note=f"95 % interval {low:.2f} to {high:.2f}; within 5 % from d: {reached}",
    )  # fmt: skip


@claim(
    "correlations",
    "Two-point correlations between coordinates of guided samples are O(1/d).",
    source="ventura2026emergence",
    setting="rate 0.4, std 1, w = 1, SDE: planted ensemble, d = 128 to 4096, exponent of the mean square correlation, "
    "2 if correlations fall like 1/d; real modes beside planted paths, d = 12 to 24 (28 without --quick); without "
    "guidance as control",
)
def coordinate_correlations(effort: Effort) -> Finding:
    """The slope, planted and of real modes, and zero without guidance."""
    study = CorrelationStudy.quick() if effort.quick else CorrelationStudy()
    study = replace(study, samplers=("SDE",), dims=(16,) if effort.quick else (16, 32), brute_dims=(), seed=effort.seed)
    reduced = tuple(dim for dim in study.reduced_dims if dim >= correlations.ASYMPTOTIC)
    result = replace(study, strengths=(1.0,), dims=(), reduced_dims=reduced).run()
    unguided = replace(study, strengths=(0.0,)).run()
    law = correlations.decay(result, "SDE", 1.0, "reduced")
    real = correlations.decay(result, "SDE", 1.0, "real modes")
    null = stored(correlations.select(unguided, "SDE", 0.0, "planted"), "mean_square_correlation")
    return found(
        equal("exponent, planted", _fitted(law.exponent), 2.0),
        at_least(
            f"exponent, real modes, d = {study.real_dims[0]} to {study.real_dims[-1]}, above that of O(1/sqrt(d))",
            _fitted(real.exponent), 1.0,
        ),
        *(
            equal(f"mean square correlation at w = 0, d = {dim}", square, 0.0)
            for dim, square in zip(study.dims, null, strict=True)
        ),
    )  # fmt: skip


ROWS: tuple[Claim, ...] = (
    speciation_time,
    dense_any_dimension,
    infinitely_many_classes,
    few_classes,
    from_few_to_many,
    exponentially_many_classes,
    mean_field_rate,
    coordinate_correlations,
)
