"""Audits that others have made, by name, as settings that a user may replace one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orthoscope.errors import ConfigError, unknown
from orthoscope.integrations.prompts import read_prompts

_STRENGTH = "6.5"  # guidance scale 7.5
_SHARES = (50, 60, 70)  # percent of the steps before the strength turns negative


def _ventura() -> dict[str, Any]:
    constant = f"constant:{_STRENGTH}"
    return {
        "prompts": read_prompts(Path(__file__).with_name("ventura.txt")),
        "images_per_prompt": 20,
        "schedules": (
            "constant:0", constant, *(f"step:early={_STRENGTH},late=-1,switch={share}%" for share in _SHARES)
        ),
        "scheduler": "EulerAncestralDiscreteScheduler",
        "steps": 30,
        "current": constant,
        "search": False,
    }  # fmt: skip


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
            f"preset {name} asks for images by text, which the digits model does not understand; give --model, a "
            "pipeline such as Stable Diffusion 1.5"
        )
    return PRESETS[name]()
