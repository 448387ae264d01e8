"""A network in training: its losses, and a sheet of what it makes."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from orthoscope.plots.style import COLORS, DASHES, MUTED, label_ends, panels, styled


@styled
def loss_figure(result: xr.Dataset) -> Figure:
    """Loss on images trained on and on images held out: they part where the network begins to learn by heart."""
    figure, (ax,) = panels(1, 1, size=(6.5, 4))
    ax.plot(result["update"], result["loss"], color=COLORS[0], label="images trained on")
    ax.plot(result["update"], result["held_out_loss"], color=COLORS[1], linestyle=DASHES[1], label="images held out")
    ax.set(title="Loss of the averaged weights", xlabel="updates", ylabel="mean square error of the velocity")
    label_ends(ax, ax.get_lines())
    return figure


@styled
def sheet_figure(result: xr.Dataset) -> Figure:
    """Samples of every class, one block per strength, from the same noise."""
    strengths = result["strength"].values
    figure, axes = panels(1, len(strengths), size=(4.2 * len(strengths), 4))
    for ax, strength in zip(axes, strengths, strict=True):
        shown = np.pad(
            result["image"].sel(strength=strength).values, [(0, 0)] * 2 + [(0, 1)] * 2, constant_values=np.nan
        )
        ax.imshow(np.block([[*row] for row in shown]), cmap="gray_r", vmin=-1.0, vmax=1.0, interpolation="nearest")
        ax.set(title=f"strength {strength:g}")
        ax.set_yticks(
            (np.arange(len(shown)) + 0.5) * shown.shape[2] - 0.5,
            labels=[str(label) for label in result["label"].values],
        )
        ax.set_xticks([])
        ax.tick_params(length=0, colors=MUTED)
        ax.grid(visible=False)
        for spine in ax.spines.values():
            spine.set_visible(False)
    return figure
