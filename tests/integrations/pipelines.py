"""Tiny real pipelines, built from configs with their own seeded weights: nothing is downloaded."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

import diffusers
import torch
import transformers
from torch import Tensor

from orthoscope.integrations.class_pipeline import ClassPipeline

diffusers.utils.logging.set_verbosity_error()
diffusers.utils.logging.disable_progress_bar()

WIDTH, TOKENS = 16, 3  # of text embeddings


def built(make: Callable[..., Any], *, seed: int = 0, **config: Any) -> Any:
    """A module with seeded weights that are large enough for its inputs to matter."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = make(**config).eval().requires_grad_(False)
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return module


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def vae(**changes: Any) -> Any:
    return built(
        diffusers.AutoencoderKL,
        block_out_channels=(8, 8),
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=16,
        **changes,
    )


UNET: dict[str, Any] = {
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "cross_attention_dim": WIDTH,
    "attention_head_dim": 4,
    "norm_num_groups": 4,
}


def unet(**changes: Any) -> Any:
    return built(diffusers.UNet2DConditionModel, **UNET | changes)


TEXTLESS: dict[str, Any] = {"text_encoder": None, "tokenizer": None}


def texts_of_letters() -> dict[str, Any]:
    """A tokenizer that knows letters, and a text encoder for it."""
    words = ["<|startoftext|>", "<|endoftext|>", *string.ascii_lowercase, *(f"{a}</w>" for a in string.ascii_lowercase)]
    config = transformers.CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=12,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    vocabulary = {word: index for index, word in enumerate(words)}
    return {
        "tokenizer": transformers.CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=12),
        "text_encoder": built(transformers.CLIPTextModel, config=config),
    }


def stable_diffusion(kind: str = "StableDiffusionPipeline", **parts: Any) -> Any:
    """Stable Diffusion 1.5 and its variants."""
    given = {
        "vae": vae(),
        "unet": unet(),
        "scheduler": diffusers.EulerDiscreteScheduler(beta_schedule="scaled_linear", beta_end=0.012, steps_offset=1),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
        **TEXTLESS,
    }
    return getattr(diffusers, kind)(**given | parts)


def controlnet() -> Any:
    keys = ("block_out_channels", "layers_per_block", "in_channels", "down_block_types", "cross_attention_dim")
    return built(
        diffusers.ControlNetModel,
        **{key: UNET[key] for key in keys},
        attention_head_dim=4,
        norm_num_groups=4,
        conditioning_embedding_out_channels=(4, 4),
    )


def stable_diffusion_xl(kind: str = "StableDiffusionXLPipeline") -> Any:
    return getattr(diffusers, kind)(
        vae=vae(),
        unet=unet(
            addition_embed_type="text_time",
            addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=6 * 4 + WIDTH,
            transformer_layers_per_block=1,
            use_linear_projection=True,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(),
        text_encoder_2=None,
        tokenizer_2=None,
        **TEXTLESS,
    )


def stable_diffusion_3(kind: str = "StableDiffusion3Pipeline") -> Any:
    return getattr(diffusers, kind)(
        transformer=built(
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
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(shift_factor=0.1),
        text_encoder_2=None,
        tokenizer_2=None,
        text_encoder_3=None,
        tokenizer_3=None,
        **TEXTLESS,
    )


def pixart(kind: str = "PixArtAlphaPipeline") -> Any:
    return getattr(diffusers, kind)(
        transformer=built(
            diffusers.PixArtTransformer2DModel,
            sample_size=8,
            num_layers=1,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=2,
            caption_channels=WIDTH,
            in_channels=4,
            cross_attention_dim=16,
            out_channels=8,
            use_additional_conditions=False,
        ),
        scheduler=diffusers.DPMSolverMultistepScheduler(),
        vae=vae(),
        **TEXTLESS,
    )


def dit(scheduler: Any = None) -> Any:
    return diffusers.DiTPipeline(
        transformer=built(
            diffusers.DiTTransformer2DModel,
            sample_size=8,
            num_layers=1,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=2,
            in_channels=4,
            out_channels=8,
            num_embeds_ada_norm=1000,
            norm_type="ada_norm_zero",
        ),
        vae=vae(),
        scheduler=scheduler or diffusers.DDIMScheduler(),
    )


def flux() -> Any:
    return diffusers.FluxPipeline(
        transformer=built(
            diffusers.FluxTransformer2DModel,
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            axes_dims_rope=[4, 4, 8],
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=vae(),
        text_encoder_2=None,
        tokenizer_2=None,
        **TEXTLESS,
    )


def wan(boundary: float | None = None) -> Any:
    """Wan 2.1 with one network, or 2.2 with one on either side of a noise level."""
    config: dict[str, Any] = {
        "patch_size": (1, 2, 2),
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": 4,
        "out_channels": 4,
        "text_dim": WIDTH,
        "freq_dim": 16,
        "ffn_dim": 16,
        "num_layers": 1,
        "cross_attn_norm": True,
        "rope_max_seq_len": 32,
    }
    return diffusers.WanPipeline(
        transformer=built(diffusers.WanTransformer3DModel, **config),
        transformer_2=built(diffusers.WanTransformer3DModel, seed=1, **config) if boundary else None,
        boundary_ratio=boundary,
        vae=built(
            diffusers.AutoencoderKLWan,
            base_dim=3,
            z_dim=4,
            dim_mult=[1] * 4,
            num_res_blocks=1,
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
            temperal_downsample=[False, True, True],
        ),
        scheduler=diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
        **TEXTLESS,
    )


def qwen() -> Any:
    return diffusers.QwenImagePipeline(
        transformer=built(
            diffusers.QwenImageTransformer2DModel,
            patch_size=2,
            in_channels=16,
            out_channels=4,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            guidance_embeds=False,
            axes_dims_rope=(8, 4, 4),
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=built(
            diffusers.AutoencoderKLQwenImage,
            base_dim=4,
            z_dim=4,
            dim_mult=[1, 1],
            num_res_blocks=1,
            temperal_downsample=[False],
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        ),
        **TEXTLESS,
    )


def digits() -> Any:
    """The pipeline that ships with the package, untrained."""
    return ClassPipeline(
        unet=built(
            diffusers.UNet2DModel,
            sample_size=8,
            in_channels=1,
            out_channels=1,
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
            block_out_channels=(8, 8),
            layers_per_block=1,
            norm_num_groups=4,
            num_class_embeds=11,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(prediction_type="v_prediction"),
    )
