"""The images of an audit: one block per prompt, one row per schedule, the same seed in every column."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orthoscope.plots.letters import Mark, key
from orthoscope.plots.style import INK, panels, styled

PROMPTS, IMAGES = 6, 6
_TINY = 32  # pixels a side, below which blocks stand side by side in one row
_WIDTH = 12.0  # inches
_TITLE = 44  # letters of a prompt


@styled
def image_figure(audit: xr.Dataset, marks: Mapping[str, Mark]) -> Figure:
    """At most six images of each of at most six prompts under every schedule."""
    shown = audit["image"].isel(shown_prompt=slice(PROMPTS), shown=slice(IMAGES))
    sizes = shown.sizes
    tiny = max(sizes["row"], sizes["column"]) <= _TINY
    across = min(sizes["shown_prompt"], 3 if tiny and sizes["shown_prompt"] != 4 else 2)
    down = -(-sizes["shown_prompt"] // across)
    tile = (_WIDTH / across - 0.35) / (sizes["shown"] * (sizes["column"] + _gap(sizes["column"])))
    height = sizes["schedule"] * (sizes["row"] + _gap(sizes["row"])) * tile
    figure, axes = panels(down, across, size=(_WIDTH, down * (height + 0.35) + 0.25 * sizes["schedule"] / 2 + 0.3))
    letters = [marks[str(spec)].letter for spec in shown["schedule"].values]
    for k, ax in enumerate(axes):
        if k < sizes["shown_prompt"]:
            _block(ax, shown.isel(shown_prompt=k), letters)
        else:
            ax.set_axis_off()
    key(figure, marks, [str(spec) for spec in shown["schedule"].values])
    return figure


def _gap(side: int) -> int:
    return max(1, side // 16)


def _block(ax: Axes, images: xr.DataArray, letters: list[str]) -> None:
    """One prompt: rows are schedules, white lines between images."""
    tiles = images.transpose("schedule", "shown", "row", "column", "channel").values
    gaps = _gap(tiles.shape[2]), _gap(tiles.shape[3])
    tiles = np.pad(tiles, [(0, 0), (0, 0), (0, gaps[0]), (0, gaps[1]), (0, 0)], constant_values=255)
    rows, columns, height, width, channels = tiles.shape
    sheet = tiles.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)
    sheet = sheet.repeat(3, axis=2) if channels == 1 else sheet
    ax.imshow(sheet, interpolation="nearest")
    prompt = str(images["shown_prompt"].values)
    ax.set_title(prompt if len(prompt) <= _TITLE else prompt[: _TITLE - 1] + "…", fontsize=9, fontweight="normal")
    ax.set_yticks(height * np.arange(rows) + (height - gaps[0] - 1) / 2, labels=letters, fontsize=8.5, color=INK)
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
