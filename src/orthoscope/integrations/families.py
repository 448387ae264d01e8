"""How each family of pipelines is asked for images, so that it makes the pair of predictions that guidance needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from orthoscope.errors import ConfigError

Kind = Literal["text", "class"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How pipelines of one class are called.

    Attributes:
        kind: Whether images are asked for by text or by class label.
        pair: Arguments that make the pipeline evaluate both halves; the scale's value does not matter.
        extra: Other arguments that it is always given.
        copies: Argument for the number of images of one prompt; "" where labels are repeated instead.
        images: Attribute of its result that holds them.
        has_size: Whether it can be asked for a size.
        starts_at_unit_noise: Whether it leaves out the noise scale at which its scheduler starts.
        half: Precision to load it in on an accelerator.
        is_small: Whether its network is like those that ship, on pixels as they are: so small that images are best
            made many at a time, on one thread, and that whole reverse paths cost little.
    """

    kind: Kind = "text"
    pair: Mapping[str, Any] = field(default_factory=lambda: {"guidance_scale": 2.0})
    extra: Mapping[str, Any] = field(default_factory=dict)
    copies: str = "num_images_per_prompt"
    images: str = "images"
    has_size: bool = True
    starts_at_unit_noise: bool = False
    half: Literal["float16", "bfloat16"] = "float16"
    is_small: bool = False


_PIXART = Family(extra={"clean_caption": False, "use_resolution_binning": False})  # prompt and size as they are given

FAMILIES: dict[str, Family] = {
    "StableDiffusionPipeline": Family(),
    "StableDiffusionXLPipeline": Family(),
    "StableDiffusion3Pipeline": Family(half="bfloat16"),
    "PixArtAlphaPipeline": _PIXART,
    "PixArtSigmaPipeline": _PIXART,
    "FluxPipeline": Family(pair={"true_cfg_scale": 2.0, "negative_prompt": ""}, half="bfloat16"),
    "QwenImagePipeline": Family(pair={"true_cfg_scale": 2.0, "negative_prompt": " "}, half="bfloat16"),
    # A video of one frame is an image.
    "WanPipeline": Family(extra={"num_frames": 1}, copies="num_videos_per_prompt", images="frames", half="bfloat16"),
    "DiTPipeline": Family(kind="class", copies="", has_size=False, starts_at_unit_noise=True),
    "ClassPipeline": Family(kind="class", copies="", has_size=False, is_small=True),
}


def family_of(class_names: list[str]) -> Family:
    """The family of a pipeline, given the names of its class and of those it derives from, nearest first.

    Raises:
        ConfigError: if it is none that makes images from a prompt alone.
    """
    known = next((name for name in class_names if name in FAMILIES), None)
    if known is None:
        raise ConfigError(
            f"{class_names[0]} is not known here; expected one of {', '.join(sorted(FAMILIES))}, "
            "which make images of a prompt alone"
        )
    return FAMILIES[known]
