"""From settings, as people give them, to the plan of an audit; and audits that others have made, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from orthoscope.audits.plan import REFERENCE, Audit
from orthoscope.errors import ConfigError, unknown
from orthoscope.guidance.given import as_schedule
from orthoscope.guidance.rules.given import as_rule
from orthoscope.guidance.schedules import Constant, GuidanceSchedule, Step
from orthoscope.integrations.prompts import as_prompts, read_prompts

_STRENGTH = 6.5  # guidance scale 7.5
_SHARES = (0.5, 0.6, 0.7)  # of the steps before the strength turns negative


def _ventura() -> dict[str, Any]:
    constant = Constant(value=_STRENGTH)
    turning = (Step(early=_STRENGTH, late=-1, switch=share, clock="step") for share in _SHARES)
    return {
        "prompts": read_prompts(Path(__file__).with_name("ventura.txt")),
        "images_per_prompt": 20,
        "schedules": (REFERENCE, constant, *turning),
        "scheduler": "EulerAncestralDiscreteScheduler",
        "steps": 30,
        "current": constant,
        "search": False,
    }


PRESETS = {"ventura": _ventura}


def preset_settings(name: str, *, model: str | None) -> dict[str, Any]:
    """Settings of a preset: fields of `Audit` by name.

    Args:
        name: Name of the preset.
        model: The pipeline that it is for.

    Raises:
        ConfigError: if there is no such preset, or no pipeline that understands its prompts.
    """
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    if model is None:
        raise ConfigError(
            f"preset {name} asks for images by text, which the digits model does not understand; give `model`, a "
            "pipeline such as Stable Diffusion 1.5"
        )
    return PRESETS[name]()


def planned(given: Mapping[str, Any], *, preset: str | None = None, quick: bool = False) -> Audit:
    """The audit asked for: what was given, before the preset's settings, before the defaults.

    Args:
        given: Fields of `Audit` by name; prompts, schedules and rule in whatever form people have them.
        preset: Name of a preset.
        quick: Whether the defaults are those of a small audit.

    Raises:
        ConfigError: if settings contradict each other or cannot be used.
    """
    settings = {name: _READ.get(name, _text)(value) for name, value in given.items()}
    if preset and quick:
        raise ConfigError("give either `preset` or `quick`; with a preset, `images_per_prompt` makes it smaller")
    if preset:
        return Audit(**preset_settings(preset, model=settings.get("model")) | settings)
    return Audit.quick(**settings) if quick else Audit(**settings)


def as_schedules(given: Any) -> tuple[GuidanceSchedule, ...]:
    """The schedules that are meant, one or several.

    Raises:
        ConfigError: if there are none, or one cannot be read.
    """
    is_one = isinstance(given, str) or not isinstance(given, Iterable)
    found = tuple(map(as_schedule, [given] if is_one else given))
    if not found:
        raise ConfigError(
            "`schedules` is empty; give at least one, or leave it out for the usual ones", field="schedules"
        )
    return found


def _text(value: Any) -> Any:
    """A path as its text, anything else as it is."""
    return str(value) if isinstance(value, Path) else value


_READ: Mapping[str, Callable[[Any], Any]] = {
    "prompts": as_prompts,
    "schedules": as_schedules,
    "current": as_schedule,
    "rule": as_rule,
}
