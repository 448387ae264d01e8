"""Networks that look at images: transformers' own classes, read as pipelines are, without code of the repository.

Images are shown as a network's own preprocessing wants them, in 8 bits as a file would hold them, and by Pillow
everywhere: so features do not depend on what else is installed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoConfig, AutoImageProcessor

from orthoscope.errors import ConfigError
from orthoscope.integrations.fingerprint import fingerprint
from orthoscope.integrations.hub import device_of, local, reading
from orthoscope.integrations.weights import check_finite, read_network

_AT_ONCE = 32  # images
Images = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vision:
    """A network with its preprocessing; made by `open_vision`.

    Attributes:
        model: The network, in float32.
        processor: Its preprocessing.
        device: Where it runs.
    """

    model: Any
    processor: Any
    device: torch.device

    @property
    def identity(self) -> dict[str, Any]:
        """What determines its outputs: class, weights and preprocessing; not where they were found."""
        return {"network": fingerprint(self.model), "preprocessing": self.processor.to_dict()}

    @torch.inference_mode()
    def of(self, images: Images, read: Callable[[Tensor], Tensor]) -> NDArray[np.float32]:
        """What `read` makes of the preprocessed images, one row per image.

        Raises:
            ConfigError: if the images are neither gray nor RGB.
        """
        parts = [read(pixels.to(self.device)).float().cpu() for pixels in self._batches(images)]
        return torch.cat(parts).numpy()

    def _batches(self, images: Images) -> Iterator[Tensor]:
        for start in range(0, len(images), _AT_ONCE):
            shown = list(as_bytes(images[start : start + _AT_ONCE]))
            yield self.processor(images=shown, input_data_format="channels_last", return_tensors="pt")["pixel_values"]


def as_bytes(images: Images) -> NDArray[np.uint8]:
    """Images in [0, 1] as RGB of 8 bits; gray ones get three equal channels.

    Raises:
        ConfigError: if they have neither 1 nor 3 channels.
    """
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        raise ConfigError(
            f"expected images (n, height, width, 1 or 3 channels), got shape {images.shape}; use `features` latent"
        )
    levels = np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)
    return np.repeat(levels, 3, axis=3) if images.shape[3] == 1 else levels


def open_vision(
    make: Any, source: str, *, kind: str | None = None, device: str = "auto", allow_pickle: bool = False
) -> Vision:
    """A network from a folder or the hub.

    Args:
        make: Class with `from_pretrained`.
        source: Folder, or repository of the hub.
        kind: The `model_type` that its config must name; any if None.
        device: Where it runs; "auto" takes the accelerator if there is one.
        allow_pickle: Whether weights that are not safetensors may be read.

    Raises:
        ConfigError: if it is not there, cannot be reached, is of another kind, lacks weights, makes no numbers of a
            gray image, or would need code or pickles of the repository.
    """
    place = device_of(device)
    config = opened(AutoConfig.from_pretrained, source)
    if kind is not None and config.model_type != kind:
        raise ConfigError(f"{source} holds a model of type {config.model_type}; expected {kind}")
    read = partial(read_network, make, config=config, dtype=torch.float32, allow_pickle=allow_pickle)
    model = opened(read, source, allow_pickle=allow_pickle).eval().requires_grad_(False).to(place)
    check_finite(model, source)
    vision = Vision(
        model=model, processor=opened(AutoImageProcessor.from_pretrained, source, backend="pil"), device=place
    )
    see = getattr(model, "get_image_features", model)
    with reading(f"{source} with its preprocessing"):
        seen = vision.of(np.full((1, 64, 48, 1), 0.5, np.float32), lambda pixels: see(pixels)[0])
    if not np.isfinite(seen).all():
        raise ConfigError(f"{source} with its preprocessing makes NaN or infinity of a gray image; get its files again")
    return vision


def opened(read: Callable[..., Any], source: str, *, allow_pickle: bool = False, **options: Any) -> Any:
    """What a `from_pretrained` makes of a folder or a repository of the hub, without code of others.

    Raises:
        ConfigError: if it cannot be opened.
    """
    folder = local(source)
    if not os.path.isdir(folder) and (source.count("/") != 1 or source.startswith((".", "~", "/"))):
        raise ConfigError(
            f"no such folder: {source}; expected a model's folder, or a repository of the hub such as org/name"
        )
    with reading(source, allow_pickle=allow_pickle):
        return read(str(folder) if os.path.isdir(folder) else source, trust_remote_code=False, **options)
