"""Limits that theory states in closed form, measured: speciation, dense classes, a fixed number of classes.

Each function simulates a few dimensions and returns estimates beside the closed form, which holds for runs from
infinite noise: runs start so early that what is left of the start is far below the errors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from orthoscope import rng
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant
from orthoscope.laws import Start
from orthoscope.metrics.scaling import PowerLaw, extrapolate, power_law
from orthoscope.quantities import Estimate
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


def speciation(
    rate: float,
    strength: float,
    std: float = 0.5,
    *,
    dims: Sequence[int] = (128, 256, 512, 1024, 2048, 4096),
    trajectories: int = 65_536,
    steps: int = 240,
    seed: int = 0,
) -> Speciation:
    """Speciation time of planted paths, against the implicit equation.

    Accuracy:
        Levels round speciation are dense; the crossing is interpolated between two of them.

    Raises:
        ConfigError: if there is no speciation at this rate, or the posterior does not cross 1/2.
    """
    theory = float(constant.speciation_time(rate, std, strength))
    if math.isnan(theory):
        raise ConfigError(f"the rate {rate:g} is above the critical one: there is no speciation time to measure")
    rows = []
    for dim in dims:
        simulation = _planted("speciation", dim, rate, strength, std, trajectories=trajectories, steps=steps, seed=seed)
        rows.append(Row(dim=dim, measured=crossing(radial(simulation)), theory=theory))
    found = extrapolate([row.dim for row in rows], [row.measured for row in rows], order=2)
    return Speciation(rows=tuple(rows), limit=found.limit, theory=theory, goodness=found.goodness)


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


def dense_shifts(
    strength: float,
    std: float = 0.5,
    *,
    log_classes_per_dim: float = 2.0,
    dims: Sequence[int] = (16, 32, 64, 128),
    trajectories: int = 32_768,
    steps: int = 480,
    seed: int = 0,
) -> dict[str, tuple[Row, ...]]:
    """Mean and variance shift of dense classes by dimension, against the constant ones of r = s^2/(1 + s^2).

    With a very large rate this is the limit of infinitely many classes, in any dimension.

    Accuracy:
        No moment calls for dense levels, so that a bias of finite steps remains: below a part in a thousand.
    """
    mean_shift, variance_shift = (float(part) for part in constant.dense_distortion(std, strength))
    rows: dict[str, list[Row]] = {"mean_shift": [], "variance_shift": []}
    for dim in dims:
        simulation = _planted(
            "dense", dim, log_classes_per_dim, strength, std,
            trajectories=trajectories, steps=steps, seed=seed,
        )  # fmt: skip
        found = radial(simulation)
        rows["mean_shift"].append(Row(dim=dim, measured=found.mean_shift, theory=mean_shift))
        rows["variance_shift"].append(Row(dim=dim, measured=found.variance_shift, theory=variance_shift))
    return {name: tuple(column) for name, column in rows.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class FewClasses:
    """A fixed number of classes as the dimension grows.

    Attributes:
        rows: Mean shift by dimension, and the leading order for few classes there.
        law: Power law of the measured decay; theory says the exponent is 1.
    """

    rows: tuple[Row, ...]
    law: PowerLaw


def few_classes(
    strength: float = 1.0,
    classes: int = 64,
    std: float = 0.5,
    *,
    dims: Sequence[int] = (16, 32, 64, 128, 256),
    draws: int = 64,
    samples: int = 32,
    steps: int = 40,
    seed: int = 0,
) -> FewClasses:
    """Decay of the mean shift at a fixed number of classes, all modes held, the start moving out with the dimension."""
    rows = []
    for dim in dims:
        simulation = Simulation.of(
            dim=dim,
            classes=classes,
            std=std,
            schedule=Constant(value=strength),
            t_max=_FAR_PER_DIM * dim,
            start="exact",
            samples=samples,
            draws=draws,
            steps=steps,
            grid="geometric",
            seed=rng.key(seed, "few classes", dim) % 2**32,
        )
        leading = float(constant.few_classes(math.log(classes) / dim, std, strength).mean_shift)
        here = predict(simulation.finite_dim).mean_shift
        rows.append(Row(dim=dim, measured=coupled(simulation).mean_shift, theory=leading, finite_dim=here))
    law = power_law(list(dims), [row.measured for row in rows])
    return FewClasses(rows=tuple(rows), law=law)


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """Shifts with all modes held, at w = 1, and what theory says of them.

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


def real(
    dim: int,
    rate: float,
    *,
    draws: int,
    std: float = 0.5,
    t_max: float = 50.0,
    start: Start = "prior",
    samples: int = 32,
    steps: int = 30,
    seed: int = 0,
) -> Real:
    """Shifts of real modes at w = 1 beside their unguided twin."""
    simulation = Simulation.of(
        dim=dim, rate=rate, std=std, schedule=Constant(value=1.0), t_max=t_max, start=start, samples=samples,
        draws=draws, steps=steps, seed=rng.key(seed, "real", dim, f"{rate!r}") % 2**32,
    )  # fmt: skip
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


def _planted(
    name: str, dim: int, rate: float, strength: float, std: float, *, trajectories: int, steps: int, seed: int
) -> Simulation:
    return Simulation.of(
        dim=dim,
        rate=rate,
        std=std,
        schedule=Constant(value=strength),
        t_max=_FAR,
        start="exact",
        modes="planted",
        samples=trajectories,
        draws=1,
        steps=steps,
        seed=rng.key(seed, name, dim) % 2**32,
    )
