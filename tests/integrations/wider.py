"""More families of pipelines, each a tiny real one, measured against its own arithmetic at a scale that changes."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import diffusers
import torch
from diffusers.utils import BaseOutput
from torch import Tensor

from orthoscope.integrations.diffusers import guided
from orthoscope.integrations.randomness import stepping_by
from tests.integrations import pipelines
from tests.integrations.families import ROWS, latents, midway, picture, texts
from tests.integrations.pipelines import TOKENS, WIDTH, built, draw

STEPS, EARLY, LATE = 4, 1.5, 4.0


@dataclass(frozen=True, kw_only=True)
class Wider:
    """One pipeline.

    Attributes:
        build: What makes it.
        call: What it is called with, beside its scale.
        scale: The argument by which it is told its scale.
        also: One that must equal it where the scale is one for all.
        by_step: The argument that takes a scale for every step, where there is one.
        offset: What its scale is at strength 0.
        calls: How often it calls its scheduler for a step.
    """

    build: Callable[[], Any]
    call: Callable[[], dict[str, Any]]
    scale: str = "guidance_scale"
    also: str = ""
    by_step: str = ""
    offset: float = 1.0
    calls: int = 1


class Scale(float):
    """A scale that may change while a pipeline runs, also one that is read once: it works as what it is now."""

    def __init__(self, early: float) -> None:
        self.now = float(early)

    def __mul__(self, other: Any) -> Any:
        return self.now * other

    def __add__(self, other: Any) -> Any:
        return self.now + other

    __rmul__, __radd__ = __mul__, __add__


def assembled(kind: str, **parts: Any) -> Any:
    """A pipeline of these parts; the others are left out."""
    wanted = inspect.signature(getattr(diffusers, kind).__init__).parameters
    missing = {name: None for name, given in wanted.items() if name != "self" and given.default is given.empty}
    if "requires_safety_checker" in wanted:
        missing["requires_safety_checker"] = False
    missing |= {name: None for name in ("safety_checker", "feature_extractor") if name in wanted}
    pipe = getattr(diffusers, kind)(**missing | parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def ddim() -> Any:
    return diffusers.DDIMScheduler(clip_sample=False, steps_offset=1)


def flow(**changes: Any) -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(**changes)


def straight(shift: float) -> Any:
    return diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift)


SMALL = {"num_layers": 1, "attention_head_dim": 16, "num_attention_heads": 2}
FLUX = SMALL | {"num_single_layers": 1, "joint_attention_dim": WIDTH, "in_channels": 16, "patch_size": 1}


def seeded() -> dict[str, Any]:
    return {"generator": torch.Generator().manual_seed(7)}


def true_cfg(*shape: int, **more: Any) -> dict[str, Any]:
    return texts(pooled=True) | latents(*shape) | {"height": 16, "width": 16} | more


def chroma(kind: str = "ChromaPipeline", **settings: Any) -> Any:
    network = built(
        diffusers.ChromaTransformer2DModel,
        **FLUX,
        approximator_num_channels=16,
        approximator_hidden_dim=16,
        approximator_layers=1,
        axes_dims_rope=(4, 4, 8),
    )
    return assembled(kind, transformer=network, scheduler=flow(), vae=pipelines.vae(**settings))


def flux(kind: str) -> Any:
    known = pipelines.flux()
    return assembled(kind, transformer=known.transformer, scheduler=flow(), vae=pipelines.vae(shift_factor=0.1))


def aura() -> Any:
    network = built(
        diffusers.AuraFlowTransformer2DModel,
        sample_size=8,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        caption_projection_dim=16,
        pos_embed_max_size=64,
    )
    return assembled("AuraFlowPipeline", transformer=network, scheduler=flow(), vae=pipelines.vae())


def z_image(kind: str = "ZImagePipeline") -> Any:
    network = built(
        diffusers.ZImageTransformer2DModel,
        in_channels=4,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=WIDTH,
        axes_dims=[8, 4, 4],
        axes_lens=[256, 32, 32],
    )
    return assembled(kind, transformer=network, scheduler=flow(), vae=pipelines.vae(shift_factor=0.1))


def z_image_call() -> dict[str, Any]:
    known = texts()
    return {name: list(value) for name, value in known.items()} | latents(4, 8, 8) | {"height": 16, "width": 16}


def hunyuan_image() -> Any:
    network = built(
        diffusers.HunyuanImageTransformer2DModel,
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        text_embed_dim=WIDTH,
        rope_axes_dim=(8, 8),
    )
    guider = diffusers.ClassifierFreeGuidance(guidance_scale=2.5)
    return assembled("HunyuanImagePipeline", transformer=network, scheduler=flow(), guider=guider, ocr_guider=guider)


def ltx(kind: str, **settings: Any) -> Any:
    network = built(
        diffusers.LTXVideoTransformer3DModel,
        in_channels=8,
        out_channels=8,
        num_attention_heads=2,
        attention_head_dim=16,
        cross_attention_dim=32,
        num_layers=1,
        caption_channels=WIDTH,
        **settings,
    )
    vae = built(
        diffusers.AutoencoderKLLTXVideo,
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        patch_size=1,
        patch_size_t=1,
    )
    return assembled(kind, transformer=network, scheduler=flow(), vae=vae)


def ltx_call(**more: Any) -> dict[str, Any]:
    masks = {f"{side}prompt_attention_mask": torch.ones(ROWS, TOKENS, dtype=torch.long) for side in ("", "negative_")}
    known = {"height": 32, "width": 32, "num_frames": 9, "output_type": "latent"}
    return texts() | masks | known | seeded() | more


def lumina2() -> Any:
    network = built(
        diffusers.Lumina2Transformer2DModel,
        sample_size=8,
        in_channels=4,
        hidden_size=32,
        num_layers=1,
        num_refiner_layers=1,
        num_attention_heads=2,
        num_kv_heads=2,
        multiple_of=8,
        axes_dim_rope=(8, 4, 4),
        axes_lens=(64, 32, 32),
        cap_feat_dim=WIDTH,
    )
    return assembled("Lumina2Pipeline", transformer=network, scheduler=flow(), vae=pipelines.vae())


def masked(**more: Any) -> dict[str, Any]:
    return texts(masked="prompt_attention_mask") | latents(4, 8, 8) | {"height": 16, "width": 16} | more


def boolean(call: dict[str, Any]) -> dict[str, Any]:
    return {name: value.bool() if name.endswith("mask") else value for name, value in call.items()}


def lumina() -> Any:
    network = built(
        diffusers.LuminaNextDiT2DModel,
        sample_size=8,
        hidden_size=32,
        num_layers=1,
        num_attention_heads=2,
        num_kv_heads=2,
        multiple_of=8,
        cross_attention_dim=WIDTH,
    )
    return assembled("LuminaPipeline", transformer=network, scheduler=flow(), vae=pipelines.vae())


def cogview4() -> Any:
    network = built(
        diffusers.CogView4Transformer2DModel,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        text_embed_dim=WIDTH,
        time_embed_dim=16,
        condition_dim=8,
        pos_embed_max_size=16,
        sample_size=8,
        rope_axes_dim=(8, 8),
    )
    scheduler = flow(base_shift=0.25, max_shift=0.75, use_dynamic_shifting=True, time_shift_type="linear")
    return assembled("CogView4Pipeline", transformer=network, scheduler=scheduler, vae=pipelines.vae())


def cogview3() -> Any:
    network = built(
        diffusers.CogView3PlusTransformer2DModel,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        text_embed_dim=WIDTH,
        time_embed_dim=16,
        condition_dim=8,
        pos_embed_max_size=16,
        sample_size=8,
    )
    scheduler = diffusers.CogVideoXDDIMScheduler(prediction_type="v_prediction", clip_sample=False)
    return assembled("CogView3PlusPipeline", transformer=network, scheduler=scheduler, vae=pipelines.vae())


def cogvideo(scheduler: str) -> Any:
    network = built(
        diffusers.CogVideoXTransformer3DModel,
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=4,
        out_channels=4,
        time_embed_dim=8,
        text_embed_dim=WIDTH,
        num_layers=1,
        sample_width=8,
        sample_height=8,
        sample_frames=5,
        max_text_seq_length=TOKENS,
    )
    how = {"prediction_type": "v_prediction", "clip_sample": False}
    return assembled("CogVideoXPipeline", transformer=network, scheduler=getattr(diffusers, scheduler)(**how))


def sana() -> Any:
    network = built(
        diffusers.SanaTransformer2DModel,
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=1,
        num_cross_attention_heads=2,
        cross_attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=WIDTH,
        sample_size=8,
    )
    return assembled("SanaPipeline", transformer=network, scheduler=flow(shift=3.0))


def kandinsky3() -> Any:
    network = built(
        diffusers.Kandinsky3UNet,
        time_embedding_dim=4,
        groups=2,
        attention_head_dim=4,
        layers_per_block=3,
        block_out_channels=(32, 64),
        cross_attention_dim=4,
        encoder_hid_dim=WIDTH,
    )
    scheduler = ddim()
    return assembled("Kandinsky3Pipeline", unet=network, scheduler=scheduler, movq=pipelines.vae())


def kandinsky22() -> Any:
    network = pipelines.unet(
        out_channels=8,
        addition_embed_type="image",
        encoder_hid_dim=WIDTH,
        encoder_hid_dim_type="image_proj",
        cross_attention_dim=WIDTH,
    )
    scheduler = ddim()
    movq = built(
        diffusers.VQModel,
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )
    return assembled("KandinskyV22Pipeline", unet=network, scheduler=scheduler, movq=movq)


def animate() -> Any:
    adapter = built(
        diffusers.MotionAdapter,
        block_out_channels=(8, 16),
        motion_layers_per_block=1,
        motion_num_attention_heads=2,
        motion_norm_num_groups=4,
    )
    return assembled(
        "AnimateDiffPipeline",
        unet=pipelines.unet(),
        motion_adapter=adapter,
        vae=pipelines.vae(),
        scheduler=ddim(),
    )


def stable_video() -> Any:
    import transformers

    from tests.integrations.networks import EYES, processor

    network = built(
        diffusers.UNetSpatioTemporalConditionModel,
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=96,
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        num_attention_heads=(2, 2),
        num_frames=3,
    )
    vae = built(
        diffusers.AutoencoderKLTemporalDecoder,
        block_out_channels=(32, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        sample_size=16,
    )
    eyes = transformers.CLIPVisionConfig(**EYES, projection_dim=WIDTH)
    return assembled(
        "StableVideoDiffusionPipeline",
        unet=network,
        vae=vae,
        image_encoder=built(transformers.CLIPVisionModelWithProjection, config=eyes),
        feature_extractor=processor(),
        scheduler=diffusers.EulerDiscreteScheduler(prediction_type="v_prediction"),
    )


def allegro() -> Any:
    network = built(
        diffusers.AllegroTransformer3DModel,
        num_attention_heads=2,
        attention_head_dim=24,
        num_layers=1,
        cross_attention_dim=48,
        sample_height=8,
        sample_width=8,
        sample_frames=3,
        caption_channels=WIDTH,
    )
    return assembled("AllegroPipeline", transformer=network, scheduler=diffusers.EulerDiscreteScheduler())


def latte() -> Any:
    network = built(
        diffusers.LatteTransformer3DModel,
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        cross_attention_dim=16,
        attention_bias=True,
        sample_size=8,
        patch_size=2,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
        caption_channels=WIDTH,
        video_length=3,
    )
    return assembled("LattePipeline", transformer=network, vae=pipelines.vae(), scheduler=ddim())


def mochi() -> Any:
    network = built(
        diffusers.MochiTransformer3DModel,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        pooled_projection_dim=16,
        in_channels=4,
        text_embed_dim=WIDTH,
        time_embed_dim=8,
        max_sequence_length=TOKENS,
    )
    return assembled("MochiPipeline", transformer=network, scheduler=flow())


def ovis() -> Any:
    network = built(diffusers.OvisImageTransformer2DModel, **FLUX | {"out_channels": 16}, axes_dims_rope=(4, 4, 8))
    return assembled("OvisImagePipeline", transformer=network, scheduler=flow(), vae=pipelines.vae())


def wan_to(kind: str) -> Any:
    known = pipelines.wan()
    parts = {"transformer": known.transformer, "vae": known.vae, "scheduler": straight(3.0)}
    if kind == "WanImageToVideoPipeline":
        config = dict(known.transformer.config) | {"in_channels": 4 + 4 + 4, "out_channels": 4}
        parts["transformer"] = built(
            diffusers.WanTransformer3DModel, **{k: v for k, v in config.items() if not k.startswith("_")}
        )
    return assembled(kind, **parts)


def skyreels() -> Any:
    known = pipelines.wan()
    network = built(
        diffusers.SkyReelsV2Transformer3DModel,
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=WIDTH,
        freq_dim=16,
        ffn_dim=16,
        num_layers=1,
        rope_max_seq_len=32,
    )
    return assembled("SkyReelsV2Pipeline", transformer=network, vae=known.vae, scheduler=known.scheduler)


def pixels_if() -> Any:
    network = pipelines.unet(in_channels=3, out_channels=6, act_fn="gelu", encoder_hid_dim=WIDTH)
    return assembled(
        "IFPipeline", unet=network, scheduler=diffusers.DDPMScheduler(clip_sample=False, variance_type="learned_range")
    )


def stable(kind: str, **parts: Any) -> Any:
    known = {"unet": pipelines.unet(), "vae": pipelines.vae(), "scheduler": ddim()}
    return assembled(kind, **known | parts)


def controlled_3() -> Any:
    known = pipelines.stable_diffusion_3()
    config = {name: value for name, value in known.transformer.config.items() if not name.startswith("_")}
    config = {name: value for name, value in config.items() if name not in ("qk_norm", "dual_attention_layers")}
    control = built(diffusers.SD3ControlNetModel, **config)
    return assembled(
        "StableDiffusion3ControlNetPipeline",
        transformer=known.transformer,
        vae=known.vae,
        scheduler=flow(),
        controlnet=control,
    )


def prx() -> Any:
    network = built(
        diffusers.PRXTransformer2DModel,
        in_channels=4,
        patch_size=2,
        context_in_dim=WIDTH,
        hidden_size=32,
        mlp_ratio=2,
        num_heads=2,
        depth=1,
        axes_dim=[8, 8],
    )
    return assembled("PRXPipeline", transformer=network, scheduler=flow(), vae=pipelines.vae(shift_factor=0.1))


def kandinsky5() -> Any:
    network = built(
        diffusers.Kandinsky5Transformer3DModel,
        in_visual_dim=4,
        out_visual_dim=4,
        in_text_dim=WIDTH,
        in_text_dim2=WIDTH,
        time_dim=16,
        model_dim=32,
        ff_dim=32,
        num_text_blocks=1,
        num_visual_blocks=1,
        axes_dims=(4, 6, 6),
    )
    return assembled("Kandinsky5T2VPipeline", transformer=network, scheduler=flow())


def kandinsky5_call() -> dict[str, Any]:
    """States here have their channels last."""
    known, ends = texts(pooled=True), torch.tensor([0, TOKENS, 2 * TOKENS], dtype=torch.int32)
    call: dict[str, Any] = {"latents": draw(ROWS, 2, 4, 4, 4, seed=5), "output_type": "latent"}
    for side in ("", "negative_"):
        call[f"{side}prompt_embeds_qwen"] = known[f"{side}prompt_embeds"]
        call[f"{side}prompt_embeds_clip"] = known[f"{side}pooled_prompt_embeds"]
        call[f"{side}prompt_cu_seqlens"] = ends
    return call | {"height": 32, "width": 32, "num_frames": 5}


def hunyuan_dit() -> Any:
    network = built(
        diffusers.HunyuanDiT2DModel,
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        patch_size=2,
        sample_size=8,
        hidden_size=16,
        num_layers=2,
        mlp_ratio=2,
        cross_attention_dim=WIDTH,
        cross_attention_dim_t5=WIDTH,
        pooled_projection_dim=WIDTH,
        text_len=TOKENS,
        text_len_t5=TOKENS,
        use_style_cond_and_image_meta_size=False,
    )
    scheduler = diffusers.DDPMScheduler(clip_sample=False, prediction_type="v_prediction")
    return assembled("HunyuanDiTPipeline", transformer=network, scheduler=scheduler, vae=pipelines.vae())


def hunyuan_dit_call() -> dict[str, Any]:
    call = texts() | latents(4, 8, 8) | {"height": 16, "width": 16, "use_resolution_binning": False}
    for side in ("", "negative_"):
        call[f"{side}prompt_embeds_2"] = call[f"{side}prompt_embeds"].flip(0)
        for name in ("prompt_attention_mask", "prompt_attention_mask_2"):
            call[side + name] = torch.ones(ROWS, TOKENS, dtype=torch.long)
    return call | seeded()


def stable_audio() -> Any:
    from diffusers.pipelines.stable_audio import StableAudioProjectionModel

    network = built(
        diffusers.StableAudioDiTModel,
        sample_size=8,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        num_key_value_attention_heads=2,
        cross_attention_dim=WIDTH,
        time_proj_dim=8,
        global_states_input_dim=2 * WIDTH,
        cross_attention_input_dim=WIDTH,
    )
    about = {"text_encoder_dim": WIDTH, "conditioning_dim": WIDTH, "min_value": 0, "max_value": 32}
    vae = built(
        diffusers.AutoencoderOobleck,
        encoder_hidden_size=6,
        downsampling_ratios=[1, 2],
        decoder_channels=3,
        decoder_input_channels=4,
        channel_multiples=[2, 4],
        sampling_rate=4,
    )
    return assembled(
        "StableAudioPipeline",
        transformer=network,
        projection_model=built(StableAudioProjectionModel, **about),
        vae=vae,
        scheduler=diffusers.EDMDPMSolverMultistepScheduler(
            sigma_max=500.0, sigma_min=0.3, sigma_data=1.0, sigma_schedule="exponential", prediction_type="v_prediction"
        ),
    )


def stable_audio_call() -> dict[str, Any]:
    masks = {f"{side}attention_mask": torch.ones(ROWS, TOKENS) for side in ("", "negative_")}
    return texts() | masks | latents(4, 8)


def larger_if() -> Any:
    return assembled(
        "IFSuperResolutionPipeline",
        unet=pipelines.unet(
            in_channels=6, out_channels=6, act_fn="gelu", encoder_hid_dim=WIDTH, class_embed_type="timestep"
        ),
        scheduler=diffusers.DDPMScheduler(clip_sample=False, variance_type="learned_range"),
        image_noising_scheduler=diffusers.DDPMScheduler(),
    )


def ideogram() -> Any:
    about = {
        "in_channels": 16,
        "num_layers": 1,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "adaln_dim": 16,
        "llm_features_dim": WIDTH,
        "rope_theta": 10000,
        "mrope_section": (4, 2, 2),
    }
    made = diffusers.Ideogram4Transformer2DModel
    networks = {"transformer": built(made, **about), "unconditional_transformer": built(made, seed=1, **about)}
    pipe = assembled("Ideogram4Pipeline", **networks, scheduler=flow(), vae=pipelines.vae())

    def encoded(grid_h: int, grid_w: int, device: Any, **_: Any) -> Any:
        text = torch.cat([draw(ROWS, TOKENS, WIDTH, seed=1), torch.zeros(ROWS, grid_h * grid_w, WIDTH)], 1)
        return text, *pipe._prepare_ids([TOKENS] * ROWS, grid_h, grid_w, TOKENS, device)

    pipe.encode_prompt = encoded
    return pipe


class Harmless(torch.nn.Module):
    """Stands for a guardrail that is a package of its own."""

    device, dtype = torch.device("cpu"), torch.float32

    def check_text_safety(self, prompt: str) -> bool:
        return True

    def check_video_safety(self, video: Any) -> Any:
        return video


def cosmos(kind: str, scheduler: Any, channels: int = 4) -> Any:
    network = built(
        diffusers.CosmosTransformer3DModel,
        in_channels=channels,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=1,
        mlp_ratio=2,
        text_embed_dim=WIDTH,
        adaln_lora_dim=4,
        max_size=(4, 16, 16),
        extra_pos_embed_type=None,
        concat_padding_mask=False,
    )
    vae = pipelines.wan().vae
    if "2" not in kind.removeprefix("Cosmos")[:1]:
        vae = built(
            diffusers.AutoencoderKLCosmos,
            latent_channels=4,
            encoder_block_out_channels=(8, 8),
            decode_block_out_channels=(8, 8),
            attention_resolutions=(),
            resolution=16,
            num_layers=1,
            latents_mean=None,
            latents_std=None,
        )
    return assembled(kind, transformer=network, scheduler=scheduler, vae=vae, safety_checker=Harmless())


def frames(*shape: int, **more: Any) -> dict[str, Any]:
    return texts() | latents(*shape) | more


def video_call() -> dict[str, Any]:
    return {"image": picture(6), "num_frames": 3, "height": 16, "width": 16} | {
        "latents": draw(ROWS, 3, 4, 8, 8, seed=5),
        "generator": torch.Generator().manual_seed(7),
        "output_type": "latent",
        "decode_chunk_size": 1,
        "fps": 7,
        "num_videos_per_prompt": 1,
    }


WIDER: dict[str, Wider] = {
    "Chroma": Wider(build=chroma, call=lambda: boolean(masked() | latents(16, 16))),
    "FLUX image to image": Wider(
        build=lambda: flux("FluxImg2ImgPipeline"),
        call=lambda: texts(pooled=True) | midway() | {"height": 16, "width": 16},
        scale="true_cfg_scale",
    ),
    "FLUX Kontext": Wider(
        build=lambda: flux("FluxKontextPipeline"),
        call=lambda: true_cfg(16, 16, image=picture(6), max_area=256, _auto_resize=False),
        scale="true_cfg_scale",
    ),
    "AuraFlow": Wider(build=aura, call=masked),
    "Z-Image": Wider(build=z_image, call=z_image_call, offset=0.0),
    "HunyuanImage 2.1": Wider(
        build=hunyuan_image,
        call=lambda: (
            texts(masked="prompt_embeds_mask")
            | latents(4, 8, 8)
            | {"height": 256, "width": 256}
            | {f"{side}prompt_embeds_2": torch.zeros(ROWS, TOKENS, WIDTH) for side in ("", "negative_")}
            | {f"{side}prompt_embeds_mask_2": torch.zeros(ROWS, TOKENS) for side in ("", "negative_")}
        ),
        scale="",
    ),
    "LTX-Video": Wider(build=lambda: ltx("LTXPipeline"), call=ltx_call),
    "LTX-Video image to video": Wider(
        build=lambda: ltx("LTXImageToVideoPipeline"),
        call=lambda: ltx_call(image=draw(ROWS, 3, 32, 32, seed=6).sigmoid()),
    ),
    "Lumina 2": Wider(build=lumina2, call=lambda: masked(cfg_normalization=False)),
    "CogView4": Wider(build=cogview4, call=lambda: frames(4, 8, 8, height=16, width=16)),
    "CogView3+": Wider(build=cogview3, call=lambda: frames(4, 8, 8, height=16, width=16)),
    "CogVideoX (DDIM)": Wider(
        build=lambda: cogvideo("CogVideoXDDIMScheduler"),
        call=lambda: frames(2, 4, 8, 8, height=64, width=64, num_frames=5),
    ),
    "CogVideoX (DPM)": Wider(
        build=lambda: cogvideo("CogVideoXDPMScheduler"),
        call=lambda: frames(2, 4, 8, 8, height=64, width=64, num_frames=5, generator=torch.Generator().manual_seed(7)),
    ),
    "Sana": Wider(
        build=sana,
        call=lambda: masked(use_resolution_binning=False, negative_prompt=None) | {"height": 256, "width": 256},
    ),
    "Kandinsky 3": Wider(
        build=kandinsky3,
        call=lambda: (
            frames(4, 8, 8, height=16, width=16)
            | {"attention_mask": torch.ones(ROWS, TOKENS), "negative_attention_mask": torch.ones(ROWS, TOKENS)}
        ),
        offset=0.0,
    ),
    "Kandinsky 2.2": Wider(
        build=kandinsky22,
        call=lambda: (
            latents(4, 8, 8)
            | {
                "image_embeds": draw(ROWS, WIDTH, seed=1),
                "negative_image_embeds": draw(ROWS, WIDTH, seed=2),
                "height": 64,
                "width": 64,
            }
        ),
    ),
    "AnimateDiff": Wider(build=animate, call=lambda: frames(4, 3, 8, 8, height=16, width=16, num_frames=3)),
    "Stable Video Diffusion": Wider(
        build=stable_video, call=video_call, scale="max_guidance_scale", also="min_guidance_scale"
    ),
    "Allegro": Wider(
        build=allegro,
        call=lambda: (
            texts(masked="prompt_attention_mask")
            | latents(4, 3, 8, 8)
            | {"height": 64, "width": 64, "num_frames": 3, "negative_prompt": None}
        ),
    ),
    "Latte": Wider(
        build=latte, call=lambda: frames(4, 3, 8, 8, height=16, width=16, video_length=3, negative_prompt=None)
    ),
    "Mochi": Wider(
        build=mochi,
        call=lambda: (
            texts(masked="prompt_attention_mask") | latents(4, 2, 8, 8) | {"height": 64, "width": 64, "num_frames": 7}
        ),
    ),
    "Ovis-Image": Wider(
        build=ovis,
        call=lambda: texts() | latents(16, 16) | {"height": 16, "width": 16, "negative_prompt": None},
    ),
    "Wan image to video": Wider(
        build=lambda: wan_to("WanImageToVideoPipeline"),
        call=lambda: frames(4, 2, 4, 4, height=32, width=32, num_frames=5, image=draw(1, 3, 32, 32, seed=6).sigmoid()),
    ),
    "Wan video to video": Wider(
        build=lambda: wan_to("WanVideoToVideoPipeline"),
        call=lambda: (
            texts()
            | {
                "latents": draw(ROWS, 4, 2, 4, 4, seed=5),
                "output_type": "latent",
                "height": 32,
                "width": 32,
                "strength": 1.0,
                "video": None,
            }
        ),
    ),
    "SkyReels 2": Wider(build=skyreels, call=lambda: frames(4, 2, 4, 4, height=32, width=32, num_frames=5)),
    "DeepFloyd IF": Wider(
        build=pixels_if,
        call=lambda: (
            texts() | {"height": 8, "width": 8, "output_type": "pt", "generator": torch.Generator().manual_seed(7)}
        ),
    ),
    "InstructPix2Pix": Wider(
        build=lambda: stable("StableDiffusionInstructPix2PixPipeline", unet=pipelines.unet(in_channels=8)),
        call=lambda: texts() | latents(4, 8, 8) | {"image": picture(6), "image_guidance_scale": 1.0},
    ),
    "Perturbed attention": Wider(
        build=lambda: stable("StableDiffusionPAGPipeline"),
        call=lambda: texts() | latents(4, 8, 8) | {"pag_scale": 0.0},
    ),
    "Stable Diffusion latent upscaler": Wider(
        build=lambda: stable(
            "StableDiffusionLatentUpscalePipeline",
            unet=pipelines.unet(in_channels=8, out_channels=5, time_cond_proj_dim=128 + WIDTH),
            scheduler=diffusers.EulerDiscreteScheduler(),
        ),
        call=lambda: texts(pooled=True) | latents(4, 16, 16) | {"image": draw(ROWS, 4, 8, 8, seed=6)},
    ),
    "Stable Diffusion with depth": Wider(
        build=lambda: stable("StableDiffusionDepth2ImgPipeline", unet=pipelines.unet(in_channels=5)),
        call=lambda: texts() | midway() | {"depth_map": draw(ROWS, 8, 8, seed=8), "strength": 1.0},
    ),
    "Stable Diffusion 3 with ControlNet": Wider(
        build=controlled_3,
        call=lambda: texts(pooled=True) | latents(4, 8, 8) | {"control_image": picture(6), "height": 16, "width": 16},
    ),
    "FLUX inpaint": Wider(
        build=lambda: flux("FluxInpaintPipeline"),
        call=lambda: (
            texts(pooled=True) | midway() | {"height": 16, "width": 16, "mask_image": (picture(8)[:, :1] > 0.5).float()}
        ),
        scale="true_cfg_scale",
    ),
    "Z-Image image to image": Wider(
        build=lambda: z_image("ZImageImg2ImgPipeline"),
        call=lambda: {name: list(value) for name, value in texts().items()} | midway() | {"height": 16, "width": 16},
        offset=0.0,
    ),
    "Stable Diffusion upscaler": Wider(
        build=lambda: stable(
            "StableDiffusionUpscalePipeline",
            unet=pipelines.unet(in_channels=7, num_class_embeds=1000),
            low_res_scheduler=diffusers.DDPMScheduler(),
        ),
        call=lambda: (
            texts() | latents(4, 16, 16) | {"image": picture(6), "generator": torch.Generator().manual_seed(7)}
        ),
    ),
    "Cosmos 1": Wider(
        build=lambda: cosmos(
            "CosmosTextToWorldPipeline",
            diffusers.EDMEulerScheduler(sigma_max=80.0, sigma_data=0.5, final_sigmas_type="sigma_min"),
        ),
        call=lambda: frames(4, 2, 4, 4, height=32, width=32, num_frames=9),
        offset=0.0,
        calls=2,
    ),
    "Cosmos 2": Wider(
        build=lambda: cosmos("Cosmos2TextToImagePipeline", flow(use_karras_sigmas=True)),
        call=lambda: frames(4, 1, 4, 4, height=32, width=32),
        offset=0.0,
    ),
    "Cosmos 2.5": Wider(
        build=lambda: cosmos("Cosmos2_5_PredictBasePipeline", straight(5.0), 5),
        call=lambda: frames(4, 2, 4, 4, height=32, width=32, num_frames=5),
        offset=0.0,
    ),
    "PRX": Wider(
        build=prx,
        call=lambda: {
            name: value[:1] if isinstance(value, Tensor) else value
            for name, value in boolean(masked(use_resolution_binning=False)).items()
        },
    ),
    "Kandinsky 5": Wider(build=kandinsky5, call=kandinsky5_call),
    "Hunyuan-DiT": Wider(build=hunyuan_dit, call=hunyuan_dit_call),
    "Stable Audio": Wider(build=stable_audio, call=stable_audio_call),
    "DeepFloyd IF, super-resolution": Wider(
        build=larger_if,
        call=lambda: (
            texts()
            | {"image": draw(ROWS, 3, 4, 4, seed=6).sigmoid(), "height": 8, "width": 8, "output_type": "pt"}
            | seeded()
        ),
    ),
    "LTX-Video with frames given": Wider(
        build=lambda: ltx("LTXConditionPipeline"), call=lambda: ltx_call(image=draw(1, 3, 32, 32, seed=6).sigmoid())
    ),
    "Chroma image to image": Wider(
        build=lambda: chroma("ChromaImg2ImgPipeline", shift_factor=0.1),
        call=lambda: boolean(texts(masked="prompt_attention_mask")) | midway() | {"height": 16, "width": 16},
    ),
    "Ideogram 4": Wider(
        build=ideogram,
        call=lambda: (
            latents(256, 16) | {"prompt": ["a", "b"], "max_sequence_length": TOKENS, "height": 64, "width": 64}
        ),
        scale="",
        by_step="guidance_schedule",
    ),
}


def states(found: Any) -> Tensor:
    """What a pipeline returned, as one tensor."""
    first = found[0] if isinstance(found, tuple | BaseOutput) else found
    return torch.stack(list(first)) if isinstance(first, list) else torch.as_tensor(first)


def own(pipe: Any, wider: Wider, early: float, late: float) -> Tensor:
    """What a pipeline makes at scales of its own, the second from the middle of its run on."""
    scale, scheduler, made = Scale(early), pipe.scheduler, itertools.count(1)

    @functools.wraps(step := scheduler.step)
    def stepped(*args: Any, **kwargs: Any) -> Any:
        found = step(*args, **kwargs)
        steps = len(scheduler.timesteps) - (getattr(scheduler, "begin_index", None) or 0)
        if next(made) == wider.calls * (steps // 2):
            scale.now = late
            if isinstance(getattr(pipe, "_guidance_scale", None), Tensor):  # one for every frame
                pipe._guidance_scale = scale
        return found

    if hasattr(pipe, "guider"):
        pipe.guider.guidance_scale = scale
    how: dict[str, Any] = {name: scale for name in (wider.scale, wider.also) if name}
    if wider.by_step:
        how = {wider.by_step: [early] * (STEPS // 2) + [late] * (STEPS // 2)}
    with stepping_by(scheduler, stepped):
        return states(pipe(**wider.call(), **how, num_inference_steps=STEPS, return_dict=False))


def steered(pipe: Any, wider: Wider, early: float, late: float) -> tuple[Tensor, Any]:
    """What it makes under a schedule, and the log."""
    how: dict[str, Any] = {wider.scale: 3.0} if wider.scale else {}
    if wider.by_step:
        how = {wider.by_step: [3.0] * STEPS}
    with guided(pipe, f"step:early={early},late={late},switch=50%") as log:
        found = states(pipe(**wider.call(), **how, num_inference_steps=STEPS, return_dict=False))
    return found, log


@torch.no_grad()
def agreement(wider: Wider) -> tuple[float, float]:
    """The largest relative difference between guided and own results, at a constant scale and at one that changes.

    With it, how much its results differ between the two scales, so that a difference of guidance could not be missed.
    """
    pipe, worst = wider.build(), 0.0
    first = own(pipe, wider, EARLY + wider.offset, EARLY + wider.offset)
    for late in (EARLY, LATE):
        wanted = own(pipe, wider, EARLY + wider.offset, late + wider.offset)
        found, _ = steered(pipe, wider, EARLY, late)
        worst = max(worst, float((found - wanted).norm() / wanted.norm()))
    other, _ = steered(pipe, wider, LATE, LATE)
    return worst, float((other - first).norm() / first.norm())
