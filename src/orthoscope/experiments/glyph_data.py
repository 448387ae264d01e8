"""The glyphs that ship, rendered anew: which characters, which faces, and which of these are held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orthoscope import rng, writing
from orthoscope.calibration.threshold import Spectra
from orthoscope.checks import whole
from orthoscope.errors import ConfigError
from orthoscope.integrations.fonts import Face, installed_faces, shared_characters
from orthoscope.progress import Progress
from orthoscope.targets.bundled import packed

Levels = NDArray[np.uint8]
JOB, FILES = "data glyphs", ("glyphs.npz", "glyphs.txt", "sheet.svg", "sheet.png")  # of its folder
_TRIED = 100  # characters by which faces are told apart
_NUMBERS = (10, 100, 1000)  # of classes that are described
_SHRINKAGE = 0.1  # of the covariance within classes: few faces span few directions
_ALIKE = 0.05  # of the distance of two faces at random, below which a face is taken for a copy


@dataclass(frozen=True, slots=True, kw_only=True)
class GlyphData:
    """How the glyphs are made.

    Attributes:
        characters: Number of characters, spread evenly over those that standards and all faces share.
        held_out: Faces that are marked as not to be trained on.
        seed: Root seed, of which faces these are.
    """

    name: str = field(default="glyph-data", init=False)
    characters: int = 1000
    held_out: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject data that nothing could be learned from."""
        whole("characters", self.characters, 2)
        whole("held_out", self.held_out, 1)

    def rendered(self, folder: Path | None = None, *, progress: Progress | None = None) -> Glyphs:
        """Every character in every face that is no near copy of one before it.

        Args:
            folder: Where fonts are; where Debian has them if None.
            progress: Called with faces done and faces in all.

        Raises:
            ConfigError: if fonts are missing, or have too few characters or faces for this.
        """
        faces = installed_faces(folder)
        names = _spread(_common(faces), self.characters)
        kept = _distinct(faces, names[:: max(1, len(names) // _TRIED)])
        if len(kept) <= self.held_out + 1:
            raise ConfigError(f"`held_out` must leave at least 2 of {len(kept)} faces to train on, got {self.held_out}")
        drawn = []
        for done, face in enumerate(kept, 1):
            drawn.append(face.draw(names))
            if progress is not None:
                progress(done, len(kept))
        held_out = np.zeros(len(kept), dtype=bool)
        held_out[rng.stream(self.seed, "held out").permutation(len(kept))[: self.held_out]] = True
        return Glyphs(levels=np.stack(drawn, axis=1), characters=names, faces=kept, found=len(faces), held_out=held_out)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Glyphs:
    """Rendered characters.

    Attributes:
        levels: Gray levels 0 to 15 (characters, faces, 16, 16).
        characters: What they are.
        faces: The faces.
        found: Number of faces that were looked at.
        held_out: Which faces are held out.
    """

    levels: Levels
    characters: Sequence[str]
    faces: Sequence[Face]
    found: int
    held_out: NDArray[np.bool_]

    def write(self, path: Path) -> None:
        """Write them as they ship, with a credit of every font beside them.

        Raises:
            ConfigError: if a file cannot be written.
        """
        buffer = BytesIO()
        np.savez_compressed(
            buffer, ink=packed(self.levels), characters=np.array(self.characters), held_out=self.held_out,
            faces=np.array([face.name for face in self.faces]),
        )  # fmt: skip
        writing.write(path, buffer.getvalue())
        notices = dict.fromkeys(f"{face.file.name}: {face.notice}" for face in self.faces)
        writing.write(path.with_suffix(".txt"), _CREDIT + "".join(f"{notice}\n" for notice in notices))


def describe(glyphs: Glyphs) -> dict[str, Any]:
    """Numbers of them all, and how far apart 10, 100, 1,000 of the classes are, for JSON."""
    told = {
        "characters": len(glyphs.characters), "faces": len(glyphs.faces), "faces_found": glyphs.found,
        "held_out": [face.name for face, is_out in zip(glyphs.faces, glyphs.held_out, strict=True) if is_out],
    }  # fmt: skip
    numbers = [n for n in _NUMBERS if n <= len(glyphs.characters)]
    return told | {f"{n} classes": separation(glyphs.levels, glyphs.held_out, n) for n in numbers}


def separation(levels: Levels, held_out: NDArray[np.bool_], classes: int) -> dict[str, float]:
    """How far apart so many classes are, spread evenly over all: by second moments, and by a discriminant.

    `load` is the logarithm of their number over the capacity, `load_by_directions` what it would be if the classes
    filled as many equal directions as the participation ratio of all images says, which they do not.

    Args:
        levels: All characters in all faces.
        held_out: Faces on which the discriminant is tested; all else is measured of all faces.
        classes: Number of classes.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    taken = levels[np.arange(classes) * len(levels) // classes].astype(np.float64)
    rows = taken.reshape(classes, taken.shape[1], -1)
    labels = np.arange(classes)

    def part(faces: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        return rows[:, faces].reshape(-1, rows.shape[2]), np.repeat(labels, faces.sum())

    spectra = Spectra.of(*part(np.ones_like(held_out)))
    capacity, within = spectra.information(0.0), spectra.within.variances.numpy()
    between, every = np.square(spectra.means).sum() / classes, np.cov(part(np.ones_like(held_out))[0].T)
    directions = float(np.trace(every) ** 2 / np.square(every).sum())
    discriminant = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=_SHRINKAGE).fit(*part(~held_out))
    return {
        "lda_accuracy": float(discriminant.score(*part(held_out))),
        "within_share": float(within.sum() / (within.sum() + between)),
        "log_classes": float(np.log(classes)),
        "capacity": capacity,
        "load": float(np.log(classes) / capacity),
        "directions": directions,
        "load_by_directions": float(2 * np.log(classes) / directions / np.log1p(between / within.sum())),
    }


_CREDIT = """\
glyphs.npz holds small bitmaps of characters, rendered from the fonts below. These fonts are licensed under the SIL Open
Font License, Version 1.1 (OFL-1.1.txt in this folder), and so are the bitmaps, which carry none of the fonts' names.

"""


def _common(faces: Sequence[Face]) -> list[str]:
    """What all faces can draw of the characters that standards share, in their order."""
    return [one for one in shared_characters() if all(one in face.characters for face in faces)]


def _spread(characters: Sequence[str], number: int) -> list[str]:
    if len(characters) < number:
        raise ConfigError(
            f"`characters` must be at most {len(characters)}, which all faces share, got {number}", field="characters"
        )
    return [characters[k * len(characters) // number] for k in range(number)]


def _distinct(faces: Sequence[Face], characters: Sequence[str]) -> list[Face]:
    """The faces without those that draw like one before them."""
    drawn = np.stack([face.draw(characters) for face in faces]).astype(np.float64)
    apart, kept = 2 * drawn.var(0).mean(), list[int]()
    for k, one in enumerate(drawn):
        if all(np.square(one - drawn[other]).mean() > _ALIKE * apart for other in kept):
            kept.append(k)
    return [faces[k] for k in kept]
