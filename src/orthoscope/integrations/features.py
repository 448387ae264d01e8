"""Spaces in which images are compared: latents, pixels, CLIP, DINOv2.

Every extractor turns what a host generated into one row of numbers per image. Rows depend on their image alone, not on
the batch it came in.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from transformers import CLIPModel, CLIPTokenizer, Dinov2Model

from orthoscope.errors import ConfigError, unknown
from orthoscope.integrations.fingerprint import fingerprint
from orthoscope.integrations.hub import check_tokenizer
from orthoscope.integrations.vision import Vision, open_vision, opened

if TYPE_CHECKING:
    from orthoscope.integrations.host import Generated

FloatArray = NDArray[np.float32]
NAMES = ("latent", "pixel", "clip", "dinov2")
CLIP, DINOV2 = "openai/clip-vit-base-patch32", "facebook/dinov2-base"
_SIDE = 64  # pixels to which larger images are averaged


@runtime_checkable
class Features(Protocol):
    """One row of numbers per image."""

    @property
    def name(self) -> str:
        """One of `NAMES`."""
        ...

    @property
    def identity(self) -> dict[str, Any]:
        """What determines the numbers, for JSON."""
        ...

    def of(self, generated: Generated) -> FloatArray:
        """Features of generated images (n, dim)."""
        ...

    def of_images(self, images: FloatArray) -> FloatArray:
        """Features of images (n, height, width, channels) in [0, 1].

        Raises:
            ConfigError: if this space knows no images.
        """
        ...

    def of_text(self, prompt: str) -> FloatArray | None:
        """The prompt in the space of the images (dim,); None where texts have no place in it."""
        ...


@dataclass(frozen=True, slots=True)
class LatentFeatures:
    """The final state of the scheduler, flattened, in the pipeline's own scale."""

    name: str = "latent"

    @property
    def identity(self) -> dict[str, Any]:
        """Its name: there is nothing to choose."""
        return {"name": self.name}

    def of(self, generated: Generated) -> FloatArray:
        """The latents, flattened."""
        return np.ascontiguousarray(generated.latents.reshape(len(generated.latents), -1), dtype=np.float32)

    def of_images(self, images: FloatArray) -> FloatArray:
        """Nothing: images have no latents without the pipeline's encoder.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("reference images have no latents to compare with; use `features` pixel, clip or dinov2")

    def of_text(self, prompt: str) -> FloatArray | None:
        """None."""
        return None


@dataclass(frozen=True, slots=True)
class PixelFeatures:
    """Pixels in [0, 1], flattened; a side of more than 64 is averaged over equal areas to 64."""

    name: str = "pixel"

    @property
    def identity(self) -> dict[str, Any]:
        """Its name and the largest side in pixels."""
        return {"name": self.name, "side": _SIDE}

    def of(self, generated: Generated) -> FloatArray:
        """Pixels of generated images."""
        return self.of_images(generated.images)

    def of_images(self, images: FloatArray) -> FloatArray:
        """Pixels of images; means over an image stay what they are."""
        height, width = (min(side, _SIDE) for side in images.shape[1:3])
        return np.stack([area_average(image, height, width).ravel() for image in images])

    def of_text(self, prompt: str) -> FloatArray | None:
        """None."""
        return None


def area_average(image: FloatArray, height: int, width: int) -> FloatArray:
    """An image (rows, columns, channels) averaged to `height` x `width` cells of equal area."""
    rows, columns = (csr_array(area_weights(*sizes)) for sizes in zip(image.shape, (height, width), strict=False))
    averaged = (rows @ image.reshape(len(image), -1)).reshape(height, *image.shape[1:])
    turned = averaged.swapaxes(0, 1)  # sparse matrices act on the first axis
    done = (columns @ turned.reshape(len(turned), -1)).reshape(width, height, -1)
    return done.swapaxes(0, 1).astype(np.float32)


def area_weights(size: int, kept: int) -> NDArray[np.float64]:
    """Weights (kept, size) by which `size` pixels are averaged to `kept` cells of equal area."""
    edges, cells = np.arange(size + 1) * kept, np.arange(kept + 1) * size  # whole numbers: both in units of 1/kept
    ends = np.minimum(edges[None, 1:], cells[1:, None])
    begins = np.maximum(edges[None, :-1], cells[:-1, None])
    return np.clip(ends - begins, 0, None) / size


@dataclass(frozen=True)
class ClipFeatures:
    """Image embeddings of CLIP, and text embeddings in the same space; as projected, not scaled to unit length."""

    vision: Vision
    tokenizer: Any
    name: str = "clip"

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Its name, and what determines the network's outputs for images and texts."""
        return {"name": self.name, **self.vision.identity, "tokenizer": fingerprint(self.tokenizer)}

    def of(self, generated: Generated) -> FloatArray:
        """Embeddings of generated images."""
        return self.of_images(generated.images)

    def of_images(self, images: FloatArray) -> FloatArray:
        """Embeddings of images."""
        return self.vision.of(images, lambda pixels: _pooled(self.vision.model.get_image_features(pixels)))

    @torch.inference_mode()
    def of_text(self, prompt: str) -> FloatArray | None:
        """The embedding of a text; what exceeds the network's length is cut off."""
        model = self.vision.model
        longest = model.config.text_config.max_position_embeddings
        tokens = self.tokenizer([prompt], truncation=True, max_length=longest, return_tensors="pt")
        return _pooled(model.get_text_features(**tokens.to(self.vision.device)))[0].float().cpu().numpy()


@dataclass(frozen=True)
class Dinov2Features:
    """The class token of DINOv2 behind its last normalization."""

    vision: Vision
    name: str = "dinov2"

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Its name, and what determines the network's outputs."""
        return {"name": self.name, **self.vision.identity}

    def of(self, generated: Generated) -> FloatArray:
        """Class tokens of generated images."""
        return self.of_images(generated.images)

    def of_images(self, images: FloatArray) -> FloatArray:
        """Class tokens of images."""
        return self.vision.of(images, lambda pixels: self.vision.model(pixels).pooler_output)

    def of_text(self, prompt: str) -> FloatArray | None:
        """None."""
        return None


def features_of(name: str, *, model: str | None = None, device: str = "auto", allow_pickle: bool = False) -> Features:
    """The extractor of a name.

    Args:
        name: One of `NAMES`.
        model: Folder of the network, or repository of the hub; the usual base size if None.
        device: Where a network runs; "auto" takes the accelerator if there is one.
        allow_pickle: Whether weights that are not safetensors may be read.

    Raises:
        ConfigError: if the name is unknown, the network cannot be opened, or one is given that is not needed.
    """
    if name not in NAMES:
        raise unknown("features", name, NAMES)
    if name in ("latent", "pixel"):
        if model is not None:
            raise ConfigError(f"features {name} need no network, got {model}; use clip or dinov2 with it")
        return LatentFeatures() if name == "latent" else PixelFeatures()
    make, usual = (CLIPModel, CLIP) if name == "clip" else (Dinov2Model, DINOV2)
    source = model or usual
    vision = open_vision(make, source, kind=name, device=device, allow_pickle=allow_pickle)
    if name == "dinov2":
        return Dinov2Features(vision)
    tokenizer = opened(CLIPTokenizer.from_pretrained, source)
    check_tokenizer(tokenizer, source)
    return ClipFeatures(vision, tokenizer)


def _pooled(output: Any) -> torch.Tensor:
    return getattr(output, "pooler_output", output)
