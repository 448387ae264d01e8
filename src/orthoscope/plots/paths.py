"""Overlap and variance along the reverse path."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from orthoscope.plots.style import COLORS, MUTED, panels, styled


@styled
def path_figure(paths: xr.Dataset) -> Figure:
    """Simulated overlap and excess variance on the theory's curves, against variance time from noise to data."""
    figure, (left, right) = panels(1, 2, size=(10, 4))
    time = paths["time"].values
    shown = np.flatnonzero(time > 0)  # clean data has no place on a logarithmic axis: it is drawn at its left end
    at = np.where(time > 0, time, time[shown[-1]] / 2)
    for color, w in zip(COLORS, paths["strength"].values, strict=False):
        one = paths.sel(strength=w)
        clean = one["time"].values + float(one.attrs["std"]) ** 2
        for ax, name, base in ((left, "overlap", 0.0), (right, "variance", clean)):
            ax.errorbar(
                at, one[name] - base, 2 * one[f"{name}_stderr"], fmt="o", color=color, markersize=3.5, elinewidth=1,
                label=f"w = {w:g}",
            )  # fmt: skip
            ax.plot(at, one[f"{name}_finite_dim"] - base, color=color)
            ax.plot(at, one[f"{name}_mean_field"] - base, color=color, linestyle=":", linewidth=1.2)
        if np.isfinite(one["speciation_time"]):
            left.axvline(float(one["speciation_time"]), color=color, linewidth=0.8, linestyle="--", alpha=0.6)
    left.axhline(1.0, color=MUTED, linewidth=0.9)
    right.axhline(0.0, color=MUTED, linewidth=0.9)
    left.set(title="Overlap with the class", ylabel="overlap $q(t)$")
    right.set(title="Variance beyond the class's own", ylabel="$V(t) - (t + s^2)$")
    for ax in (left, right):
        ax.set_xscale("log")
        ax.set_xlabel("variance time $t$   (noise ← → data)")
        ax.invert_xaxis()
    handles, labels = left.get_legend_handles_labels()
    solid = left.plot([], [], color=MUTED)[0]
    dotted = left.plot([], [], color=MUTED, linestyle=":", linewidth=1.2)[0]
    left.legend([*handles, solid, dotted], [*labels, f"theory, d = {paths.attrs['dim']}", "theory, d = ∞"])
    return figure
