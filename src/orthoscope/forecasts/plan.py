"""What a forecast records and what it forecasts, checked before anything is loaded for it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orthoscope.checks import settle
from orthoscope.errors import ConfigError
from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.rules import LinearCFG, Rule
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Linear, Step
from orthoscope.integrations.prompts import each_once

if TYPE_CHECKING:
    from orthoscope.integrations.host import Host

REFERENCE = Constant(value=0.0)
_CFG = LinearCFG()
_SHIPPED, _USUAL = 3.0, 6.5  # strengths in use where nothing is said
_SHARES = (0.2, 0.35, 0.5, 0.65, 0.8)
_FEWEST = 4  # images of a prompt: a mean shift takes halves of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """One forecast of one pipeline; what is None or empty is filled in by `completed`, once the pipeline is known.

    Attributes:
        model: Path or hub id of a pipeline; None for the digits model that ships with the package.
        prompts: What is asked for; the classes if empty and few.
        schedules: What is forecast; `usual` if empty.
        strength: The strength in use: it is recorded, beside strength 0 and the turn between both ends.
        images_per_prompt: Images of every prompt that are recorded at every strength.
        rule: How predictions are combined in what is forecast; recorded runs are guided linearly.
        steps: Steps of the scheduler.
        scheduler: Class of diffusers that replaces the pipeline's own scheduler.
        seed: Root seed.
    """

    name: str = field(default="forecast", init=False)
    model: str | None = None
    prompts: tuple[str, ...] = ()
    schedules: tuple[GuidanceSchedule, ...] = ()
    strength: float | None = None
    images_per_prompt: int = 10
    rule: Rule = _CFG
    steps: int = 30
    scheduler: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject what says nothing.

        Raises:
            ConfigError: if a setting cannot be used.
        """
        settle(self)
        each_once("prompt", self.prompts)
        each_once("schedule", [format_schedule(schedule) for schedule in self.schedules])
        if self.images_per_prompt < _FEWEST:
            raise ConfigError(
                f"`images_per_prompt` must be at least {_FEWEST}, as mean shifts take halves of them, got "
                f"{self.images_per_prompt}; 10 are enough for most"
            )
        if self.steps < 4:
            raise ConfigError(f"`steps` must be at least 4, got {self.steps}")
        if self.strength is not None and not 0 < self.strength < float("inf"):
            raise ConfigError(f"`strength` is the one in use and must be above 0, got {self.strength:g}")

    def completed(self, host: Host) -> Forecast:
        """The same with everything said that was left open, as suits the pipeline.

        Raises:
            ConfigError: if there are no prompts, or one alone.
        """
        prompts = self.prompts or tuple(host.default_prompts or ())
        if not prompts:
            raise ConfigError("this model needs prompts; give `prompts` FILE with one in every line")
        if len(prompts) < 2:
            raise ConfigError("a mean shift is measured between prompts: expected two or more, got 1; give more")
        host.check_prompts(prompts)
        strength = self.strength or (_SHIPPED if host.shipped else _USUAL)
        # Errors follow the names of prompts, not the order in which they were given.
        schedules = self.schedules or usual(strength)
        return replace(self, prompts=tuple(sorted(prompts)), strength=strength, schedules=schedules)

    @property
    def recorded(self) -> tuple[GuidanceSchedule, ...]:
        """What is recorded: strength 0, the one in use, and the turn from it to 0, or to -1 if that is asked about.

        States that a schedule leads to lie between those of the recorded runs as its strengths do, so the third has
        to go where strengths that change take them.
        """
        assert self.strength is not None
        late = -1.0 if any(_goes_below(schedule) for schedule in self.schedules) else 0.0
        turn = Step(early=self.strength, late=late, switch=0.5, clock="step")
        return (REFERENCE, Constant(value=self.strength), turn)


def usual(strength: float) -> tuple[GuidanceSchedule, ...]:
    """Thirty schedules up to a strength: constant, waiting, ending, turning to -1, and linear in the steps."""
    w = strength

    def step(early: float, late: float) -> list[GuidanceSchedule]:
        return [Step(early=early, late=late, switch=share, clock="step") for share in _SHARES]

    shares = (1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 1, 7 / 6)
    lines = ((0, w), (0, 2 * w), (0, w / 2), (w, -w), (w, -w - 1), (w, -w / 2), (w / 2, w / 2), (w / 3, w / 3))
    return (
        *(Constant(value=round(share * w, 6)) for share in shares),
        *step(0, w), *step(w, 0), *step(w, -1),
        *(Linear(w0=w0, slope=slope, clock="step") for w0, slope in lines),
    )  # fmt: skip


def _goes_below(schedule: GuidanceSchedule) -> bool:
    """Whether it has strengths below 0 anywhere in a run, as far as its shape tells."""
    match schedule:
        case Constant(value=value):
            return value < 0
        case Step(early=early, late=late):
            return min(early, late) < 0
        case Linear(w0=w0, slope=slope, clock="step"):
            return min(w0, w0 + slope) < 0
    return True  # of any other nothing is known before a run
