"""Verification of a designed schedule by exact sampling.

A mixture is simulated in the law's own dimension, or in a large one if the law is the limit of infinite dimension, and
compared with the finite-dimension theory *of that dimension*. What that theory may be wrong by is forgiven: its stated
relative accuracy, of the shifts that the positive part of the schedule alone would cause, because a window pays one
shift back with another. Two Gaussians are sampled direction by direction and forgive nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from orthoscope.checks import settle
from orthoscope.designs.distance import distance_beside, equal_constant
from orthoscope.designs.optimization import MixtureLaw, Outcome, SpectrumLaw, without_negative
from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.metrics import jackknife
from orthoscope.metrics.away import Away
from orthoscope.metrics.modes import far_from_modes, is_far
from orthoscope.numerics import Array
from orthoscope.progress import Progress
from orthoscope.quantities import Estimate
from orthoscope.simulation.comparison import FALSE_ALARM, FINITE_DIM_SLACK, Theories, finite_dim_slack, theories
from orthoscope.simulation.draw import Draw, draw
from orthoscope.simulation.pairs import sample_pair
from orthoscope.simulation.setting import Simulation
from orthoscope.simulation.simulate import pooled, sampled_draws
from orthoscope.targets import Gaussian, Mixture, Pair

LARGE_DIM = 128  # stands for infinite dimension
_MOST_MODES = 4_000  # held exactly; more are averaged ...
_MANY_MODES = 100_000  # ... unless they condense, which an average does not
_SAMPLES, _SAMPLES_HELD = 4096, 2048
_GAUSSIAN_STEPS = 100
_AT_ONCE = 256  # samples whose distances from all modes are held together
_DENSE_SLACK = 0.1  # where nothing commits theory misses only what is exponentially small in dim, and the steps' bias
_ROUNDING = 1e-6  # by which numbers without chance may differ
MEASURED = ("mean_shift", "variance_ratio", "separability", "frechet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One quantity, measured and predicted.

    Attributes:
        measured: From sampling.
        theory: Predicted for what was sampled; None if nothing predicts it.
        slack: What the theory may be wrong by.
    """

    measured: Estimate
    theory: float | None = None
    slack: float = 0.0

    @property
    def z(self) -> float | None:
        """Distance in standard errors beyond the slack; None if there is nothing to compare with."""
        if self.theory is None:
            return None
        gap = self.measured.z(self.theory, slack=self.slack)
        return None if math.isnan(gap) else gap

    @property
    def agrees(self) -> bool:
        """Whether measurement and theory agree up to chance and slack; what is not finite agrees with nothing."""
        if self.theory is None:
            return True
        if self.measured.stderr == 0:
            return math.isclose(self.measured.value, self.theory, rel_tol=_ROUNDING, abs_tol=self.slack + _ROUNDING)
        return self.measured.agrees(self.theory, slack=self.slack, false_alarm=FALSE_ALARM)

    def as_numbers(self) -> dict[str, Any]:
        """The check as a JSON object."""
        return self.measured.as_numbers() | {
            "theory": self.theory,
            "slack": self.slack,
            "z": self.z,
            "agrees": self.agrees,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """How much is sampled to verify a schedule.

    Attributes:
        samples: Trajectories in all; None for as many as the error needs, see `trajectories`.
        draws: Draws of the modes among which they are divided.
        steps: Steps of the sampler, before a schedule's jumps are inserted.
        seed: Root seed.
    """

    samples: int | None = None
    draws: int = 16
    steps: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject what has no standard error, or no run."""
        settle(self)
        if self.trajectories() < 2 or self.draws < 1 or self.steps < 1:
            raise ConfigError(
                "verification needs samples >= 2, draws >= 1 and steps >= 1, "
                f"got {self.samples}, {self.draws} and {self.steps}",
                field=("samples", "draws", "steps"),
            )

    def trajectories(self, held: bool = False) -> int:
        """How many in all; fewer where all modes are held: draws of the modes make most of the error there."""
        if self.samples is not None:
            return self.samples
        return _SAMPLES_HELD if held else _SAMPLES


def mixture_simulation(law: MixtureLaw, schedule: GuidanceSchedule, budget: Verification) -> Simulation:
    """The simulation that verifies a schedule for a mixture."""
    dim, condenses = law.dim, not np.isnan(law.solved(schedule).condensation_time[0])
    if dim is None:
        dim = max(int(math.log(_MOST_MODES) / law.rate), 2) if condenses else LARGE_DIM
    stored = law.rate * dim <= math.log(_MANY_MODES if condenses else _MOST_MODES)
    return Simulation.of(
        dim=dim,
        rate=law.rate,
        std=law.std,
        schedule=schedule,
        lam=law.lam,
        t_max=law.t_max,
        start=law.start,
        modes="memory" if stored else "planted",
        samples=max(budget.trajectories(held=stored) // budget.draws, 8),
        draws=budget.draws,
        steps=budget.steps,
        seed=budget.seed,
    )


def check_mixture(
    law: MixtureLaw, schedule: GuidanceSchedule, budget: Verification, progress: Progress | None = None
) -> tuple[dict[str, Check], dict[str, Any]]:
    """Checks of one schedule, and what was simulated."""
    simulation = mixture_simulation(law, schedule, budget)
    estimates, own = _sampled(simulation, progress)

    def others(other: GuidanceSchedule) -> list[Away]:
        return _sampled(simulation.but(schedule=other))[1]

    equal = equal_constant(lambda one: law.evaluate(one).mean_shift, law.evaluate(schedule).mean_shift)
    found = theories(simulation)
    positive = theories(simulation.but(schedule=without_negative(law, schedule)))
    return _mixture_checks(estimates, found, positive, law, simulation.dim), {
        "dim": simulation.dim,
        "planted": simulation.planted,
        "samples": simulation.budget.samples * simulation.budget.draws,
        "draws": simulation.budget.draws,
        "steps": simulation.numerics.steps,
        "theory": "finite_dim" if found.finite_dim else "mean_field",
        "distance": distance_beside(schedule, own, others, equal),
    }


def _sampled(simulation: Simulation, progress: Progress | None = None) -> tuple[dict[str, Estimate], list[Away]]:
    """Estimates pooled over draws of the modes, and how far the samples of every draw are."""
    finals, away = [], []
    every = itertools.islice(sampled_draws(simulation, progress=progress), simulation.budget.draws)
    for index, one in enumerate(every):
        finals.append(one.estimates)
        away.append(_away(draw(simulation, index), one.run.x))
    return pooled(simulation, finals), away


def _parts(x: torch.Tensor) -> Iterator[torch.Tensor]:
    return (x[start : start + _AT_ONCE] for start in range(0, len(x), _AT_ONCE))


def _away(of: Draw, x: torch.Tensor) -> Away:
    """How far samples are from their class, and from every mode where all are held."""
    far, law = None, of.simulation.setting.law
    if isinstance(of.target, Mixture):
        far = np.concatenate([far_from_modes(of.target, part).double().numpy(force=True) for part in _parts(x)])
    gaps = x.double().numpy(force=True) - of.centroid
    return Away(squares=(gaps**2).mean(1) / law.std**2, far=far)


def _mixture_checks(
    measured: Mapping[str, Estimate], found: Theories, positive: Theories, law: MixtureLaw, dim: int
) -> dict[str, Check]:
    assert found.mean_field is not None  # classifier-free guidance has its theory
    assert positive.mean_field is not None
    theory, alone = found.finite_dim or found.mean_field, positive.finite_dim or positive.mean_field
    most = _DENSE_SLACK if found.mean_field.regime == positive.mean_field.regime == "dense" else 1.0
    slack = {
        name: min(finite_dim_slack(name, dim), most) * max(abs(getattr(theory, name)), abs(getattr(alone, name)))
        for name in FINITE_DIM_SLACK
    }
    checks = {name: Check(measured=measured[name]) for name in ("mean_shift", "variance_ratio", "class_posterior")}
    if found.finite_dim is None:  # nothing is said about this dimension: measured only
        return checks
    return checks | {
        "mean_shift": replace(checks["mean_shift"], theory=theory.mean_shift, slack=slack["mean_shift"]),
        "variance_ratio": replace(
            checks["variance_ratio"], theory=theory.variance_ratio, slack=slack["variance_shift"] / law.base
        ),
    }


def check_spectrum(
    law: SpectrumLaw, schedule: GuidanceSchedule, outcome: Outcome, budget: Verification
) -> tuple[dict[str, Check], dict[str, Any]]:
    """Checks of one schedule between two Gaussians, and what was sampled."""
    rows = sample_spectrum(law, schedule, budget)

    def away(x: Array) -> list[Away]:
        squares = ((x - np.asarray(law.cond_mean)) ** 2 / np.asarray(law.cond_var)).sum(1)
        return [Away(squares=squares / x.shape[1], far=is_far(squares, x.shape[1]).astype(np.float64))]

    equal = None
    if "mean_shift" not in law.missing:
        equal = equal_constant(lambda one: law.evaluate(one).mean_shift, outcome.mean_shift)
    beside = distance_beside(schedule, away(rows), lambda other: away(sample_spectrum(law, other, budget)), equal)

    def statistic(name: str) -> Any:
        return lambda part: spectrum_measures(law, part)[name]

    checks = {
        name: Check(measured=jackknife(statistic(name), rows), theory=getattr(outcome, name))
        for name in MEASURED
        if name not in law.missing
    }
    return checks, {"samples": budget.trajectories(), "distance": beside}


def sample_spectrum(law: SpectrumLaw, schedule: GuidanceSchedule, budget: Verification) -> Array:
    """Guided samples between two Gaussians, in float64."""
    mu_c, c, mu_u, u = (
        torch.tensor(np.asarray(part, dtype=np.float64))
        for part in (law.cond_mean, law.cond_var, law.uncond_mean, law.uncond_var)
    )
    pair = Pair(cond=Gaussian(mean=mu_c, variance=c), uncond=Gaussian(mean=mu_u, variance=u))
    return sample_pair(
        pair,
        schedule,
        samples=budget.trajectories(),
        steps=max(budget.steps, _GAUSSIAN_STEPS),
        seed=budget.seed,
        t_max=law.t_max,
        lam=law.lam,
        begin=pair.cond if law.start == "exact" else pair.uncond,
    )


def spectrum_measures(law: SpectrumLaw, rows: Array) -> dict[str, float]:
    """The quantities of a law of two Gaussians, from samples: definitions as in `designs.optimization.laws`."""
    mu_c, c, mu_u = (np.asarray(part, dtype=np.float64) for part in (law.cond_mean, law.cond_var, law.uncond_mean))
    mean, variance = rows.mean(0), rows.var(0, ddof=1)
    distance = mu_c - mu_u
    return {
        "mean_shift": float((mean - mu_c) @ distance / max(distance @ distance, 1e-300)),
        "variance_ratio": float(variance.sum() / c.sum()),
        "separability": float(((mean - mu_u) ** 2 / variance).sum()),
        "frechet": float(((mean - mu_c) ** 2).sum() + ((np.sqrt(variance) - np.sqrt(c)) ** 2).sum()),
    }
