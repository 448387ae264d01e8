"""How finite dimension approaches mean field."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from orthoscope.plots.style import COLORS, MUTED, panels, styled

TITLES = {"mean_shift": "Mean shift", "variance_shift": "Variance shift"}


@styled
def approach_figure(approach: xr.Dataset) -> Figure:
    """Distance to infinite dimension against dimension, on logarithmic axes, one color per rate."""
    figure, axes = panels(1, 2, size=(10, 4.2))
    dims = approach["dim"].values
    styles = dict(zip(approach["strength"].values, ("-", "--", ":", "-."), strict=False))
    for ax, (name, title) in zip(axes, TITLES.items(), strict=True):
        for color, rate in zip(COLORS, approach["rate"].values, strict=False):
            for w, line in styles.items():
                one = approach.sel(rate=rate, strength=w)
                limit = float(one[f"{name}_mean_field"])
                gap, error = np.abs(one[name].values / limit - 1), one[f"{name}_stderr"].values / abs(limit)
                clear = gap > 2 * error
                label = rf"$\beta$ = {rate:g}, w = {w:g}"
                ax.plot(dims, np.abs(one[f"{name}_finite_dim"] - limit) / abs(limit), line, color=color, alpha=0.45)
                ax.errorbar(
                    dims[clear], gap[clear], 2 * error[clear], fmt="o" if line == "-" else "D", color=color,
                    markerfacecolor=color if line == "-" else "white", elinewidth=1, label=label,
                )  # fmt: skip
        ax.plot(dims, 10 / dims, color=MUTED, linewidth=1, label=r"$\propto 1/d$")
        ax.axhline(0.05, color=MUTED, linewidth=0.8, linestyle=":")
        ax.set(
            title=f"{title}: relative distance to $d = \\infty$", xlabel="dimension $d$", xscale="log", yscale="log",
            ylim=(1e-5, 10),
        )  # fmt: skip
        ax.plot([], [], color=COLORS[0], alpha=0.45, label="lines: theory in $d$")
    axes[1].legend(fontsize=7.5, ncols=2)
    return figure
