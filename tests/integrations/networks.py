"""Tiny transformers networks that look at images, with the files that their folders need: nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers

from tests.integrations.pipelines import built, texts_of_letters

SIDE, PATCH = 16, 8
EYES: dict[str, Any] = {
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": PATCH,
}


def processor(**changes: Any) -> Any:
    own = {
        "size": {"shortest_edge": SIDE},
        "crop_size": {"height": SIDE, "width": SIDE},
        "image_mean": [0.4] * 3,
        "image_std": [0.3] * 3,
    }
    return transformers.CLIPImageProcessorPil(**own | changes)


def saved(folder: Path, *parts: Any) -> str:
    for part in parts:
        part.save_pretrained(folder)
    return str(folder)


def clip(folder: Path) -> str:
    """CLIP that reads letters and sees squares of 16 pixels."""
    texts = texts_of_letters()
    config = transformers.CLIPConfig(
        text_config=texts["text_encoder"].config.to_dict(), vision_config=EYES, projection_dim=6
    )
    return saved(folder, built(transformers.CLIPModel, config=config), texts["tokenizer"], processor())


def dinov2(folder: Path) -> str:
    config = transformers.Dinov2Config(**{key: EYES[key] for key in EYES if key != "intermediate_size"}, mlp_ratio=1)
    return saved(folder, built(transformers.Dinov2Model, config=config), processor())


def classifier(folder: Path, classes: int) -> str:
    config = transformers.ViTConfig(**EYES, num_labels=classes)
    return saved(folder, built(transformers.ViTForImageClassification, config=config), processor())
