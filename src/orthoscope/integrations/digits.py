"""A small class-conditional diffusion model of handwritten digits, as a real pipeline that ships with the package.

The network is a diffusers U-Net on the 8 x 8 images as they are, in [-1, 1]; labels are 0 to 9, and 10 stands for none
of them. It predicts v on a linear variance-preserving noise schedule, so every diffusers scheduler of that kind can
drive it. One safetensors file holds the weights and, in its metadata, everything else.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, SchedulerMixin, UNet2DModel
from diffusers.pipelines.pipeline_utils import DiffusionPipeline, ImagePipelineOutput
from diffusers.utils.pil_utils import numpy_to_pil
from diffusers.utils.torch_utils import randn_tensor
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from orthoscope import rng, writing
from orthoscope.errors import ConfigError
from orthoscope.integrations.weights import check_complete, check_finite, check_floating
from orthoscope.targets.labelled import bundled_digits

CLASSES = 10
SIDE = 8
HELD_OUT = 0.1  # share of the images that the model that ships never saw
_UNet: Any = UNet2DModel  # diffusers says too little about its types to be checked
_Solver: Any = DPMSolverMultistepScheduler
SHIPPED = Path(__file__).parent / "digits.safetensors"
_FORMAT = 1
_HALF_RANGE = 8.0  # of the gray levels 0 to 16 of the bundled images

_NETWORK: dict[str, Any] = {
    "sample_size": SIDE,
    "in_channels": 1,
    "out_channels": 1,
    "down_block_types": ("DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D"),
    "block_out_channels": (32, 48),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "attention_head_dim": 16,
    "resnet_time_scale_shift": "scale_shift",
    "num_class_embeds": CLASSES + 1,
}
_SCHEDULER: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 1e-4,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "prediction_type": "v_prediction",
}


class DigitsPipeline(DiffusionPipeline):
    """Digits of given classes, with classifier-free guidance by class labels.

    One network call per step on a batch [unconditional, conditional], as text pipelines have it; the unconditional half
    has the label `len(classes)`. `guidance_scale` is 1 + strength; at exactly 1 there is only the conditional half.
    """

    model_cpu_offload_seq = "unet"  # type: ignore[assignment]
    _callback_tensor_inputs = ("latents",)

    def __init__(self, unet: nn.Module, scheduler: SchedulerMixin) -> None:
        """Join a network and a scheduler."""
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)  # type: ignore[no-untyped-call]

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
            class_labels: Digits to generate.
            num_inference_steps: Steps of the scheduler.
            guidance_scale: 1 + strength; any number, 0 is unconditional.
            generator: One generator, or one per image: then an image does not depend on the others of its batch.
            latents: Unit noise to start from, instead of drawing it.
            output_type: "np" (n, 8, 8, 1), "pt" (n, 1, 8, 8) or "pil", all clipped to [0, 1]; "latent" for the final
                state as it is, about -1 to 1.
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
            raise ConfigError(f"class_labels must be one digit or a list of digits, got {class_labels!r:.80}")
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


def build_network(seed: int = 0, config: Mapping[str, Any] = _NETWORK) -> Any:
    """An untrained network; equal seeds give equal weights, and no global random state is left changed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _UNet(**config)


def pipeline_of(unet: Any) -> DigitsPipeline:
    """A pipeline with steps of second order; other schedulers come from its scheduler's config, as usual.

    At this cost steps of first order lose more of the variance than the network does.
    """
    # Schedulers that know clipping take this over from the config: it would be a distortion of its own.
    scheduler = _Solver.from_config(_SCHEDULER | {"use_karras_sigmas": True, "clip_sample": False})
    pipeline = DigitsPipeline(unet=unet.eval().requires_grad_(False), scheduler=scheduler)
    pipeline.set_progress_bar_config(disable=True)  # type: ignore[no-untyped-call]
    return pipeline


def save_digits(unet: Any, path: Path, *, made_by: Mapping[str, Any]) -> None:
    """Write weights with the network's configuration and how it was made.

    Raises:
        ConfigError: if the file cannot be written.
    """
    config = {name: unet.config[name] for name in _NETWORK}
    about = {"format": _FORMAT, "model": "digits", "network": config, "made_by": made_by}
    weights = {name: value.detach().cpu().contiguous() for name, value in unet.state_dict().items()}
    writing.write(path, save(weights, metadata={"orthoscope": json.dumps(about)}))


def load_digits_pipeline(path: Path | str | None = None) -> DigitsPipeline:
    """The pipeline of the weights that ship with the package, or of a file that `orthoscope train digits` wrote.

    Raises:
        ConfigError: if the file is missing, damaged, or holds another model.
    """
    file = SHIPPED if path is None else Path(path)
    about, weights = _read(file)
    cure = "train it with: orthoscope train digits"
    if about.get("model") != "digits" or about.get("format") != _FORMAT:
        raise ConfigError(f"{file} does not hold the digits model of format {_FORMAT}; {cure}")
    try:
        if about["network"]["sample_size"] < 1:
            raise ValueError("no image has such a side")
        unet = build_network(config=about["network"])
        found = unet.load_state_dict(weights, strict=False)
    except Exception as error:  # a network can fail in many ways to be built of what a file says
        raise ConfigError(f"the weights in {file} do not fit the network it describes; {cure}") from error
    check_complete(unet, file, missing=found.missing_keys, unexpected=found.unexpected_keys)
    check_floating(unet, file, integers=(name for name, value in weights.items() if not value.is_floating_point()))
    check_finite(unet, file)
    pipeline = pipeline_of(unet)
    source = "digits" if file == SHIPPED else str(file)  # as other pipelines say it
    pipeline.register_to_config(_name_or_path=source)  # type: ignore[no-untyped-call]
    return pipeline


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Metadata and tensors of a file."""
    if not os.path.isfile(file):
        raise ConfigError(f"no such file: {file}; expected the digits.safetensors of `orthoscope train digits`")
    try:
        with safe_open(file, framework="pt") as opened:
            about = json.loads((opened.metadata() or {}).get("orthoscope", "{}"))
            weights = {name: opened.get_tensor(name) for name in opened.keys()}
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file} is not a readable safetensors file: {error}; write it again") from error
    return (about if isinstance(about, dict) else {}), weights


def training_split(n: int, *, held_out: float = HELD_OUT, seed: int = 0) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which of n images are trained on, and which are held out; of the bundled ones, those of the model that ships."""
    order = rng.stream(seed, "held out").permutation(n)
    first = round(held_out * n)
    return order[first:], order[:first]


def digit_images() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The bundled digits as the pipeline makes them, (n, 1, 8, 8) in [-1, 1], and which they are."""
    bundled = bundled_digits()
    return (bundled.x / _HALF_RANGE - 1).astype(np.float32)[:, None], bundled.labels
