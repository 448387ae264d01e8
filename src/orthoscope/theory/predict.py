"""The front door: theory for one setting.

    >>> from orthoscope.guidance.schedules import Constant
    >>> prediction = predict(Setting.of(rate=0.2, std=0.5, schedule=Constant(value=1.0)))
    >>> prediction.regime, round(prediction.mean_shift, 6)
    ('committed', 0.03562)

Without `dim` the answer is mean-field theory, exact as the dimension grows; with it, the finite-dimension
theory, which tends to it, unless another mode captures the path: that theory does not cover capture, and the moments
stay those of mean-field theory. `Prediction.theory` says which they are, and so does the diagnosis. The regime and the
event times are mean-field notions and refer to infinite dimension in all cases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from orthoscope.errors import ConfigError
from orthoscope.guidance.schedules import Constant
from orthoscope.numerics import Array
from orthoscope.settings import Setting, rule_name
from orthoscope.theory import constant, moments
from orthoscope.theory.energy import modes
from orthoscope.theory.finite import FiniteMoments, solve_finite
from orthoscope.theory.problem import OneSchedule, Problem
from orthoscope.theory.stages import Stage

Regime = Literal["committed", "dense", "captured"]
Theory = Literal["mean_field", "finite_dim"]
REGIMES: tuple[Regime, ...] = ("committed", "dense", "captured")
_SHIFTS = ("mean_shift", "variance_shift", "variance_ratio")
ACCURATE_FROM = 16  # dimension from which the finite-dimension theory is accurate


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What theory says about a setting.

    Attributes:
        setting: The setting.
        regime: "committed": there is a speciation time; "dense": classes overlap down to t = 0 and none is
            committed to; "captured": negative strength has handed the path to another mode.
        speciation_time: Variance time at which the class is committed, None if it never is.
        condensation_time: Variance time at which the weight of the other modes first condenses on few of them before
            the class has committed, None if it does not. From then on the path is frozen or captured.
        capture_time: Variance time at which another mode captured the path, None if none did.
        mean_shift: Overlap with the own centroid minus 1, at t = 0.
        variance_shift: Mean variance per coordinate minus std^2, at t = 0.
        variance_ratio: Variance per coordinate over std^2.
        class_posterior: Mean posterior of the own mode at t = 0; None where `theory` is "mean_field", which knows no
            posterior.
        lost: Whether the path ends in another mode.
        theory: What the moments are: "finite_dim" if `dim` was given and there is no capture time, else "mean_field".
        finite: The path in finite dimension, if that is what the moments are of.
    """

    setting: Setting
    regime: Regime
    speciation_time: float | None
    condensation_time: float | None
    capture_time: float | None
    mean_shift: float
    variance_shift: float
    variance_ratio: float
    class_posterior: float | None
    lost: bool
    theory: Theory
    finite: FiniteMoments | None = field(default=None, repr=False, compare=False)

    @cached_property
    def critical_rate(self) -> float | None:
        """Rate below which this schedule lets a class commit, None if there is none; found when first asked for."""
        return _critical_rate(self.setting)

    def path(self, times: ArrayLike) -> tuple[Array, Array]:
        """Overlap and variance per coordinate at variance times between 0 and the start, by the same `theory`.

        Raises:
            ConfigError: if a time lies outside the run.
        """
        wanted = np.asarray(times, dtype=np.float64)
        if not (np.isfinite(wanted).all() and (wanted >= 0).all() and (wanted <= self.setting.t_max).all()):
            raise ConfigError(f"path times must be finite and lie between 0 and t_max = {self.setting.t_max}")
        flat = [float(t) for t in wanted.ravel()]
        if self.finite is not None:
            overlap, variance = self.finite.path(flat)
            return overlap.reshape(wanted.shape), variance.reshape(wanted.shape)
        solved = moments.solve(problem_of(self.setting), flat)
        return solved.overlap[0].reshape(wanted.shape), solved.variance[0].reshape(wanted.shape)

    def diagnosis(self) -> str:
        """One sentence that says where the setting lies and what follows."""
        shifts = f"mean shift {self.mean_shift:+.4g}, variance shift {self.variance_shift:+.4g}"
        if self.setting.dim is not None and self.theory == "mean_field":
            shifts += " in infinite dimension: no theory of captured paths knows the dimension"
        elif self.setting.dim is not None and self.setting.dim < ACCURATE_FROM:
            shifts += f"; rough, as the theory is accurate from dimension {ACCURATE_FROM} on"
        return f"{self._where()}; {shifts}."

    def _where(self) -> str:
        rate, critical = self.setting.rate, self.critical_rate
        if self.regime == "committed" and self.capture_time is not None:
            return (
                f"committed: captured at t = {self.capture_time:.4g}, returned to its class at "
                f"t = {self.speciation_time:.4g}; leading order only"
            )
        if self.regime == "committed":
            frozen = f", the path frozen from t = {self.condensation_time:.4g} on" if self.condensation_time else ""
            return (
                f"committed: the class is decided at t = {self.speciation_time:.4g}, guidance acts only before{frozen}"
            )
        if self.regime == "captured":
            return (
                f"captured: a negative strength before speciation hands the path to another mode at "
                f"t = {self.capture_time:.4g}, where it ends; use a less negative strength, a larger slope, or let it "
                f"turn negative only after the class has committed"
            )
        if critical is None:
            # From infinite noise a constant strength has itself to blame; a finite start adds an error of its own.
            late = isinstance(self.setting.schedule, Constant) and math.isfinite(self.setting.t_max)
            cause = "this schedule and start let" if late else "this schedule lets"
            side = f"{cause} no class commit, at the rate {rate:.4g} or any other"
        else:
            side = f"the rate {rate:.4g} is above the critical rate {critical:.4g} (too many classes, or too wide ones)"
        return f"no speciation: {side}; classes overlap down to t = 0 and guidance acts to the end"


def problem_of(setting: Setting) -> Problem:
    """A setting as a problem with one parameter set, in infinite dimension.

    Raises:
        ConfigError: if no theory knows its rule, its schedule has no noise levels, or no theory knows its ensemble in
            finite dimension.
    """
    if setting.rule is not None:
        raise ConfigError(
            f"theory knows plain classifier-free guidance only, got the `rule` {rule_name(setting.rule)}: "
            "leave it out, or simulate",
            field="rule",
        )
    if setting.schedule.clock == "step":
        raise ConfigError(
            "theory needs a schedule in time, got clock=step; resolve it on the grid of a run first", field="schedule"
        )
    if setting.dim is not None and setting.law.ensemble == "sphere":
        raise ConfigError(
            "finite-dimension theory is not available for the sphere; leave out `dim`, or use ensemble=gaussian",
            field=("ensemble", "dim"),
        )
    return Problem(
        rate=np.array([setting.rate]),
        std=setting.law.std,
        strengths=OneSchedule(setting.schedule),
        t_max=setting.t_max,
        start=setting.start,
        lam=setting.lam,
        modes=modes(setting.law.ensemble),
    )


def predict(setting: Setting) -> Prediction:
    """Theory for one setting.

    Accuracy:
        Mean-field theory is exact as the dimension grows, up to captured paths (see `capture`); numerically
        1e-9. With `dim` see `finite`; a path that is ever captured keeps its mean-field moments and has no class
        posterior.

    Raises:
        ConfigError: if the run starts at infinity and the schedule has no strength there: give t_max.

    Source:
        [ventura2026emergence]; derived in explanation/theory.
    """
    problem = problem_of(setting)
    mean_field = moments.solve(problem)
    stage = Stage(int(mean_field.stage[0]))
    lost = stage == Stage.CAPTURED
    theory: Theory = "mean_field"
    found: dict[str, float] = {name: float(getattr(mean_field, name)[0]) for name in _SHIFTS}
    class_posterior, finite = None, None
    if setting.dim is not None and np.isnan(mean_field.capture_time[0]):
        theory, finite = "finite_dim", solve_finite(problem, setting.dim)
        found = {name: getattr(finite, name) for name in _SHIFTS}
        class_posterior = finite.class_posterior
    return Prediction(
        setting=setting,
        regime="captured" if lost else "committed" if stage == Stage.COMMITTED else "dense",
        speciation_time=_number(mean_field.speciation_time[0]),
        condensation_time=_number(mean_field.condensation_time[0]),
        capture_time=_number(mean_field.capture_time[0]),
        **found,
        class_posterior=class_posterior,
        lost=lost,
        theory=theory,
        finite=finite,
    )


def _critical_rate(setting: Setting) -> float | None:
    schedule = setting.schedule
    closed = isinstance(schedule, Constant) and schedule.value >= 0 and setting.t_max == math.inf
    if closed and setting.law.ensemble == "gaussian":
        return float(constant.critical_rate(setting.law.std, schedule.value, setting.lam))  # type: ignore[union-attr]
    return moments.critical_rate(problem_of(setting))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
