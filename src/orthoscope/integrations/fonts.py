"""Characters that Chinese and Japanese standards share, drawn in faces of free fonts that Debian packages.

All of these fonts are under the SIL Open Font License 1.1. The bitmaps that ship are under it, too, whichever way a
lawyer reads it: as documents made with fonts, or as fonts derived from them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

import numpy as np
from fontTools.ttLib import TTCollection, TTFont, TTLibError
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from orthoscope.errors import ConfigError

SIDE, _FILLED = 16, 14  # pixels of an image, and of the larger side of the character in it
_DRAWN = 64  # pixels at which characters are drawn before they are averaged to these
_FOLDER = Path("/usr/share/fonts")
# Debian packages, and the files that are taken of each; pan-CJK collections hold one face per region.
PACKAGES: Mapping[str, str] = {
    "fonts-noto-cjk": "NotoS*CJK-[BR]*.ttc",
    "fonts-noto-cjk-extra": "NotoS*CJK-*.ttc",
    "fonts-lxgw-wenkai": "LXGWWenKai-*.ttf",
    "fonts-mplus": "Mplus1-*.otf",
    "fonts-seto": "setofont.ttf",
    "fonts-smiley-sans": "SmileySans-*.ttf",
    "fonts-reggae": "ReggaeOne-*.ttf",
    "fonts-sawarabi-mincho": "sawarabi-mincho-*.ttf",
    "fonts-hanazono": "HanaMinA.ttf",
    "fonts-yozvox-yozfont-antique": "YOz[BR]AF.ttf",
}


@dataclass(frozen=True, kw_only=True)
class Face:
    """One face of a font file.

    Attributes:
        file: Where it is.
        index: Its number in the file.
    """

    file: Path
    index: int = 0

    @cached_property
    def _about(self) -> tuple[str, str, frozenset[str]]:
        with TTFont(str(self.file), fontNumber=self.index, lazy=True) as font:
            name, notice = (" ".join((font["name"].getDebugName(number) or "").split()) for number in (4, 0))
            return name, notice, frozenset(map(chr, font.getBestCmap()))

    @property
    def name(self) -> str:
        """Its full name."""
        return self._about[0]

    @property
    def notice(self) -> str:
        """What the font says of its copyright."""
        return self._about[1]

    @property
    def characters(self) -> frozenset[str]:
        """What it can draw."""
        return self._about[2]

    def draw(self, characters: Sequence[str]) -> NDArray[np.uint8]:
        """Gray levels 0 to 15 of each (n, 16, 16): centered, its larger side 14 pixels, averaged over equal areas.

        Raises:
            ConfigError: if one is blank.
        """
        font = ImageFont.truetype(str(self.file), _DRAWN, index=self.index)
        return np.stack([_drawn(font, one, self.name) for one in characters])


def _drawn(font: ImageFont.FreeTypeFont, character: str, name: str) -> NDArray[np.uint8]:
    left, top, right, bottom = map(int, font.getbbox(character))
    page = Image.new("L", (max(1, right - left), max(1, bottom - top)))
    ImageDraw.Draw(page).text((-left, -top), character, fill=255, font=font)
    if (box := page.getbbox()) is None:
        raise ConfigError(f"{name} draws {character} as a blank; leave the font out")
    ink = page.crop(box)
    edge = round(max(ink.size) * SIDE / _FILLED)
    square = Image.new("L", (edge, edge))
    square.paste(ink, tuple((edge - length) // 2 for length in ink.size))  # type: ignore[arg-type]
    found = np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64)
    return np.round(found / 17).astype(np.uint8)  # 255 is 15


def installed_faces(folder: Path | None = None) -> list[Face]:
    """Every face of the packages, in their order.

    Args:
        folder: Where to look, with all folders below; where Debian has fonts if None.

    Raises:
        ConfigError: if a package is not there, naming all that are not.
    """
    root = _FOLDER if folder is None else folder
    files = sorted(path for path in root.rglob("*") if path.is_file()) if os.path.isdir(root) else []
    found = {package: [file for file in files if fnmatch(file.name, like)] for package, like in PACKAGES.items()}
    if missing := [package for package, some in found.items() if not some]:
        raise ConfigError(
            f"{root} lacks fonts of {len(missing)} of {len(PACKAGES)} packages; on Debian: apt-get install "
            f"{' '.join(missing)}; the glyphs that ship need none"
        )
    return [face for file in dict.fromkeys(file for some in found.values() for file in some) for face in _faces(file)]


def _faces(file: Path) -> list[Face]:
    try:
        with file.open("rb") as stream:
            number = len(TTCollection(stream, lazy=True).fonts) if file.suffix == ".ttc" else 1
    except (TTLibError, OSError) as error:
        raise ConfigError(f"cannot read the font {file}: {error}; install its package again") from error
    return [Face(file=file, index=index) for index in range(number)]


def shared_characters() -> list[str]:
    """Characters of JIS X 0208 level 1 that GB 2312 and Big5 hold too, in the order of JIS: 1,759."""
    cells = (bytes([row + 0xA0, column + 0xA0]) for row in range(16, 48) for column in range(1, 95))
    return [one for one in (cell.decode("euc_jp", errors="ignore") for cell in cells) if one and _is_shared(one)]


def _is_shared(character: str) -> bool:
    try:
        return bool(character.encode("gb2312") and character.encode("big5"))
    except UnicodeEncodeError:
        return False
