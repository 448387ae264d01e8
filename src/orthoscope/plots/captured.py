"""Captured paths: measurement against 1/d, and leading-order theory at its end."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from orthoscope.plots.style import COLORS, DASHES, INK, MARKERS, panels, styled

TITLES = {"mean_shift": "Mean shift", "variance_shift": "Variance shift"}


@styled
def captured_figure(captured: xr.Dataset) -> Figure:
    """Shifts of captured paths against 1/d; large hollow points at 1/d = 0 are theory."""
    figure, axes = panels(1, 2, size=(10, 4.2))
    for ax, (name, title) in zip(axes, TITLES.items(), strict=True):
        for color, marker, dash, path in zip(COLORS, MARKERS, DASHES, captured["path"].values, strict=False):
            one = captured.isel(point=np.flatnonzero(captured["schedule"].values == path))
            at = 1 / one["point_dim"].values
            ax.errorbar(
                at, one[name], 2 * one[f"{name}_stderr"], marker=marker, linestyle=dash, color=color, linewidth=0.8,
                label=str(path),
            )  # fmt: skip
            theory = float(captured[f"{name}_mean_field"].sel(path=path))
            ax.plot([0], [theory], marker, color=color, markersize=10, fillstyle="none")
        ax.plot([], [], "o", color=INK, markersize=10, fillstyle="none", label=r"hollow: theory, $d = \infty$")
        ax.set(title=title, xlabel="$1/d$, one over dimension", xlim=(-0.002, None))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return figure
