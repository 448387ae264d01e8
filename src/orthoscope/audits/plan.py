"""What an audit generates and measures: prompts, schedules and seeds, checked before anything is loaded for it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from orthoscope.checks import settle
from orthoscope.errors import ConfigError, unknown
from orthoscope.guidance.grammar import format_schedule
from orthoscope.guidance.rules import LinearCFG, Rule, format_rule
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Step
from orthoscope.integrations.prompts import each_once
from orthoscope.progress import LOG, Remark
from orthoscope.serialize import to_dict

if TYPE_CHECKING:
    from orthoscope.integrations.host import Host

REFERENCE = Constant(value=0.0)
FEATURES = ("latent", "pixel", "clip", "dinov2")
Role = Literal["reference", "constant", "matched", "window", "searched"]

_CFG = LinearCFG()
_WAITING, _ENDING = (Step(early=early, late=3 - early, switch=0.5, clock="step") for early in (0, 3))
_TURNING = Step(early=3, late=-1, switch=0.6, clock="step")
_SHIPPED = (REFERENCE, Constant(value=1), Constant(value=3), _TURNING)
_USUAL = (REFERENCE, Constant(value=3), Constant(value=6.5), Step(early=6.5, late=-1, switch=0.6, clock="step"))
_QUICK = (REFERENCE, Constant(value=3), _WAITING, _ENDING, _TURNING)
_IMAGES_DIGITS, _IMAGES, _IMAGES_QUICK = 40, 20, 12
_FEWEST, _FEWEST_FOR_ALL = 2, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """One audit of one pipeline; what is None or empty is filled in by `completed`, once the pipeline is known.

    Attributes:
        model: Path or hub id of a pipeline; None for the digits model that ships with the package.
        prompts: What is asked for: texts, or classes.
        schedules: Guidance schedules; strength 0 comes first, all is relative to it.
        images_per_prompt: Images of every prompt under every schedule.
        rule: How predictions are combined.
        steps: Steps of the scheduler.
        scheduler: Class of diffusers that replaces the pipeline's own scheduler.
        features: What images are measured by: latent, pixel, clip or dinov2.
        features_model: Path or hub id of the network behind clip or dinov2.
        classifier: Path or hub id of a classifier that judges classes.
        reference: Folder of real images, for fidelity.
        size: Height and width of the images in pixels.
        current: The schedule in use today, that others are compared with; None for the strongest constant one.
        tolerance: A loss of adherence that does not count, in units of its measure; None for what suits that.
        search: Whether step and linear windows are searched; None for yes with the digits.
        match: Whether every window gets a constant strength of equal mean shift to be compared with.
        seed: Root seed.
    """

    name: str = field(default="audit", init=False)
    model: str | None = None
    prompts: tuple[str, ...] = ()
    schedules: tuple[GuidanceSchedule, ...] = ()
    images_per_prompt: int | None = None
    rule: Rule = _CFG
    steps: int = 30
    scheduler: str | None = None
    features: str = "latent"
    features_model: str | None = None
    classifier: str | None = None
    reference: str | None = None
    size: int | None = None
    current: GuidanceSchedule | None = None
    tolerance: float | None = None
    search: bool | None = None
    match: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject what says nothing.

        Raises:
            ConfigError: if a setting cannot be used; the message is one line.
        """
        settle(self)
        object.__setattr__(self, "prompts", tuple(prompt.strip() for prompt in self.prompts))
        if not all(self.prompts):
            raise ConfigError("a prompt is empty; every prompt needs a text")
        each_once("prompt", self.prompts)
        each_once("schedule", [format_schedule(schedule) for schedule in self.schedules])
        if self.images_per_prompt is not None and self.images_per_prompt < _FEWEST:
            raise ConfigError(
                f"`images_per_prompt` must be at least {_FEWEST}, or nothing can vary; got {self.images_per_prompt}"
            )
        if self.steps < 1:
            raise ConfigError(f"steps must be at least 1, got {self.steps}")
        if self.size is not None and self.size < 1:
            raise ConfigError(f"size is the side of the images in pixels and must be at least 1, got {self.size}")
        if self.tolerance is not None and not 0 <= self.tolerance < math.inf:
            raise ConfigError(f"tolerance is a loss of adherence and must be finite and >= 0, got {self.tolerance}")
        if self.features not in FEATURES:
            raise unknown("features", self.features, FEATURES)
        if self.features_model is not None and self.features in ("latent", "pixel"):
            raise ConfigError(f"features {self.features} use no network; leave out the model, or choose clip or dinov2")

    @classmethod
    def quick(cls, **given: Any) -> Audit:
        """A small audit: five schedules, few images, nothing searched or matched; settings given replace its own."""
        small: dict[str, Any] = {
            "schedules": _QUICK, "images_per_prompt": _IMAGES_QUICK, "search": False, "match": False
        }  # fmt: skip
        return cls(**small | given)

    @property
    def texts(self) -> dict[str, Any]:
        """Every setting for JSON, schedules and rule as their canonical texts."""
        current = None if self.current is None else format_schedule(self.current)
        schedules = [format_schedule(schedule) for schedule in self.schedules]
        return to_dict(self) | {"schedules": schedules, "rule": format_rule(self.rule), "current": current}

    def completed(self, host: Host, remark: Remark | None = None) -> Audit:
        """The same audit with everything said that was left open, as suits the pipeline.

        Args:
            host: The pipeline.
            remark: Told what was added, and what too few images keep from being measured.

        Raises:
            ConfigError: if there are no prompts.
        """
        say = remark or LOG.warning
        prompts = self.prompts or tuple(host.default_prompts or ())
        if not prompts:
            raise ConfigError("this model needs prompts; give `prompts` FILE with one in every line")
        is_tiny = host.shipped is not None and host.is_enumerable
        images = self.images_per_prompt or (_IMAGES_DIGITS if is_tiny else _IMAGES)
        if images < _FEWEST_FOR_ALL:
            say(f"{images} images per prompt are too few for some measures, which will be missing; 4 are enough")
        if len(prompts) == 1:
            say("one prompt: nothing that compares prompts will be measured, such as mean shift and gain; give more")
        schedules = self.schedules or (_SHIPPED if host.shipped else _USUAL)
        if REFERENCE not in schedules:
            say(f"{format_schedule(REFERENCE)} is added: diversity and mean shift are relative to strength 0")
        schedules = (REFERENCE, *(schedule for schedule in schedules if schedule != REFERENCE))
        current = self.current or strongest(schedules)
        if current not in schedules:
            say(f"{format_schedule(current)}, the schedule in use, is added")
            schedules = (*schedules, current)
        search = is_tiny if self.search is None else self.search
        return replace(
            self, prompts=prompts, schedules=schedules, images_per_prompt=images, current=current, search=search
        )


def role_of(schedule: GuidanceSchedule) -> Role:
    """What a schedule named by the user is compared as."""
    if schedule == REFERENCE:
        return "reference"
    return "constant" if isinstance(schedule, Constant) else "window"


def constants(schedules: Iterable[GuidanceSchedule]) -> list[float]:
    """Strengths of the constant schedules among these."""
    return [schedule.value for schedule in schedules if isinstance(schedule, Constant)]


def strongest(schedules: Iterable[GuidanceSchedule]) -> Constant:
    """The constant schedule of largest strength."""
    found = [schedule for schedule in schedules if isinstance(schedule, Constant)]
    return max(found, key=lambda schedule: schedule.value)
