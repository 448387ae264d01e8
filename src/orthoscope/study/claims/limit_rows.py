"""Claims about high dimension: speciation, dense classes, few classes, and how fast finite dimension gets there."""

from __future__ import annotations

from dataclasses import replace

from orthoscope.errors import ConfigError
from orthoscope.quantities import Estimate
from orthoscope.study import approach, correlations, limits
from orthoscope.study.approach import ApproachStudy
from orthoscope.study.claims.claim import Claim, Effort, Finding, agrees, beyond, both, claim
from orthoscope.study.correlations import CorrelationStudy
from orthoscope.study.datasets import stored
from orthoscope.study.radial import radial
from orthoscope.theory import predict

_DENSE_BIAS = 1e-3  # relative, of the finite number of steps where nothing says where to place them


def _fitted(found: Estimate, theory: float, *, slack: float, note: str = "") -> Finding:
    # A fit widens errors by its residuals and never narrows them: the normal bound errs on the safe side.
    return agrees(replace(found, dof=None), theory, slack=slack, note=note)


@claim(
    "speciation-time",
    "The class is decided at the root of the implicit speciation equation.",
    source="ventura2026emergence",
    setting="planted ensemble: rate 0.2, std 0.5, w = 1, from infinite noise; the time at which the mean class "
    "posterior crosses 1/2, extrapolated from d = 128 and more to infinite d",
)
def speciation_time(effort: Effort) -> Finding:
    """Three or six dimensions and their limit."""
    dims = (128, 512, 2048) if effort.quick else (128, 256, 512, 1024, 2048, 4096)
    found = limits.speciation(
        0.2, 1.0, dims=dims, trajectories=effort.pick(16384, 65536), steps=effort.pick(120, 240), seed=effort.seed
    )
    # The parabola in 1/d that extrapolates leaves out orders beyond: a few parts in a thousand with three dimensions.
    return _fitted(found.limit, found.theory, slack=5e-3 * found.theory)


def _dense(log_classes_per_dim: float, dims: tuple[int, ...], effort: Effort) -> Finding:
    rows = limits.dense_shifts(
        1.0,
        log_classes_per_dim=log_classes_per_dim,
        dims=dims,
        trajectories=effort.pick(16384, 65536),
        steps=effort.pick(200, 480),
        seed=effort.seed,
    )
    every = [row for name in ("variance_shift", "mean_shift") for row in rows[name]]
    first, *others = (
        agrees(row.measured, row.theory, slack=_DENSE_BIAS * abs(row.theory), note=f"d = {row.dim}: {row.measured}")
        for row in every
    )
    return both(first, *others)


@claim(
    "dense-any-dimension",
    "Without speciation the distortion is the same in every dimension.",
    source="ventura2026emergence",
    setting="planted ensemble: rate 2, std 0.5, w = 1, from infinite noise, d = 16 to 128; "
    "shown is the variance shift at d = 16",
)
def dense_any_dimension(effort: Effort) -> Finding:
    """Both shifts in several dimensions, against one closed form."""
    return _dense(2.0, (16, 128) if effort.quick else (16, 32, 64, 128), effort)


@claim(
    "infinitely-many-classes",
    "With infinitely many classes the distortion persists in any fixed dimension.",
    source="ventura2026emergence",
    setting="planted ensemble with exp(1000 d) classes: std 0.5, w = 1, d = 4; shown is the variance shift",
)
def infinitely_many_classes(effort: Effort) -> Finding:
    """Low dimension, no limit taken but that of the number of classes."""
    return _dense(1e3, (4,), effort)


@claim(
    "few-classes",
    "With sub-exponentially many classes distortions vanish as the dimension grows.",
    source="ventura2026emergence",
    setting="brute force: 64 classes, std 0.5, w = 1, exact start; decay exponent of the mean shift from d = 16 to 256",
)
def few_classes(effort: Effort) -> Finding:
    """A power law of exponent 1 at a fixed number of classes."""
    dims = (16, 64, 256) if effort.quick else (16, 32, 64, 128, 256)
    found = limits.few_classes(dims=dims, draws=effort.pick(16, 64), steps=effort.pick(25, 40), seed=effort.seed)
    shifts = "; ".join(f"d = {row.dim}: {row.measured}" for row in found.rows)
    # The correction of relative order 1/dim is fitted; what lies beyond it bends the exponent by a few parts in 100.
    return _fitted(found.law.exponent, 1.0, slack=0.05, note=shifts)


@claim(
    "exponentially-many-classes",
    "With exponentially many classes distortions persist in high dimension.",
    source="ventura2026emergence",
    setting="planted ensemble: rate 0.2, std 0.5, w = 1, d = 4096, exact start at T = 50; shown is the mean shift",
)
def exponentially_many_classes(effort: Effort) -> Finding:
    """Not zero in a dimension that could as well be infinite, and near what theory says for infinity."""
    study = ApproachStudy(trajectories=effort.pick(16384, 200_000), steps=effort.pick(80, 160), seed=effort.seed)
    simulation = study.simulation(0.2, 1.0, 4096)
    found, theory = radial(simulation).mean_shift, predict(simulation.setting).mean_shift
    return both(beyond(found, 0.0, theory=theory), agrees(found, theory, slack=0.01 * theory))


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
    low, high = fitted.law.interval()
    near = approach.smallest_dim(result, "mean_shift", 0.2, 1.0)
    reached = ", ".join(f"{kind.replace('_', ' ')} {value:.0f}" for kind, value in near.items())
    note = f"95 % interval {low:.2f} to {high:.2f}; from d = {fitted.from_dim}; within 5 % from d: {reached}"
    return _fitted(fitted.law.exponent, 1.0, slack=0.1, note=note)


@claim(
    "correlations",
    "Two-point correlations between coordinates of guided samples are O(1/d).",
    source="ventura2026emergence",
    setting="planted ensemble: rate 0.4, std 1, w = 1, SDE, d = 32 to 2048; exponent of the mean square "
    "correlation, 2 if correlations fall like 1/d; without guidance as control",
)
def coordinate_correlations(effort: Effort) -> Finding:
    """The slope, and zero without guidance."""
    study = CorrelationStudy.quick() if effort.quick else CorrelationStudy()
    study = replace(study, dims=(16,) if effort.quick else (16, 32), brute_dims=(), seed=effort.seed)
    result = study.run()
    law = correlations.decay(result, "SDE", 1.0, "reduced")
    null = stored(correlations.select(result, "SDE", 0.0, "planted"), "mean_square_correlation")
    control = (agrees(square, 0.0, note=f"w = 0, d = {dim}: {square.value:.1e}({square.stderr:.0e})") for dim, square in
               zip(study.dims, null, strict=True))  # fmt: skip
    return both(_fitted(law.exponent, 2.0, slack=0.1), *control)


ROWS: tuple[Claim, ...] = (
    speciation_time,
    dense_any_dimension,
    infinitely_many_classes,
    few_classes,
    exponentially_many_classes,
    mean_field_rate,
    coordinate_correlations,
)
