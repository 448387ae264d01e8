"""How finite dimension approaches mean field."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from orthoscope.plots.style import COLORS, DASHES, FILLS, MARKERS, MUTED, panels, styled

TITLES = {"mean_shift": "Mean shift", "variance_shift": "Variance shift"}


@styled
def approach_figure(approach: xr.Dataset) -> Figure:
    """Distance to infinite dimension against dimension, on logarithmic axes, one color per rate."""
    figure, axes = panels(1, 2, size=(10, 4.2))
    dims = approach["dim"].values
    strengths = approach["strength"].values
    for ax, (name, title) in zip(axes, TITLES.items(), strict=True):
        for color, marker, rate in zip(COLORS, MARKERS, approach["rate"].values, strict=False):
            for dash, fill, w in zip(DASHES, FILLS, strengths, strict=False):
                one = approach.sel(rate=rate, strength=w)
                limit = float(one[f"{name}_mean_field"])
                gap, error = np.abs(one[name].values / limit - 1), one[f"{name}_stderr"].values / abs(limit)
                clear = gap > 2 * error
                label = rf"$\beta$ = {rate:g}, w = {w:g}"
                ax.plot(
                    dims,
                    np.abs(one[f"{name}_finite_dim"] - limit) / abs(limit),
                    linestyle=dash,
                    color=color,
                    alpha=0.45,
                )
                ax.errorbar(
                    dims[clear], gap[clear], 2 * error[clear], fmt=marker, color=color, fillstyle=fill,
                    elinewidth=1, label=label,
                )  # fmt: skip
        ax.plot(dims, 10 / dims, color=MUTED, linewidth=1, label=r"$\propto 1/d$")
        ax.axhline(0.05, color=MUTED, linewidth=0.8, linestyle=":")
        ax.set(
            title=f"{title}: relative distance to $d = \\infty$", xlabel="dimension $d$", xscale="log", yscale="log",
            ylim=(1e-5, 10),
        )  # fmt: skip
        ax.plot([], [], color=MUTED, alpha=0.45, label="lines: theory in $d$")
    axes[1].legend(fontsize=7.5, ncols=2)
    return figure
