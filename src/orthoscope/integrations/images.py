"""Image files as numbers: upright, in the colors of sRGB, on white where they are transparent.

A level is a share of the largest number that its file can hold. Where a file does not say what that is (32-bit
integers, floating point, signed numbers), it is refused; and so is one that holds several images.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, ImageOps, UnidentifiedImageError

from orthoscope.errors import ConfigError

ENDINGS = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP", "AVIF")  # for others Pillow may start programs
_DEEP = ("I;16", "I;16B", "I;16L", "I;16N")  # gray of 16 bits
_COLORS = ("1", "CMYK", "HSV", "L", "LA", "LAB", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "YCbCr")
_UNKNOWN = {"I": "32-bit integers", "F": "floating-point numbers"}
_PROFILED = {"CMYK": "CMYK", "GRAY": "L", "RGB ": "RGB"}  # modes by the color space of a profile
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF
_WHITE_IS_ZERO, _SIGNED = 0, 2  # and two of their values


def image_size(file: Path) -> tuple[int, int]:
    """Width and height in pixels, as stored; the image is checked, but not decoded.

    Raises:
        ConfigError: if the file does not hold one image of known range.
    """
    with _opened(file) as image:
        return image.size


def read_image(file: Path) -> NDArray[np.float32]:
    """The image in a file (height, width, 3), in [0, 1].

    Raises:
        ConfigError: if the file does not hold one image of known range, or is damaged.
    """
    with _opened(file) as image:
        ImageOps.exif_transpose(image, in_place=True)
        pixels, alpha = _deep(image) if image.mode in _DEEP else _colors(image)
        if alpha is not None:
            pixels = pixels * alpha + (1 - alpha)
        return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), dtype=np.float32)


@contextmanager
def _opened(file: Path) -> Iterator[ImageFile.ImageFile]:
    """An image that can be used, not decoded yet; whatever is wrong with it is told in one line."""
    name = f"the reference image {file}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # A stream, for what Pillow maps into memory by name it turns wrongly.
            with file.open("rb") as stream, Image.open(stream, formats=_FORMATS) as image:
                _check(image, name)
                yield image
    except ConfigError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ConfigError(f"{name} has more than {Image.MAX_IMAGE_PIXELS} pixels; make it smaller") from error
    except UnidentifiedImageError as error:
        raise ConfigError(
            f"cannot read {name}: it is none of {', '.join(_FORMATS)} of 8 or 16 bits per channel; convert or remove it"
        ) from error
    except Exception as error:  # whatever a damaged file may hold
        raise ConfigError(f"cannot read {name}: {' '.join(str(error).split()):.100}; repair or remove it") from error


def _check(image: ImageFile.ImageFile, name: str) -> None:
    if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:  # of a camera the first is the image
        raise ConfigError(f"{name} holds {frames} images; expected one per file: save those you mean one by one")
    kind = _UNKNOWN.get(image.mode, f"mode {image.mode}") if image.mode not in (*_COLORS, *_DEEP) else None
    if _SIGNED in _tag(image, _SAMPLE_FORMAT):
        kind = "signed integers"
    if kind is not None:
        raise ConfigError(
            f"{name} holds {kind}, whose range is not known; expected 8 or 16 bits per channel: scale them and save PNG"
        )
    if image.mode == "RGB" and "transparency" in image.info and "16" in str(image.tile[0].args):
        raise ConfigError(
            f"{name} has a transparent color of 16 bits, which is not read; save it with an alpha channel"
        )


def _deep(image: Image.Image) -> tuple[NDArray[np.floating], NDArray[np.floating] | None]:
    """Gray levels (height, width, 1), and opacity where there is any."""
    levels = np.asarray(image)[..., None]
    alpha = None
    if "transparency" in image.info:
        alpha = (levels != image.info["transparency"]).astype(np.float32)
    shares = levels / np.float32(2 ** max(_tag(image, _BITS), default=16) - 1)
    return (1 - shares if _WHITE_IS_ZERO in _tag(image, _PHOTOMETRIC) else shares), alpha


def _colors(image: Image.Image) -> tuple[NDArray[np.floating], NDArray[np.floating] | None]:
    """Colors (height, width, 3), and opacity (height, width, 1) where there is any."""
    alpha = None
    if image.has_transparency_data:
        image = image.convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode))
        alpha = np.asarray(image.convert("RGBA").getchannel("A"), dtype=np.float32)[..., None] / 255
    return np.asarray(_in_srgb(image).convert("RGB"), dtype=np.float32) / 255, alpha


def _in_srgb(image: Image.Image) -> Image.Image:
    """The same colors without the file's own profile."""
    plain = image if image.mode in ("CMYK", "L", "LAB") else image.convert("L" if image.mode == "LA" else "RGB")
    profile: Any = None
    if image.mode == "LAB":
        profile = ImageCms.createProfile("LAB")
    elif data := image.info.get("icc_profile"):
        own = ImageCms.ImageCmsProfile(BytesIO(data))
        profile = own if _PROFILED.get(own.profile.xcolor_space) == plain.mode else None  # else of another image
    if profile is None:
        return plain
    return ImageCms.profileToProfile(plain, profile, ImageCms.createProfile("sRGB"), outputMode="RGB") or plain


def _tag(image: Image.Image, number: int) -> tuple[int, ...]:
    """Values of a tag of TIFF; none in other files."""
    found = getattr(image, "tag_v2", {}).get(number, ())
    return found if isinstance(found, tuple) else (found,)
