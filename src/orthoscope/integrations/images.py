"""Image files as numbers: upright, in the colors of sRGB, on white where they are transparent.

A level is a share of the largest number that its file can hold. Where a file does not say what that is (32-bit
integers, floating point, signed numbers), it is refused; and so is one that holds several images, or whose colors are
not those of sRGB and not told by a profile.
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

from orthoscope.errors import ConfigError, in_one_line
from orthoscope.reading import check_file

ENDINGS = (".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
UNREAD = (
    ".dng",
    ".exr",
    ".heic",
    ".heif",
    ".ico",
    ".jp2",
    ".jxl",
    ".pgm",
    ".ppm",
    ".psd",
    ".svg",
    ".tga",
)  # images too
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP", "AVIF")  # for others Pillow may start programs
_DEEP = ("I;16", "I;16B", "I;16L", "I;16N")  # gray of 16 bits
_COLORS = ("1", "CMYK", "HSV", "L", "LA", "LAB", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "YCbCr")
_UNKNOWN = {"I": "32-bit integers", "F": "floating-point numbers"}
_PROFILED = {"CMYK": "CMYK", "GRAY": "L", "RGB ": "RGB"}  # modes by the color space of a profile
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF
_WHITE_IS_ZERO, _SIGNED = 0, 2  # and two of their values
# What PNG may say of its colors beside a profile, and how that of sRGB is said.
_GAMMA, _PRIMARIES, _CODED = 0.45455, (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06), bytes([1, 13, 0, 1])
_NEAR = 0.005
_STRETCHED = {"L;2": 85, "L;4": 17}  # levels of few bits, which Pillow makes levels of 8


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
        if image.mode == "L" and "transparency" in image.info:  # that level is left as it was stored
            image.info["transparency"] *= _STRETCHED.get(str(image.tile[0].args), 1)
        ImageOps.exif_transpose(image, in_place=True)
        pixels, alpha = _deep(image) if image.mode in _DEEP else _colors(image)
        if alpha is not None:
            pixels = pixels * alpha + (1 - alpha)
        return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), dtype=np.float32)


@contextmanager
def _opened(file: Path) -> Iterator[ImageFile.ImageFile]:
    """An image that can be used, not decoded yet; whatever is wrong with it is told in one line."""
    name = f"the image {file}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # A stream, for what Pillow maps into memory by name it turns wrongly.
            check_file(file, "an image")
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
        raise ConfigError(f"cannot read {name}: {in_one_line(error)}; repair or remove it") from error


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
    if image.format == "PNG" and not _is_srgb(image):
        raise ConfigError(f"{name} has colors other than sRGB's without a profile (gAMA, cHRM, cICP); save it as sRGB")


def _is_srgb(image: ImageFile.ImageFile) -> bool:
    """Whether a PNG file says of its colors what sRGB has, nothing, or all by a profile."""
    stream: Any = image.fp
    coded, place = None, stream.tell()
    stream.seek(8)
    while (head := stream.read(8))[4:] not in (b"IDAT", b""):
        content = stream.read(int.from_bytes(head[:4], "big") + 4)
        if head[4:] == b"cICP":
            coded = content[:4]
    stream.seek(place)
    if coded or "srgb" in image.info or "icc_profile" in image.info:
        return coded in (None, _CODED)
    told = image.info.get("gamma", _GAMMA), *image.info.get("chromaticity", _PRIMARIES)
    return np.allclose(told, (_GAMMA, *_PRIMARIES), rtol=0, atol=_NEAR)


def _deep(image: Image.Image) -> tuple[NDArray[np.floating], NDArray[np.floating] | None]:
    """Gray levels (height, width, 1), and opacity where there is any."""
    levels = np.asarray(image)[..., None]
    alpha = None
    if "transparency" in image.info:
        alpha = (levels != image.info["transparency"]).astype(np.float32)
    shares = levels / np.float32(2 ** max(_tag(image, _BITS), default=16) - 1)
    if _WHITE_IS_ZERO in _tag(image, _PHOTOMETRIC):
        shares = 1 - shares
    if "icc_profile" in image.info:  # which is applied to 8 bits only: between two levels, its values are interpolated
        ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
        ramp.info["icc_profile"] = image.info["icc_profile"]
        shares = np.interp(shares, np.linspace(0, 1, 256), _colors(ramp)[0][0, :, 0])
    return shares, alpha


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
