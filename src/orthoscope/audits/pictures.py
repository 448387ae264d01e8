"""Images as files to look at, and as thumbnails for the page."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch.nn.functional import adaptive_avg_pool2d

from orthoscope import locking, writing
from orthoscope.errors import ConfigError
from orthoscope.reading import opened, parse_json

SHOWN = 8  # images of a cell that get a thumbnail
_SIDE = 128  # of a thumbnail, in pixels, at most
_LONGEST = 60  # characters of a name
_KEY = "orthoscope"
_END = b"\0\0\0\0IEND\xae\x42\x60\x82"  # of a PNG file

Pixels = NDArray[np.float32]


def thumbnails(images: Pixels, *, already: int = 0) -> NDArray[np.uint8]:
    """Area averages of the first images, at most 128 pixels wide and high and never enlarged, as gray levels 0 to 255.

    Args:
        images: Pixels in [0, 1] (n, height, width, channels).
        already: Number of images of the cell that came before them.
    """
    kept = max(0, SHOWN - already)
    height, width = images.shape[1:3]
    shrink = max(1.0, max(height, width) / _SIDE)
    size = max(1, round(height / shrink)), max(1, round(width / shrink))
    if kept == 0:
        return np.empty((0, *size, images.shape[3]), np.uint8)
    shown = torch.from_numpy(images[:kept]).permute(0, 3, 1, 2)
    return gray_levels(adaptive_avg_pool2d(shown, size).permute(0, 2, 3, 1).numpy(force=True))


def slug(text: str) -> str:
    """A short file name of a text; where it had to be changed to become one, a fingerprint tells it from others."""
    name = re.sub(r"[^\w.=+-]+", "_", text, flags=re.ASCII).strip("._") or "_"
    if name.replace("_", "") == text.replace(":", "").replace(",", "") and len(name) <= _LONGEST:
        return name
    return f"{name[:_LONGEST]}-{hashlib.blake2b(text.encode(), digest_size=3).hexdigest()}"


def picture_path(folder: Path, spec: str, prompt: str, image: int) -> Path:
    """Where an image is kept."""
    return folder / slug(spec) / slug(prompt) / f"{image:04d}.png"


def save_pictures(
    folder: Path, task: tuple[str, str], pictures: NDArray[np.uint8], seeds: Sequence[int], key: str
) -> None:
    """Write the images of a cell as PNG files that say what they are.

    Args:
        folder: Where all of an audit are.
        task: Schedule and prompt.
        pictures: Gray levels 0 to 255 (n, height, width, channels).
        seeds: Seed of each.
        key: Name of the cell.

    Raises:
        ConfigError: if the folder cannot be written.
    """
    spec, prompt = task
    for image, (pixels, seed) in enumerate(zip(pictures, seeds, strict=True)):
        about = PngInfo()
        about.add_text(_KEY, json.dumps({"schedule": spec, "prompt": prompt, "seed": seed, "cell": key}))
        buffer = io.BytesIO()
        drawn = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        drawn.save(buffer, format="PNG", pnginfo=about)
        writing.write(picture_path(folder, spec, prompt, image), buffer.getbuffer())
    locking.watch(folder)


def are_there(folder: Path, spec: str, prompt: str, images: int, key: str) -> bool:
    """Whether all images of a cell are there, whole and this cell's."""
    try:
        return all(_cell_of(picture_path(folder, spec, prompt, image)) == key for image in range(images))
    except ConfigError:
        return False


def _cell_of(path: Path) -> str:
    with opened(path) as stream:
        content = stream.read()
        with Image.open(io.BytesIO(content), formats=("PNG",)) as drawn:
            cell = str(parse_json(drawn.info[_KEY], str(path))["cell"])
            drawn.verify()  # the checksum of every part but the last
    return cell if content.endswith(_END) else ""


def gray_levels(images: Pixels) -> NDArray[np.uint8]:
    """Pixels in [0, 1] as gray levels 0 to 255."""
    return np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)
