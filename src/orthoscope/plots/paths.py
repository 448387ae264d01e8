"""Overlap and variance along the reverse path."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from orthoscope.plots.style import COLORS, MARKERS, MUTED, panels, styled

_THEORIES = {"finite_dim": ("-", 1.8), "mean_field": (":", 1.2)}  # line style and width


@styled
def path_figure(paths: xr.Dataset) -> Figure:
    """Overlap and excess variance from noise to data, measured and by theory, as far as the dataset has them.

    Of one setting, or of several along the dimension `strength`.
    """
    figure, (left, right) = panels(1, 2, size=(10, 4))
    time = paths["time"].values
    shown = np.flatnonzero(time > 0)  # clean data has no place on a logarithmic axis: it is drawn at its left end
    at = np.where(time > 0, time, time[shown[-1]] / 2)
    clean = time + float(paths.attrs["std"]) ** 2
    several = paths if "strength" in paths.dims else paths.expand_dims(strength=[np.nan])
    for color, marker, k in zip(COLORS, MARKERS, range(several.sizes["strength"]), strict=False):
        one, w = several.isel(strength=k), several["strength"].values[k]
        for ax, name, base in ((left, "overlap", 0.0), (right, "variance", clean)):
            if name in one:
                label = "sampled" if np.isnan(w) else f"w = {w:g}"
                ax.errorbar(
                    at, one[name] - base, 2 * one[f"{name}_stderr"], fmt=marker, color=color, markersize=3.5,
                    elinewidth=1, label=label,
                )  # fmt: skip
            # Points tell lines apart, their own where nothing was measured.
            seldom: dict[str, Any] = {} if name in one else {"marker": marker, "markevery": max(1, len(at) // 8)}
            for theory, (style, width) in _THEORIES.items():
                if f"{name}_{theory}" in one:
                    ax.plot(at, one[f"{name}_{theory}"] - base, color=color, linestyle=style, linewidth=width, **seldom)
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
    names = {"finite_dim": f"theory, d = {paths.attrs.get('dim')}", "mean_field": "theory, d = ∞"}
    for theory, (style, width) in _THEORIES.items():
        if f"overlap_{theory}" in paths:
            handles.append(left.plot([], [], color=MUTED, linestyle=style, linewidth=width)[0])
            labels.append(names[theory])
    left.legend(handles, labels)
    return figure
