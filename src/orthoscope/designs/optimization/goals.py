"""What a design is asked for, and what it answers.

A `Goal` names one quantity to make as large or as small as possible and the least values that others must keep. Every
quantity belongs to a law and a schedule together (`laws`):

- `mean_shift`: how far the class mean moves away from the unconditional mean, in units of their distance;
- `variance_ratio`: guided over true variance within the class;
- `class_posterior`: mean probability of the own class at the end, only for laws that know it;
- `separability`: Fisher ratio of the guided class;
- `frechet`: squared Frechet distance to the true conditional law;
- `effort`: the cost of control, quadratic in the strength.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from orthoscope.checks import settle
from orthoscope.errors import ConfigError, unknown
from orthoscope.guidance.schedules import GuidanceSchedule

Quantity = Literal["mean_shift", "variance_ratio", "class_posterior", "separability", "frechet", "effort"]
QUANTITIES: tuple[Quantity, ...] = (
    "mean_shift",
    "variance_ratio",
    "class_posterior",
    "separability",
    "frechet",
    "effort",
)
Objective = Literal["mean_shift", "separability", "variance_ratio", "effort", "frechet"]
MAXIMIZED: tuple[Objective, ...] = ("mean_shift", "separability", "variance_ratio")
MINIMIZED: tuple[Objective, ...] = ("effort", "frechet")
FLOORS: tuple[Quantity, ...] = ("mean_shift", "variance_ratio", "class_posterior", "separability")
LOWEST, HIGHEST = -1.0, 10.0  # default bounds of the strength
_STRONGEST = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """By how much a schedule may be off while it still does what is asked.

    Attributes:
        strength: Largest error of each strength.
        switch: Largest relative error of each switch time.
    """

    strength: float = 0.0
    switch: float = 0.0

    def __post_init__(self) -> None:
        """Reject what is no size of an error."""
        settle(self)
        if not (math.isfinite(self.strength) and self.strength >= 0):
            raise ConfigError(f"the margin of strengths must be finite and >= 0, got {self.strength:g}")
        if not 0 <= self.switch < 1:
            raise ConfigError(f"the margin of switch times is a share, >= 0 and below 1, got {self.switch:g}")

    def __bool__(self) -> bool:
        """Whether anything may be off at all."""
        return self.strength > 0 or self.switch > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What to make extreme, and what must be kept. Floors are lower bounds; None asks for nothing.

    Without a bound from above most problems have no optimum at a finite strength, and negative strengths below -1
    extrapolate beyond the unconditional model; so both bounds always exist.

    Attributes:
        objective: `mean_shift`, `separability` or `variance_ratio` (maximized), `effort` or `frechet` (minimized).
        mean_shift: Least mean shift.
        variance_ratio: Least variance ratio.
        class_posterior: Least mean posterior of the own class, for a law with a dimension.
        separability: Least Fisher separability.
        low: Smallest strength allowed.
        high: Largest strength allowed.
        margin: By how much a schedule may be off: all schedules that are off by no more must keep the floors, in one
            regime. Their strengths may leave the bounds by as much.
    """

    objective: Objective = "mean_shift"
    mean_shift: float | None = None
    variance_ratio: float | None = None
    class_posterior: float | None = None
    separability: float | None = None
    low: float = LOWEST
    high: float = HIGHEST
    margin: Margin = field(default_factory=Margin)

    def __post_init__(self) -> None:
        """Reject unknown objectives, empty bounds and floors that nothing can meet."""
        settle(self)
        if self.objective not in (*MAXIMIZED, *MINIMIZED):
            raise unknown("objective", str(self.objective), (*MAXIMIZED, *MINIMIZED))
        if not -_STRONGEST <= self.low < self.high <= _STRONGEST:
            raise ConfigError(
                f"bounds on the strength must satisfy {-_STRONGEST:g} <= low < high <= {_STRONGEST:g}, "
                f"got low={self.low:g}, high={self.high:g}",
                field=("low", "high"),
            )
        for name, floor in self.floors.items():
            if not math.isfinite(floor):
                raise ConfigError(f"the least {name} must be a finite number, got {floor}", field=name)
        if self.variance_ratio is not None and self.variance_ratio < 0:
            raise ConfigError(
                f"the least variance_ratio must be >= 0, got {self.variance_ratio:g}", field="variance_ratio"
            )
        if self.class_posterior is not None and not 0 <= self.class_posterior <= 1:
            raise ConfigError(
                f"the least class_posterior is a probability, got {self.class_posterior:g}", field="class_posterior"
            )

    @property
    def floors(self) -> dict[Quantity, float]:
        """The quantities that must be kept, and their least values."""
        asked = {name: getattr(self, name) for name in FLOORS}
        return {name: float(value) for name, value in asked.items() if value is not None}

    @property
    def sign(self) -> float:
        """1 where the objective is maximized, -1 where it is minimized."""
        return 1.0 if self.objective in MAXIMIZED else -1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """What schedules do that are off by no more than a margin.

    Attributes:
        least: The least values of the objective (the largest, if it is minimized) and of the quantities kept.
        regimes: The regimes met.
    """

    least: Mapping[Quantity, float]
    regimes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a schedule does to a law.

    Attributes:
        mean_shift: See the module's head, as the others.
        variance_ratio: Guided over true variance.
        class_posterior: Mean posterior of the own class; None where the law does not know it.
        separability: Fisher ratio.
        frechet: Squared Frechet distance to the true conditional law.
        effort: Cost of control.
        regime: `committed`, `dense` or `captured` in mean-field theory; None for joint Gaussians.
        speciation_time: Variance time at which the class commits in mean-field theory; None if it does not.
        within: What it may do within the margin of the goal by which it was judged; None without a margin.
    """

    mean_shift: float
    variance_ratio: float
    class_posterior: float | None
    separability: float
    frechet: float
    effort: float
    regime: str | None = None
    speciation_time: float | None = None
    within: Within | None = None

    @property
    def lost(self) -> bool:
        """Whether another mode holds the path at the end."""
        return self.regime == "captured"

    def violation(self, goal: Goal) -> float:
        """Largest amount by which a floor of the goal is missed, within the margin if there is one.

        0 if all are kept; infinite for a lost class, and if the regime is not the same everywhere within the margin.
        """
        if self.lost or (self.within is not None and len(self.within.regimes) > 1):
            return math.inf
        least = {} if self.within is None else self.within.least
        values = {name: least.get(name, getattr(self, name)) for name in goal.floors}
        return max((max(goal.floors[name] - (v or 0.0), 0.0) for name, v in values.items()), default=0.0)

    def gain(self, goal: Goal) -> float:
        """The objective, signed so that more is better."""
        return goal.sign * float(getattr(self, goal.objective))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A named schedule with its outcome and whether it keeps what the goal asks.

    Attributes:
        name: `constant`, `interval`, `linear`, `step`, `three_phase`, or the name of a published schedule.
        schedule: The schedule.
        outcome: What it does.
        feasible: Whether it keeps every floor.
    """

    name: str
    schedule: GuidanceSchedule
    outcome: Outcome
    feasible: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """The answer to a goal.

    Attributes:
        goal: What was asked.
        schedule: The best schedule found; if nothing is feasible the one that comes closest.
        outcome: What it does.
        feasible: Whether every floor is kept.
        binding: Floors that hold with equality, or, if nothing is feasible, the one that cannot be kept; also
            `low` and `high` where the strength rests on a bound.
        multipliers: What the objective would gain per unit by which a binding floor is lowered.
        attainable: If nothing is feasible, the best value of the floor that cannot be kept, given the others.
        is_bang_bang: Whether the strength takes only values on its bounds (up to at most one piece, see `notes`).
        notes: Plain sentences: what binds, what is lost, where no window helps.
        candidates: The best schedule of each simple family under the same goal.
        bound: With a margin, the design without one: the most that can be had, where the least error may lose it.
            Its outcome is judged within the margin, too.
    """

    goal: Goal
    schedule: GuidanceSchedule
    outcome: Outcome
    feasible: bool
    binding: tuple[str, ...] = ()
    multipliers: Mapping[str, float] = field(default_factory=dict)
    attainable: Mapping[str, float] = field(default_factory=dict)
    is_bang_bang: bool = False
    notes: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    bound: Design | None = None
