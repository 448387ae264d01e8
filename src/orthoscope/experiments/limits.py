"""Limits that theory states in closed form, measured: speciation, dense classes, a fixed number of classes.

Each function simulates a few dimensions and returns estimates beside the closed form, which holds for runs from
infinite noise: runs start so early that what is left of the start is far below the errors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from orthoscope import rng
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant
from orthoscope.metrics.scaling import PowerLaw, extrapolate, power_law
from orthoscope.quantities import Estimate
from orthoscope.settings import Setting
from orthoscope.simulation.coupled import coupled
from orthoscope.simulation.radial import RadialResult, radial
from orthoscope.simulation.setting import Simulation
from orthoscope.theory import constant, predict

_FAR = 1e5  # variance time that stands for infinite noise; what a run keeps of its start falls like 1/t_max
_FAR_PER_DIM = 100.0  # a fixed number of classes is told apart at times that grow with the dimension


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One dimension of a limit.

    Attributes:
        dim: Dimension.
        measured: What was measured there.
        theory: The closed form in infinite dimension.
        finite_dim: The finite-dimension theory, where it is of use; nan elsewhere.
    """

    dim: int
    measured: Estimate
    theory: float
    finite_dim: float = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Speciation:
    """The moment at which the class is decided.

    Attributes:
        rows: Time at which the mean posterior of the class along guided paths crosses 1/2, by dimension.
        limit: Their limit of infinite dimension.
        theory: The root of the implicit equation.
        goodness: Probability that chance leaves larger residuals about the extrapolating parabola in 1/d.
    """

    rows: tuple[Row, ...]
    limit: Estimate
    theory: float
    goodness: float


def planted(
    *, rate: float, trajectories: int, steps: int, strength: float = 1.0, std: float = 0.5, seed: int = 0
) -> Simulation:
    """Planted paths from infinite noise, in a dimension that each function sets."""
    return Simulation.of(
        dim=1024, rate=rate, std=std, schedule=Constant(value=strength), t_max=_FAR, start="exact", modes="planted",
        samples=trajectories, draws=1, steps=steps, seed=seed,
    )  # fmt: skip


def _in_dimension(simulation: Simulation, dim: int, *name: str | int, **fields: Any) -> Simulation:
    """The same in a dimension, on streams of its own."""
    return simulation.but(dim=dim, seed=rng.key(simulation.budget.seed, *name) % 2**32, **fields)


def speciation(simulation: Simulation, dims: Sequence[int]) -> Speciation:
    """Speciation time of planted paths, against the implicit equation.

    Accuracy:
        Levels round speciation are dense; the crossing is interpolated between two of them.

    Raises:
        ConfigError: if there is no speciation at this rate, or the posterior does not cross 1/2.
    """
    setting = simulation.setting
    theory = float(constant.speciation_time(setting.rate, setting.law.std, strength_of(setting)))
    if math.isnan(theory):
        raise ConfigError(
            f"the rate {setting.rate:g} is above the critical one: there is no speciation time to measure"
        )
    found = {dim: radial(_in_dimension(simulation, dim, "speciation", dim)) for dim in dims}
    rows = [Row(dim=dim, measured=crossing(one), theory=theory) for dim, one in found.items()]
    line = extrapolate([row.dim for row in rows], [row.measured for row in rows], order=2)
    return Speciation(rows=tuple(rows), limit=line.limit, theory=theory, goodness=line.goodness)


def crossing(result: RadialResult) -> Estimate:
    """Variance time at which the mean class posterior first crosses 1/2, between levels straight in log v and logit.

    Raises:
        ConfigError: if it does not cross.
    """
    base = result.simulation.setting.law.std**2
    p = np.clip([e.value for e in result.posterior], 1e-12, 1 - 1e-12)
    if p[0] > 0.5 or not (p > 0.5).any():
        raise ConfigError("the mean posterior does not cross 1/2 during the run: start earlier, or lower the rate")
    after = int(np.argmax(p > 0.5))
    before = after - 1
    logit = np.log(p / (1 - p))
    log_v = np.log(base + np.asarray(result.times))
    slope = (log_v[after] - log_v[before]) / (logit[after] - logit[before])
    at = float(np.exp(log_v[before] - slope * logit[before]))
    near = min((before, after), key=lambda k: abs(logit[k]))
    error = result.posterior[near].stderr / (p[near] * (1 - p[near])) * abs(slope) * at
    return Estimate(value=at - base, stderr=float(error), n=result.posterior[near].n)


def dense_shifts(simulation: Simulation, dims: Sequence[int]) -> dict[str, tuple[Row, ...]]:
    """Mean and variance shift of dense classes by dimension, against the constant ones of r = s^2/(1 + s^2).

    With a very large rate this is the limit of infinitely many classes, in any dimension.

    Accuracy:
        No moment calls for dense levels, so that a bias of finite steps remains: below a part in a thousand.
    """
    setting = simulation.setting
    closed = constant.dense_distortion(setting.law.std, strength_of(setting))
    found = {dim: radial(_in_dimension(simulation, dim, "dense", dim)) for dim in dims}
    return {
        name: tuple(Row(dim=dim, measured=getattr(one, name), theory=float(theory)) for dim, one in found.items())
        for name, theory in zip(("mean_shift", "variance_shift"), closed, strict=True)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class FewClasses:
    """A fixed number of classes as the dimension grows.

    Attributes:
        rows: Mean shift by dimension, and the leading order for few classes there.
        law: Power law of the measured decay; theory says the exponent is 1.
    """

    rows: tuple[Row, ...]
    law: PowerLaw


def few_classes(simulation: Simulation, dims: Sequence[int]) -> FewClasses:
    """Decay of the mean shift at a fixed number of classes, all modes held, the start moving out with the dimension."""
    rows = []
    for dim in dims:
        one = _in_dimension(simulation, dim, "few classes", dim, t_max=_FAR_PER_DIM * dim)
        setting = one.setting
        leading = float(constant.few_classes(setting.rate, setting.law.std, strength_of(setting)).mean_shift)
        here = predict(one.finite_dim).mean_shift
        rows.append(Row(dim=dim, measured=coupled(one).mean_shift, theory=leading, finite_dim=here))
    law = power_law(list(dims), [row.measured for row in rows])
    return FewClasses(rows=tuple(rows), law=law)


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """Shifts with all modes held, and what theory says of them.

    Attributes:
        dim: Dimension.
        modes: Number of modes.
        mean_shift: Measured.
        variance_shift: Measured.
        mean_field_mean: Mean shift in infinite dimension.
        mean_field_variance: Variance shift there.
        finite_dim_mean: Mean shift by the finite-dimension theory.
    """

    dim: int
    modes: int
    mean_shift: Estimate
    variance_shift: Estimate
    mean_field_mean: float
    mean_field_variance: float
    finite_dim_mean: float


def real(simulation: Simulation) -> Real:
    """Shifts of real modes, beside unguided paths on the same noise."""
    dim = simulation.dim
    simulation = _in_dimension(simulation, dim, "real", dim, f"{simulation.setting.rate!r}")
    measured, limit = coupled(simulation), predict(simulation.mean_field)
    return Real(
        dim=dim,
        modes=round(math.exp(simulation.log_classes)),
        mean_shift=measured.mean_shift,
        variance_shift=measured.variance_shift,
        mean_field_mean=limit.mean_shift,
        mean_field_variance=limit.variance_shift,
        finite_dim_mean=predict(simulation.finite_dim).mean_shift,
    )


def exponent(dims: tuple[int, int], shifts: Sequence[Estimate]) -> Estimate:
    """Exponent of a decay between two dimensions, by the delta method."""
    first, last = (replace(e, value=math.log(e.value), stderr=e.stderr / e.value) for e in shifts)
    return first.minus(last).times(1 / math.log(dims[1] / dims[0]))


def strength_of(setting: Setting) -> float:
    """The strength of a setting where it is constant, as the closed forms want it.

    Raises:
        ConfigError: if it is not.
    """
    if not isinstance(setting.schedule, Constant):
        raise ConfigError(f"the limits are known for constant strengths, got {setting.schedule}", field="schedule")
    return setting.schedule.value
