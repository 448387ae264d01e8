"""Families of pipelines: how to call each, and its denoising loop written by hand with one call per prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.integrations import pipelines
from tests.integrations.pipelines import TOKENS, WIDTH, draw

ROWS, STEPS = 2, 4


def texts(pooled: bool = False, masked: str = "") -> dict[str, Tensor]:
    """Embeddings of two prompts and two negative prompts."""
    found = {
        "prompt_embeds": draw(ROWS, TOKENS, WIDTH, seed=1),
        "negative_prompt_embeds": draw(ROWS, TOKENS, WIDTH, seed=2),
    }
    if pooled:
        found |= {
            "pooled_prompt_embeds": draw(ROWS, WIDTH, seed=3),
            "negative_pooled_prompt_embeds": draw(ROWS, WIDTH, seed=4),
        }
    if masked:
        found |= {name: torch.ones(ROWS, TOKENS, dtype=torch.long) for name in (masked, f"negative_{masked}")}
    return found


def side(call: Mapping[str, Any], name: str, cond: bool) -> Tensor:
    return call[name if cond else f"negative_{name}"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """One pipeline.

    `predict(pipe, x, t, call, cond, extra)` evaluates its network on the scaled state x; `extra` is what the pipeline
    appends to the state's channels. `prepare` sets the timesteps; `begin` is the index at which the run starts.
    """

    build: Callable[[], Any]
    call: Callable[[], dict[str, Any]]
    predict: Callable[..., Tensor]
    prepare: Callable[[Any, int], None] = lambda scheduler, steps: scheduler.set_timesteps(steps)
    begin: int = 0
    channels: int = 4
    off: Mapping[str, Any] = field(default_factory=lambda: {"guidance_scale": 1.0})
    own: Callable[[float], dict[str, Any]] | None = lambda scale: {"guidance_scale": scale}
    networks: tuple[str, ...] = ("unet",)
    finish: Callable[[Any, Tensor], Tensor] = lambda pipe, x: x


@contextmanager
def watched(family: Family, pipe: Any) -> Iterator[list[Tensor]]:
    """What the networks of a pipeline are given, call by call."""
    seen: list[Tensor] = []

    def look(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append((args[0] if args else kwargs.get("hidden_states", kwargs.get("sample"))).clone())

    handles = [getattr(pipe, n).register_forward_pre_hook(look, with_kwargs=True) for n in family.networks]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def states(family: Family, seen: Sequence[Tensor]) -> list[Tensor]:
    """The state at every evaluation, without the second half and without what is appended to its channels."""
    first = [x for x in seen if len(x) == 2 * ROWS] or list(seen)[::2]
    return [x[:ROWS, : family.channels] if x.ndim == 4 else x[:ROWS] for x in first]


def shrunken(scheduler: Any, x: Tensor, t: Tensor) -> Tensor:
    """What the network is given for the state x."""
    return scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x


@torch.no_grad()
def reference(
    family: Family, pipe: Any, strengths: Sequence[float], start: Tensor, *, steps: int = STEPS
) -> list[Tensor]:
    """Scaled states, evaluation by evaluation, and the final state; `start` is what the network was first given."""
    scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
    family.prepare(scheduler, steps)
    timesteps = scheduler.timesteps[family.begin * scheduler.order :]
    if family.begin:
        scheduler.set_begin_index(family.begin * scheduler.order)
    call, found = family.call(), []
    extra = start[:ROWS, family.channels :] if start.ndim == 4 else None
    x = states(family, [start])[0] / shrunken(scheduler, torch.ones(1), timesteps[0])
    for t, w in zip(timesteps, strengths, strict=True):
        found.append(shrunken(scheduler, x, t))
        cond, uncond = (family.predict(pipe, found[-1], t, call, side, extra) for side in (True, False))
        x = scheduler.step((1 + w) * cond - w * uncond, t, x, return_dict=False)[0]
    return [*found, x]


def unet(pipe: Any, x: Tensor, t: Tensor, call: dict[str, Any], cond: bool, extra: Tensor) -> Tensor:
    return pipe.unet(torch.cat([x, extra], 1), t, side(call, "prompt_embeds", cond), return_dict=False)[0]


def with_controlnet(pipe: Any, x: Tensor, t: Tensor, call: dict[str, Any], cond: bool, extra: Tensor) -> Tensor:
    text = side(call, "prompt_embeds", cond)
    down, middle = pipe.controlnet(x, t, text, controlnet_cond=call["image"], return_dict=False)
    added = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
    return pipe.unet(x, t, text, **added, return_dict=False)[0]


def xl(pipe: Any, x: Tensor, t: Tensor, call: dict[str, Any], cond: bool, extra: Tensor) -> Tensor:
    added = {
        "text_embeds": side(call, "pooled_prompt_embeds", cond),
        "time_ids": torch.tensor([[16.0, 16, 0, 0, 16, 16]] * ROWS),
    }
    return pipe.unet(x, t, side(call, "prompt_embeds", cond), added_cond_kwargs=added, return_dict=False)[0]


def sd3(pipe: Any, x: Tensor, t: Tensor, call: dict[str, Any], cond: bool, extra: Tensor) -> Tensor:
    return pipe.transformer(
        hidden_states=x,
        timestep=t.expand(ROWS),
        encoder_hidden_states=side(call, "prompt_embeds", cond),
        pooled_projections=side(call, "pooled_prompt_embeds", cond),
        return_dict=False,
    )[0]


def pixart(pipe: Any, x: Tensor, t: Tensor, call: dict[str, Any], cond: bool, extra: Tensor) -> Tensor:
    return pipe.transformer(
        x,
        encoder_hidden_states=side(call, "prompt_embeds", cond),
        encoder_attention_mask=side(call, "prompt_attention_mask", cond),
        timestep=t.expand(ROWS),
        added_cond_kwargs={"resolution": None, "aspect_ratio": None},
        return_dict=False,
    )[0][:, :4]


def dit(pipe: Any, x: Tensor, t: Tensor, call: dict[str, Any], cond: bool, extra: Tensor) -> Tensor:
    labels = torch.tensor(call["class_labels"] if cond else [1000] * ROWS)
    return pipe.transformer(x, timestep=t.expand(ROWS), class_labels=labels).sample[:, :4]


def flux(pipe: Any, x: Tensor, t: Tensor, call: dict[str, Any], cond: bool, extra: Tensor) -> Tensor:
    return pipe.transformer(
        hidden_states=x,
        timestep=t.expand(ROWS) / 1000,
        pooled_projections=side(call, "pooled_prompt_embeds", cond),
        encoder_hidden_states=side(call, "prompt_embeds", cond),
        txt_ids=torch.zeros(TOKENS, 3),
        img_ids=pipe._prepare_latent_image_ids(ROWS, 4, 4, x.device, x.dtype),
        return_dict=False,
    )[0]


def wan(pipe: Any, x: Tensor, t: Tensor, call: dict[str, Any], cond: bool, extra: Tensor) -> Tensor:
    network = pipe.transformer if t >= 600 or pipe.transformer_2 is None else pipe.transformer_2
    text = side(call, "prompt_embeds", cond)
    return network(hidden_states=x, timestep=t.expand(ROWS), encoder_hidden_states=text, return_dict=False)[0]


def qwen(pipe: Any, x: Tensor, t: Tensor, call: dict[str, Any], cond: bool, extra: Tensor) -> Tensor:
    return pipe.transformer(
        hidden_states=x,
        timestep=t.expand(ROWS) / 1000,
        encoder_hidden_states_mask=side(call, "prompt_embeds_mask", cond),
        encoder_hidden_states=side(call, "prompt_embeds", cond),
        img_shapes=[[(1, 4, 4)]] * ROWS,
        return_dict=False,
    )[0]


def digits(pipe: Any, x: Tensor, t: Tensor, call: dict[str, Any], cond: bool, extra: Tensor) -> Tensor:
    return pipe.unet(x, t, class_labels=torch.tensor(call["class_labels"] if cond else [10] * ROWS)).sample


def evenly(scheduler: Any, steps: int) -> None:
    """The timesteps of Flux and Qwen-Image."""
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps))


def latents(*shape: int) -> dict[str, Any]:
    return {"latents": draw(ROWS, *shape, seed=5), "output_type": "latent"}


def picture(seed: int) -> Tensor:
    return draw(ROWS, 3, 16, 16, seed=seed).sigmoid()


def midway() -> dict[str, Any]:
    """A picture to start from, after half of the steps."""
    noise = torch.Generator().manual_seed(7)
    return {"image": picture(6), "strength": 0.5, "output_type": "latent", "generator": noise}


FAMILIES: dict[str, Family] = {
    "stable-diffusion": Family(build=pipelines.stable_diffusion, call=lambda: texts() | latents(4, 8, 8), predict=unet),
    "image-to-image": Family(
        build=lambda: pipelines.stable_diffusion("StableDiffusionImg2ImgPipeline"),
        call=lambda: texts() | midway(),
        predict=unet,
        begin=2,
    ),
    "inpaint": Family(
        build=lambda: pipelines.stable_diffusion("StableDiffusionInpaintPipeline", unet=pipelines.unet(in_channels=9)),
        call=lambda: (
            texts()
            | latents(4, 8, 8)
            | {
                "image": picture(6),
                "mask_image": (picture(8)[:, :1] > 0.5).float(),
                "strength": 1.0,
                "height": 16,
                "width": 16,
                "generator": torch.Generator().manual_seed(7),
            }
        ),
        predict=unet,
    ),
    "controlnet": Family(
        build=lambda: pipelines.stable_diffusion(
            "StableDiffusionControlNetPipeline", controlnet=pipelines.controlnet()
        ),
        call=lambda: texts() | latents(4, 8, 8) | {"image": picture(6)},
        predict=with_controlnet,
    ),
    "xl": Family(build=pipelines.stable_diffusion_xl, call=lambda: texts(pooled=True) | latents(4, 8, 8), predict=xl),
    "xl-image-to-image": Family(
        build=lambda: pipelines.stable_diffusion_xl("StableDiffusionXLImg2ImgPipeline"),
        call=lambda: texts(pooled=True) | midway(),
        predict=xl,
        begin=2,
    ),
    "stable-diffusion-3": Family(
        build=pipelines.stable_diffusion_3,
        call=lambda: texts(pooled=True) | latents(4, 8, 8),
        predict=sd3,
        networks=("transformer",),
    ),
    "stable-diffusion-3-image-to-image": Family(
        build=lambda: pipelines.stable_diffusion_3("StableDiffusion3Img2ImgPipeline"),
        call=lambda: texts(pooled=True) | midway() | {"height": 16, "width": 16},
        predict=sd3,
        networks=("transformer",),
        begin=2,
    ),
    "pixart": Family(
        build=pipelines.pixart,
        call=lambda: (
            texts(masked="prompt_attention_mask")
            | latents(4, 8, 8)
            | {
                "negative_prompt": None,
                "use_resolution_binning": False,
                "height": 16,
                "width": 16,
            }
        ),
        predict=pixart,
        networks=("transformer",),
    ),
    "dit": Family(
        build=pipelines.dit,
        call=lambda: {"class_labels": [3, 5], "generator": torch.Generator().manual_seed(7), "output_type": "pt"},
        predict=dit,
        finish=lambda pipe, x: (pipe.vae.decode(x / pipe.vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1),
        networks=("transformer",),
    ),
    "digits": Family(
        build=pipelines.digits,
        call=lambda: {"class_labels": [3, 5], "guidance_scale": 2.0} | latents(1, 8, 8),
        predict=digits,
        channels=1,
    ),
    "flux": Family(
        build=pipelines.flux,
        call=lambda: texts(pooled=True) | latents(16, 16) | {"height": 16, "width": 16, "true_cfg_scale": 2.0},
        predict=flux,
        prepare=evenly,
        off={"true_cfg_scale": 1.0},
        own=lambda scale: {"true_cfg_scale": scale},
        networks=("transformer",),
    ),
    "wan-2.1": Family(
        build=pipelines.wan,
        call=lambda: texts() | latents(4, 2, 4, 4) | {"height": 32, "width": 32, "num_frames": 5},
        predict=wan,
        networks=("transformer",),
    ),
    "wan-2.2": Family(
        build=lambda: pipelines.wan(boundary=0.6),
        call=lambda: texts() | latents(4, 2, 4, 4) | {"height": 32, "width": 32, "num_frames": 5},
        predict=wan,
        networks=("transformer", "transformer_2"),
    ),
    "qwen": Family(
        build=pipelines.qwen,
        call=lambda: (
            texts(masked="prompt_embeds_mask")
            | latents(16, 16)
            | {
                "height": 16,
                "width": 16,
                "true_cfg_scale": 2.0,
            }
        ),
        predict=qwen,
        prepare=evenly,
        off={"true_cfg_scale": 1.0},
        own=None,
        networks=("transformer",),
    ),
}


def run(pipe: Any, family: Family, **changes: Any) -> Any:
    """Images, or latents, of one call."""
    call = {"num_inference_steps": STEPS, "return_dict": False} | family.call() | changes
    pipe.set_progress_bar_config(disable=True)
    return pipe(**call)[0]


def is_same(found: Tensor, wanted: Tensor, *, tolerance: float = 1e-5) -> bool:
    """Whether two results differ by rounding only: one batch against two, in single precision."""
    assert found.shape == wanted.shape
    return float((found.float() - wanted.float()).norm()) <= tolerance * float(wanted.float().norm())
