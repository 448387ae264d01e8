"""Law or network: what branches know, what guidance makes of it, and how well that was foreseen."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orthoscope.plots.style import COLORS, INK, MUTED, panels, styled

CONSTANT, ENDING, TURNING = "constant:3", "step:early=3,late=0,switch=1", "step:early=3,late=-1,switch=0.3"
SHOWN = {CONSTANT: "constant 3", ENDING: "3, ends", TURNING: "3, turns to -1"}


@styled
def learned_figure(learned: xr.Dataset) -> Figure:
    """Learned fractions by level; variance and gains against it; measured against foreseen variance ratios."""
    figure, axes = panels(2, 2, size=(11, 8.5))
    _levels(axes[0], learned)
    shown = [text for text in SHOWN if text in learned["schedule"].values]
    for color, text in zip(COLORS, shown, strict=False):
        one = learned.sel(schedule=text)
        for ax, name in ((axes[1], "variance_ratio"), (axes[2], "gain")):
            ax.errorbar(
                learned["learned_fraction"], one[f"{name}_network"], 2 * one[f"{name}_network_stderr"], fmt="o",
                color=color, elinewidth=1, markersize=4, label=SHOWN[text],
            )  # fmt: skip
        axes[3].plot(
            one["variance_ratio_predicted"], one["variance_ratio_network"], "o", color=color, markersize=4,
            label=SHOWN[text],
        )  # fmt: skip
    for ax, value in ((axes[1], 1.0), (axes[2], 0.0)):
        ax.axhline(value, color=MUTED, linewidth=1)
    label = "learned fraction of the unconditional branch"
    axes[1].set(title="Variance under guidance", xlabel=label, ylabel="variance ratio")
    axes[2].set(title="Gain on the constant of equal mean shift", xlabel=label, ylabel="variance ratio gained")
    ends = [float(f(learned["variance_ratio_predicted"])) for f in (np.nanmin, np.nanmax)]
    axes[3].plot(ends, ends, color=MUTED, linewidth=1)
    axes[3].set(
        title="Foreseen from losses alone", xlabel="variance ratio of the effective law", ylabel="of the network"
    )
    axes[1].legend(labelcolor=INK)
    return figure


def _levels(ax: Axes, learned: xr.Dataset) -> None:
    """The learned fraction of every network where one Gaussian leaves something to learn."""
    for index in range(learned.sizes["network"]):
        one = learned.isel(network=index)
        told = one["ignorance"].values > 0.02
        color = COLORS[0] if float(one["learned_fraction"]) < 0.5 else COLORS[1]
        ax.plot(learned["level"].values[told], one["learned_fraction_level"].values[told], color=color, linewidth=0.8)
    ax.axhline(0, color=MUTED, linewidth=1)
    ax.set(
        title="What the unconditional branch has learned", xlabel="variance time t", xscale="log", ylabel="learned fraction",
        ylim=(-0.2, 1.05),
    )  # fmt: skip
