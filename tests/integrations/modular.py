"""Tiny modular pipelines, and their loops written by hand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import diffusers
import torch
from diffusers.modular_pipelines.stable_diffusion_3.modular_blocks_stable_diffusion_3 import (
    StableDiffusion3T2ICoreDenoiseStep,
)
from diffusers.modular_pipelines.stable_diffusion_xl.modular_blocks_stable_diffusion_xl import (
    StableDiffusionXLCoreDenoiseStep,
)
from torch import Tensor

from tests.integrations.pipelines import TOKENS, WIDTH, built, draw, unet

STEPS = 5
INPUTS = {
    "prompt_embeds": draw(2, TOKENS, WIDTH, seed=1),
    "pooled_prompt_embeds": draw(2, WIDTH, seed=2),
    "negative_prompt_embeds": draw(2, TOKENS, WIDTH, seed=3),
    "negative_pooled_prompt_embeds": draw(2, WIDTH, seed=4),
}
LATENTS = draw(2, 4, 8, 8, seed=5)
Combine = Callable[[int, float, Tensor, Tensor, Tensor], Tensor]  # step, sigma, state, cond, uncond


@dataclasses.dataclass
class Case:
    """A modular pipeline and its network."""

    pipe: Any
    network: Any

    def run(self, guider: Any, **changes: Any) -> Tensor:
        self.pipe.update_components(guider=guider)
        given = {"num_inference_steps": STEPS, "latents": LATENTS, "height": 64, "width": 64, "output": "latents"}
        result: Tensor = self.pipe(**INPUTS | given | changes)
        return result

    def calls(self, guider: Any, **changes: Any) -> int:
        count = []
        handle = self.network.register_forward_hook(lambda *_: count.append(1))
        try:
            self.run(guider, **changes)
        finally:
            handle.remove()
        return len(count)

    @property
    def scheduler(self) -> Any:
        return self.pipe.scheduler

    def using(self, scheduler: Any) -> Case:
        self.pipe.update_components(scheduler=scheduler)
        return self


def flow_case() -> Case:
    transformer = built(
        diffusers.SD3Transformer2DModel,
        sample_size=8,
        patch_size=2,
        in_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        caption_projection_dim=16,
        pooled_projection_dim=WIDTH,
        out_channels=4,
    )
    pipe = StableDiffusion3T2ICoreDenoiseStep().init_pipeline()
    pipe.update_components(transformer=transformer, scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0))
    pipe.set_progress_bar_config(disable=True)
    return Case(pipe, transformer)


def xl_case() -> Case:
    network = unet(
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + WIDTH,
        transformer_layers_per_block=1,
        use_linear_projection=True,
    )
    pipe = StableDiffusionXLCoreDenoiseStep().init_pipeline()
    pipe.update_components(unet=network, scheduler=diffusers.EulerDiscreteScheduler())
    pipe.set_progress_bar_config(disable=True)
    return Case(pipe, network)


# Loops written by hand


def flow_by_hand(case: Case, combine: Combine) -> Tensor:
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(STEPS)
    x, sigmas = LATENTS, scheduler.sigmas.tolist()
    for k, t in enumerate(scheduler.timesteps):
        cond, uncond = (
            case.network(
                hidden_states=x,
                timestep=t.expand(len(x)),
                encoder_hidden_states=INPUTS[f"{which}prompt_embeds"],
                pooled_projections=INPUTS[f"{which}pooled_prompt_embeds"],
            ).sample
            for which in ("", "negative_")
        )
        x = x + (sigmas[k + 1] - sigmas[k]) * combine(k, sigmas[k], x, cond, uncond)
    return x


def xl_pair(case: Case, scaled: Tensor, t: Tensor) -> list[Tensor]:
    """Both outputs of the network, conditional first."""
    ids = torch.tensor([[64, 64, 0, 0, 64, 64]]).repeat(2, 1).float()
    return [
        case.network(
            scaled,
            t,
            encoder_hidden_states=INPUTS[f"{which}prompt_embeds"],
            added_cond_kwargs={"time_ids": ids, "text_embeds": INPUTS[f"{which}pooled_prompt_embeds"]},
        ).sample
        for which in ("", "negative_")
    ]


def xl_by_hand(case: Case, combine: Combine, renoise: Combine | None = None) -> Tensor:
    """Euler steps in the noise level; `renoise` may give another noise to add back than the one taken away."""
    scheduler = diffusers.EulerDiscreteScheduler()
    scheduler.set_timesteps(STEPS)
    sigmas, x = scheduler.sigmas.tolist(), LATENTS * scheduler.init_noise_sigma
    for k, t in enumerate(scheduler.timesteps):
        pair = xl_pair(case, x / math.sqrt(sigmas[k] ** 2 + 1), t)
        noise = combine(k, sigmas[k], x, *pair)
        back = noise if renoise is None else renoise(k, sigmas[k], x, *pair)
        x = x - sigmas[k] * noise + sigmas[k + 1] * back
    return x


def linear(*strengths: float) -> Combine:
    return lambda k, sigma, x, cond, uncond: cond + strengths[k] * (cond - uncond)
