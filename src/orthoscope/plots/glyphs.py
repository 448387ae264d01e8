"""Sheets of characters: what faces make of them."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from orthoscope.plots.style import panels, styled

_ROWS, _COLUMNS = 12, 21  # of a sheet at most, spread evenly


@styled
def glyph_sheet(levels: NDArray[np.uint8]) -> Figure:
    """Characters in rows, faces in columns, of gray levels 0 to 15 (characters, faces, side, side)."""
    rows, columns = (
        np.arange(min(n, most)) * n // min(n, most) for n, most in zip(levels.shape[:2], (_ROWS, _COLUMNS), strict=True)
    )
    shown = levels[np.ix_(rows, columns)]
    figure, (ax,) = panels(1, 1, size=(10.5, 6.2))
    ax.imshow(np.block([[*row] for row in shown]), cmap="gray_r", vmin=0, vmax=15, interpolation="nearest")
    ax.set(title=f"{len(rows)} of {len(levels)} characters in {len(columns)} of {levels.shape[1]} faces")
    ax.set_axis_off()
    return figure
