"""Folders of image files: which there are, and what is in them as squares of one size.

Images that are compared must be of one size: each is cut to its middle square, and all are averaged over equal areas to
the side of the smallest.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orthoscope.errors import ConfigError
from orthoscope.integrations.features import area_average
from orthoscope.integrations.images import ENDINGS, UNREAD, image_size, read_image
from orthoscope.progress import Remark

Images = NDArray[np.float32]
SIDE = 256  # pixels of a square at most
_AT_ONCE = 64


def image_files(folder: Path, remark: Remark, *, once: bool = True) -> list[Path]:
    """The image files in a folder and those within it, but for hidden ones; links to folders are not followed.

    Args:
        folder: Where.
        remark: Told of images of other kinds, and of links that are not followed.
        once: Whether a file with several names counts once; else it counts by each.

    Raises:
        ConfigError: if the folder is missing, cannot be read or holds no such file.
    """
    if not os.path.isdir(folder):
        raise ConfigError(f"no such folder: {folder}; expected a folder of images ({', '.join(ENDINGS)})")
    found = sorted(_walked(folder, remark))
    files = [file for file in found if _ends(file, ENDINGS)]
    if once:
        files = sorted({(about.st_dev, about.st_ino): file for file in files for about in [file.stat()]}.values())
    if not files:
        raise ConfigError(f"{folder} holds no images; expected files ending in {', '.join(ENDINGS)}")
    if others := sum(_ends(file, UNREAD) for file in found):
        remark(f"{folder} holds images of kinds that are not read ({others}); convert them to PNG")
    return files


def _walked(folder: Path, remark: Remark) -> Iterator[Path]:
    for home, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for link in filter(os.path.islink, (os.path.join(home, name) for name in folders)):
            remark(f"{link} is a link to a folder, which is not followed; name the folder itself, or copy it")
        files = (Path(home, name) for name in names if not name.startswith("."))
        yield from (file for file in files if file.is_file())


def _refuse(error: OSError) -> None:
    raise ConfigError(f"cannot read the folder {error.filename}: {error.strerror}; make it readable") from error


def _ends(file: Path, endings: tuple[str, ...]) -> bool:
    return file.suffix.lower() in endings


def common_side(files: Sequence[Path], most: int = SIDE) -> int:
    """The shortest side of all images, `most` at most, if it is not one far from the others.

    Raises:
        ConfigError: if it is, or a file cannot be read.
    """
    sides = [min(*image_size(file), most) for file in files]
    side, usual = min(sides), np.median(sides)
    if side < usual / 2:
        raise ConfigError(
            f"the image {files[sides.index(side)]} has a side of {side} pixels where most have {usual:g} or more, and "
            "all would be reduced to it; remove it"
        )
    return side


def squares(files: Sequence[Path], side: int) -> Iterator[Images]:
    """The middle squares of images (n, side, side, 3) in [0, 1], a few at a time.

    Raises:
        ConfigError: if a file cannot be read.
    """
    for start in range(0, len(files), _AT_ONCE):
        yield np.stack([_square(file, side) for file in files[start : start + _AT_ONCE]])


def _square(file: Path, side: int) -> Images:
    pixels = read_image(file)
    edge = min(pixels.shape[:2])
    top, left = ((length - edge) // 2 for length in pixels.shape[:2])
    return area_average(pixels[top : top + edge, left : left + edge], side, side)
