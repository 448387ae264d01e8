"""Data sets that ship with the package.

- `digits`: the handwritten digits that come with scikit-learn, 1,797 images of 8 x 8 pixels, gray levels 0 to 16;
- `glyphs`: 1,000 characters that Japanese and Chinese standards share, each in 62 faces of free fonts, 16 x 16 pixels,
  gray levels 0 to 15. `orthoscope data glyphs` renders them again; fonts and license stand in glyphs.txt beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from orthoscope import rng
from orthoscope.errors import ConfigError
from orthoscope.targets.labelled import LabelledData

GLYPHS = Path(__file__).parent / "glyphs.npz"
_HELD_OUT = 0.1  # share of the digits that the model that ships did not see


def bundled_digits() -> LabelledData:
    """The handwritten digits (1797, 8, 8)."""
    from sklearn.datasets import load_digits

    found = load_digits()
    held_out = np.zeros(len(found.target), dtype=bool)
    held_out[rng.stream(0, "held out").permutation(len(held_out))[: round(_HELD_OUT * len(held_out))]] = True
    return LabelledData(
        source="digits", x=found.images, labels=found.target.astype(np.int64), held_out=held_out
    )  # fmt: skip


def bundled_glyphs(classes: int | None = None) -> LabelledData:
    """The characters (n, 16, 16); those in faces that are held out are marked.

    Args:
        classes: Take so many of them, spread evenly; all if None.

    Raises:
        ConfigError: if there are fewer than two, or more than there are.
    """
    with np.load(GLYPHS) as stored:
        ink, names, held_out = stored["ink"], stored["characters"], stored["held_out"]
    taken = _spread(len(names), classes)
    names, x = names[taken], unpacked(ink[taken]).astype(np.float64)
    labels = np.repeat(np.arange(len(names)), x.shape[1])
    return LabelledData(
        source="glyphs", x=x.reshape(-1, *x.shape[2:]), labels=labels, held_out=np.tile(held_out, len(names)),
        names=tuple(map(str, names)),
    )  # fmt: skip


def glyph_names(classes: int | None = None) -> tuple[str, ...]:
    """Which characters they are, in order.

    Args:
        classes: As of `bundled_glyphs`.
    """
    with np.load(GLYPHS) as stored:
        names = stored["characters"]
    return tuple(map(str, names[_spread(len(names), classes)]))


def _spread(known: int, classes: int | None) -> np.ndarray:
    """Numbers of so many classes, spread evenly over those that are known."""
    if classes is not None and not 2 <= classes <= known:
        raise ConfigError(f"`classes` must be 2 to {known}, got {classes}", field="classes")
    return np.arange(classes or known) * known // (classes or known)


def packed(levels: np.ndarray) -> np.ndarray:
    """Square images of gray levels 0 to 15, two in a byte: (..., side, side) to (..., side * side / 2)."""
    pairs = levels.astype(np.uint8).reshape(*levels.shape[:-2], -1, 2)
    return np.asarray(pairs[..., 0] << 4 | pairs[..., 1])


def unpacked(ink: np.ndarray) -> np.ndarray:
    """The gray levels that were packed."""
    side = round((2 * ink.shape[-1]) ** 0.5)
    return np.stack([ink >> 4, ink & 15], axis=-1).reshape(*ink.shape[:-1], side, side)


BUNDLED: Mapping[str, Callable[[], LabelledData]] = {"digits": bundled_digits, "glyphs": bundled_glyphs}
