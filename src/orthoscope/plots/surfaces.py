"""Guidance on a curved surface and on cubes: variance, and who left, by pair of branches and schedule."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from orthoscope.plots.style import COLORS, HATCHES, INK, MUTED, panels, styled

TITLES = {
    "variance_ratio": "Variance ratio",
    "left": "Left surface or own cube",
    "lost": "Far from all classes",
}
PAIRS = ("exact", "gaussian", "small", "better")
_USUAL = {"variance_ratio": 1.0, "left": 0.0, "lost": 0.0}


@styled
def surfaces_figure(surfaces: xr.Dataset) -> Figure:
    """One row for every law; bars are means over draws, with two standard errors of those of the draws."""
    laws, schedules = ([str(one) for one in surfaces[name].values] for name in ("law", "schedule"))
    figure, axes = panels(len(laws), len(TITLES), size=(13, 3.6 * len(laws)), sharex=True)
    at, thick = np.arange(len(schedules)), 0.8 / len(PAIRS)
    for k, ax in enumerate(axes):
        law, name = laws[k // len(TITLES)], list(TITLES)[k % len(TITLES)]
        for n, pair in enumerate(PAIRS):
            one = surfaces.sel(law=law, pair=pair)
            error = np.sqrt((one[f"{name}_stderr"] ** 2).sum("seed")) / one.sizes["seed"]
            ax.bar(
                at + (n - 1.5) * thick, one[name].mean("seed"), thick, yerr=2 * error, color=COLORS[n],
                hatch=HATCHES[n], edgecolor="white", label=pair,
            )  # fmt: skip
        ax.axhline(_USUAL[name], color=MUTED, linewidth=1)
        ax.set(title=f"{law}: {TITLES[name].lower()}")
        ax.set_xticks(at, schedules, rotation=30, ha="right")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(PAIRS), labelcolor=INK)
    return figure
