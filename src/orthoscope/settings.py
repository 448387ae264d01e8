"""One setting for theory, simulation, diagrams, sweeps and designs: a law, a guidance schedule and a run.

What the run is made with (levels, steps, number type) and how much of it is sampled belong to a simulation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from orthoscope.checks import LARGEST, real, whole
from orthoscope.errors import ConfigError, unknown
from orthoscope.guidance.given import as_schedule
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.laws import STARTS, RandomMixture, Start
from orthoscope.records import Record

_LATEST = 1e12  # largest finite time of a start: squares and exponents stay far from the ends of float64
_PLAIN = ("orthoscope.guidance.rules.linear", "LinearCFG")  # known by name: the class itself loads torch
_FEWEST = 2 - 1e-9  # classes: a rate of log(2)/dim may have been rounded


def check_run(t_max: float, start: str, lam: float) -> None:
    """Reject a start or a sampler that does not exist.

    Raises:
        ConfigError: if a number is out of range or the start unknown.
    """
    if not t_max > 0:
        raise ConfigError(
            f"`t_max` is the variance time at which the run starts and must be > 0, got {t_max}", field="t_max"
        )
    if _LATEST < t_max < math.inf:
        raise ConfigError(f"`t_max` must be at most {_LATEST:g}, or infinite, got {t_max:g}", field="t_max")
    if start not in STARTS:
        raise unknown("start", start, STARTS, field="start")
    if not 0 <= lam <= 1:
        raise ConfigError(f"`lam` must lie in [0, 1] (1 is the SDE, 0 the ODE), got {lam}", field="lam")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting(Record):
    """One class of a random mixture, sampled with guidance.

    Attributes:
        law: The mixture.
        schedule: Guidance strength; also a number, a text or a function of the noise level.
        dim: Dimension, in which there must be at least 2 classes; None for the limit of infinitely many.
        t_max: Variance time at which the run starts; may be infinite where nothing is sampled.
        start: "prior", N(0, t_max + std^2 + 1), or "exact", the true conditional law; forgotten if t_max is infinite.
        lam: Noise content, 1 for the reverse SDE, 0 for the probability-flow ODE.
        rule: How predictions are combined, where something is sampled; also a text or a function. None for
            classifier-free guidance, the only rule that theory knows.
    """

    law: RandomMixture
    schedule: GuidanceSchedule | Any
    dim: int | None = None
    t_max: float = math.inf
    start: Start = "prior"
    lam: float = 1.0
    rule: Any = None  # a Rule, which is not named here: rules load torch

    def __post_init__(self) -> None:
        """Reject numbers out of range, and dimensions that hold fewer than two classes."""
        object.__setattr__(self, "schedule", as_schedule(self.schedule))
        if self.rule == "cfg" or (type(self.rule).__module__, type(self.rule).__name__) == _PLAIN:
            object.__setattr__(self, "rule", None)
        check_run(real("t_max", self.t_max), self.start, real("lam", self.lam))
        if self.dim is not None:
            object.__setattr__(self, "dim", whole("dim", self.dim, most=LARGEST))
            if self.dim < 1:
                raise ConfigError(
                    f"`dim` must be >= 1, got {self.dim}; leave it out for infinite dimension", field="dim"
                )
        if self.dim is not None and self.rate * self.dim < math.log(_FEWEST):
            classes = math.floor(1000 * math.exp(self.rate * self.dim)) / 1000
            raise ConfigError(
                f"expected at least 2 classes, got {classes:g}: raise the rate or `dim`", field=("dim", "rate")
            )

    @property
    def rate(self) -> float:
        """Class rate, nats per dimension."""
        return self.law.rate_in(self.dim)

    def limit(self) -> Setting:
        """The same rate in infinite dimension."""
        return replace(self, law=replace(self.law, rate=self.rate, classes=None), dim=None)

    def timed(self, steps: int | None) -> Setting:
        """The same with noise levels for the steps of a schedule with clock=step: those of a geometric grid.

        Raises:
            ConfigError: if the schedule needs a number of steps or a finite start that is not there.
        """
        if self.schedule.clock != "step":
            return self
        return replace(self, schedule=on_geometric_steps(self.schedule, self.law.std, self.t_max, steps))


def on_geometric_steps(schedule: GuidanceSchedule, std: float, t_max: float, steps: int | None) -> GuidanceSchedule:
    """A schedule of steps on the geometric grid of a run, which gives its steps a noise level.

    Raises:
        ConfigError: if the number of steps or the time of the start is not given.
    """
    if steps is None or not math.isfinite(t_max):
        raise ConfigError(
            "a schedule with clock=step (or a value in %) needs `steps` and `t_max` to have noise levels",
            field=("schedule", "strength"),
        )
    if steps < 1 or not t_max > 0:
        raise ConfigError(f"expected `steps` >= 1 and a finite `t_max` > 0, got {steps} and {t_max}", field="steps")
    low = std**2
    times = [(low + t_max) * (low / (low + t_max)) ** (k / steps) - low for k in range(steps)]
    return schedule.resolved([*times, 0.0])


def rule_name(rule: Any) -> str:
    """What messages call a rule, whether it is a rule yet, its text or its function."""
    if isinstance(rule, str):
        return rule
    return str(getattr(rule, "name", None) or getattr(rule, "__qualname__", None) or type(rule).__qualname__)
