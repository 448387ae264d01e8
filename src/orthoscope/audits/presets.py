"""Audits that others have made, by name, as settings that a user may replace one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orthoscope.audits.plan import REFERENCE
from orthoscope.errors import ConfigError, unknown
from orthoscope.guidance.schedules import Constant, Step
from orthoscope.integrations.prompts import read_prompts

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
