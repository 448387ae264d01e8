"""Law or network: what branches know, what guidance makes of it, and how well that was foreseen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orthoscope.plots.style import COLORS, DASHES, INK, MARKERS, MUTED, panels, styled

SHOWN = {
    "constant:1": "constant 1", "constant:3": "constant 3", "step:early=3,late=0,switch=1": "3, ends at t = 1",
    "step:early=3,late=-1,switch=0.3": "3, turns to -1 at t = 0.3",
}  # fmt: skip
FORETOLD: dict[str, Callable[[xr.Dataset], xr.DataArray]] = {
    "by learned fractions": lambda one: one["variance_ratio_by_effective"],
    "by affine answers": lambda one: one["variance_ratio_by_affine"],
    "by errors along exact paths": lambda one: one["variance_ratio_exact"] + one["displaced_variance_ratio_gaussian"],
}
_HALF = 0.5
_LEARNED = ("learned less than half", "learned half or more")
_LEAST = 0.02  # ignorance of a Gaussian below which there is nothing to learn


@styled
def learned_figure(learned: xr.Dataset) -> Figure:
    """Learned fractions by level; variance and gains against them; measured variance ratios against foretold ones."""
    figure, axes = panels(2, 3, size=(14, 8.5))
    _levels(axes[0], learned)
    shown = [text for text in SHOWN if text in learned["schedule"].values]
    for color, marker, text in zip(COLORS, MARKERS, shown, strict=False):
        one = learned.sel(schedule=text)
        for ax, name in ((axes[1], "variance_ratio"), (axes[2], "gain")):
            if name == "gain" and text.startswith("constant"):
                continue
            ax.errorbar(
                learned["learned_fraction"], one[f"{name}_network"], 2 * one[f"{name}_network_stderr"], fmt=marker,
                color=color, elinewidth=1, markersize=4, label=SHOWN[text],
            )  # fmt: skip
        for ax, told in zip(axes[3:], FORETOLD.values(), strict=True):
            ax.plot(told(one), one["variance_ratio_network"], marker, color=color, markersize=4)
    for ax, value in ((axes[1], 1.0), (axes[2], 0.0)):
        ax.axhline(value, color=MUTED, linewidth=1)
    label = "learned fraction of the unconditional branch"
    axes[1].set(title="Variance under guidance", xlabel=label, ylabel="variance ratio")
    axes[2].set(title="Gain on the constant of equal mean shift", xlabel=label, ylabel="variance ratio gained")
    axes[1].legend(labelcolor=INK)
    ends = [0.0, float(np.nanmax([learned.sel(schedule=text)["variance_ratio_network"].max() for text in shown]))]
    for ax, words in zip(axes[3:], FORETOLD, strict=True):
        ax.plot(ends, ends, color=MUTED, linewidth=1)
        ax.set(title=f"Foretold {words}", xlabel="variance ratio foretold", ylabel="variance ratio of the network")
    return figure


def _levels(ax: Axes, learned: xr.Dataset) -> None:
    """The learned fraction of every network where one Gaussian leaves something to learn."""
    for index in range(learned.sizes["network"]):
        one = learned.isel(network=index)
        some = one["ignorance"].values > _LEAST
        k = int(float(one["learned_fraction"]) >= _HALF)
        ax.plot(
            learned["level"].values[some], one["learned_fraction_level"].values[some], color=COLORS[k],
            linestyle=DASHES[k], linewidth=0.8, label=_LEARNED[k],
        )  # fmt: skip
    handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    ax.legend(list(handles.values()), list(handles), loc="upper left", fontsize=8)
    ax.axhline(0, color=MUTED, linewidth=1)
    ax.set(title="What the unconditional branch has learned", xlabel="variance time t", ylabel="learned fraction")
    ax.set(xscale="log", ylim=(-0.2, 1.3))
