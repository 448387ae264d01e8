"""Small class-conditional diffusion models of gray images, as real pipelines: those that ship are of this kind.

The network is a diffusers U-Net on the images as they are, in [-1, 1]; labels count the classes from 0, and the number
of classes stands for none of them. It predicts v on a linear variance-preserving noise schedule, so every diffusers
scheduler of that kind can drive it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, SchedulerMixin, UNet2DModel
from diffusers.pipelines.pipeline_utils import DiffusionPipeline, ImagePipelineOutput
from diffusers.utils.pil_utils import numpy_to_pil
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor, nn

from orthoscope.errors import ConfigError

_UNet: Any = UNet2DModel  # diffusers says too little about its types to be checked
_Solver: Any = DPMSolverMultistepScheduler
_SCHEDULER: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 1e-4,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "prediction_type": "v_prediction",
}


class ClassPipeline(DiffusionPipeline):
    """Images of given classes, with classifier-free guidance by class labels.

    One network call per step on a batch [unconditional, conditional], as text pipelines have it; the unconditional half
    has the label `null_label`. `guidance_scale` is 1 + strength; at exactly 1 there is only the conditional half.

    Attributes:
        labels: Number of each class by its name, where classes have names.
    """

    model_cpu_offload_seq = "unet"  # type: ignore[assignment]
    _callback_tensor_inputs = ("latents",)

    def __init__(self, unet: nn.Module, scheduler: SchedulerMixin, id2label: Mapping[Any, str] | None = None) -> None:
        """Join a network and a scheduler; classes may have names by their numbers."""
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)  # type: ignore[no-untyped-call]
        if id2label is not None:
            self.register_to_config(id2label=dict(id2label))  # type: ignore[no-untyped-call]
        self.labels = {name: int(number) for number, name in (id2label or {}).items()}

    @property
    def null_label(self) -> int:
        """The label that stands for no class."""
        return int(self.unet.config["num_class_embeds"]) - 1

    @property
    def guidance_scale(self) -> float:
        """Scale of the call that is running."""
        return self._guidance_scale

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Whether the network is asked for both halves."""
        return self._guidance_scale != 1.0

    @torch.no_grad()
    def __call__(
        self,
        class_labels: int | Sequence[int],
        num_inference_steps: int = 30,
        guidance_scale: float = 1.0,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: Tensor | None = None,
        output_type: str = "np",
        return_dict: bool = True,
        callback_on_step_end: Callable[[Any, int, Any, dict[str, Tensor]], dict[str, Tensor] | None] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> ImagePipelineOutput | tuple[Any]:
        """Generate one image per label.

        Args:
            class_labels: Numbers of the classes to generate.
            num_inference_steps: Steps of the scheduler.
            guidance_scale: 1 + strength; any number, 0 is unconditional.
            generator: One generator, or one per image: then an image does not depend on the others of its batch.
            latents: Unit noise to start from, instead of drawing it.
            output_type: "np" (n, side, side, 1), "pt" (n, 1, side, side) or "pil", all clipped to [0, 1]; "latent" for
                the final state as it is, about -1 to 1.
            return_dict: False for a plain tuple.
            callback_on_step_end: Called after every step, as in diffusers' own pipelines.
            callback_on_step_end_tensor_inputs: What it is given; there is only "latents".

        Raises:
            ConfigError: if a label or the output type is unknown.
        """
        labels = self._labels(class_labels)
        if output_type not in ("np", "pt", "pil", "latent"):
            raise ConfigError(f"output_type must be np, pt, pil or latent, got {output_type!r}")
        self._guidance_scale = guidance_scale
        self.scheduler.set_timesteps(num_inference_steps, device=self._execution_device)
        side = self.unet.config["sample_size"]
        shape = (len(labels), self.unet.config["in_channels"], *([side] * 2 if isinstance(side, int) else side))
        if latents is None:
            latents = randn_tensor(shape, generator=generator, device=self._execution_device, dtype=self.unet.dtype)
        latents = latents.to(self._execution_device, self.unet.dtype)
        latents = latents * getattr(self.scheduler, "init_noise_sigma", 1.0)
        extra = {"generator": generator} if "generator" in inspect.signature(self.scheduler.step).parameters else {}
        for index, t in enumerate(self.progress_bar(self.scheduler.timesteps)):
            prediction = self._prediction(latents, t, labels)
            latents = self.scheduler.step(prediction, t, latents, **extra, return_dict=False)[0]
            if callback_on_step_end is not None:
                given = {name: {"latents": latents}[name] for name in callback_on_step_end_tensor_inputs}
                latents = (callback_on_step_end(self, index, t, given) or {}).get("latents", latents)
        images = self._images(latents, output_type)
        self.maybe_free_model_hooks()  # type: ignore[no-untyped-call]
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def _prediction(self, latents: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """The guided model output of one step."""
        guided = self.do_classifier_free_guidance
        shown = torch.cat([latents] * 2) if guided else latents
        if hasattr(self.scheduler, "scale_model_input"):  # those of flows show states as they are
            shown = self.scheduler.scale_model_input(shown, t)
        asked = torch.cat([torch.full_like(labels, self.null_label), labels]) if guided else labels
        prediction = self.unet(shown, t, class_labels=asked, return_dict=False)[0]
        if not guided:
            return prediction
        uncond, cond = prediction.chunk(2)
        return uncond + self.guidance_scale * (cond - uncond)

    def _labels(self, class_labels: int | Sequence[int]) -> Tensor:
        labels = torch.as_tensor([class_labels] if isinstance(class_labels, int) else list(class_labels))
        if labels.ndim != 1 or len(labels) == 0 or labels.is_floating_point():
            raise ConfigError(
                f"class_labels must be one class or a list of classes, by number, got {class_labels!r:.80}"
            )
        if int(labels.min()) < 0 or int(labels.max()) > self.null_label:
            raise ConfigError(
                f"class_labels must be 0 to {self.null_label - 1}, or {self.null_label} for no class, "
                f"got {class_labels!r:.80}"
            )
        return labels.to(self._execution_device)

    def _images(self, latents: Tensor, output_type: str) -> Any:
        if output_type == "latent":
            return latents
        images = (latents / 2 + 0.5).clamp(0, 1)
        if output_type == "pt":
            return images
        pixels = images.permute(0, 2, 3, 1).float().numpy(force=True)
        return numpy_to_pil(pixels) if output_type == "pil" else pixels  # type: ignore[no-untyped-call]


class AtSigma(nn.Module):
    """A U-Net asked by noise standard deviation instead of by time step: what `learned` trains and wraps.

    Between two time steps the logarithm of the noise is interpolated; outside their range the nearest one is asked.
    """

    def __init__(self, unet: nn.Module) -> None:
        """Wrap a network; the noise of its time steps is that of the pipeline's scheduler."""
        super().__init__()
        self.unet = unet
        cumulative = _Solver(**_SCHEDULER).alphas_cumprod.double().numpy()
        self._log_sigmas = np.log((1 - cumulative) / cumulative) / 2

    def timestep(self, sigma: Tensor) -> Tensor:
        """Time step, with fractions, of each noise standard deviation."""
        steps = np.interp(np.log(sigma.double().numpy(force=True)), self._log_sigmas, np.arange(len(self._log_sigmas)))
        return torch.from_numpy(steps).to(sigma)

    def forward(self, state: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        """Velocity round the circle."""
        return self.unet(state, self.timestep(sigma), class_labels=labels, return_dict=False)[0]


def network_config(*, side: int, classes: int, channels: Sequence[int]) -> dict[str, Any]:
    """The settings of a U-Net.

    Args:
        side: Height and width of the images.
        classes: Number of classes.
        channels: Channels at each resolution, the finest first.
    """
    levels = len(channels)
    return {
        "sample_size": side,
        "in_channels": 1,
        "out_channels": 1,
        "down_block_types": ("DownBlock2D",) * levels,
        "up_block_types": ("UpBlock2D",) * levels,
        "block_out_channels": tuple(channels),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "attention_head_dim": 16,
        "resnet_time_scale_shift": "scale_shift",
        "num_class_embeds": classes + 1,
    }


def build_network(config: Mapping[str, Any], seed: int = 0) -> Any:
    """An untrained network; equal seeds give equal weights, and no global random state is left changed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _UNet(**config)


def pipeline_of(unet: Any, names: Sequence[str] | None = None) -> ClassPipeline:
    """A pipeline with steps of second order; other schedulers come from its scheduler's config, as usual.

    At this cost steps of first order lose more of the variance than the network does.
    """
    # Schedulers that know clipping take this over from the config: it would be a distortion of its own.
    scheduler = _Solver.from_config(_SCHEDULER | {"use_karras_sigmas": True, "clip_sample": False})
    id2label = None if names is None else {number: name for number, name in enumerate(names)}
    pipeline = ClassPipeline(unet.eval().requires_grad_(False), scheduler, id2label)
    pipeline.set_progress_bar_config(disable=True)  # type: ignore[no-untyped-call]
    return pipeline
