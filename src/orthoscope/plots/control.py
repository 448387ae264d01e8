"""Fronts of adherence against diversity, by method."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from orthoscope.plots.style import COLORS, INK, MUTED, panels, styled

SHOWN = {
    "constant": MUTED, "step": COLORS[0], "blind, class": COLORS[5], "set-point": COLORS[1], "fbg": COLORS[4],
    "sees ratio, class": COLORS[2], "learned": COLORS[3],
}  # fmt: skip


@styled
def control_figure(result: xr.Dataset) -> Figure:
    """One panel for every setting: means over cases of every value of a knob, above unguided samples."""
    settings = [str(one) for one in result["setting"].values]
    columns = min(4, len(settings))
    figure, axes = panels(
        -(-len(settings) // columns), columns, size=(3.4 * columns, 3.2 * -(-len(settings) // columns))
    )
    for setting, ax in zip(settings, axes, strict=False):
        mean = result.sel(setting=setting).mean("case")
        gain = mean["class_posterior"] - float(mean["class_posterior"][0])
        ratio = mean["variance_ratio"].clip(min=1e-9)
        diversity = np.minimum(ratio, 1 / ratio)
        for method, color in SHOWN.items():
            of = result["method"].values == method
            ax.plot(diversity[of], gain[of], "o", color=color, label=method.partition(",")[0])
        ax.axhline(0, color=MUTED, linewidth=1)
        ax.set(title=setting, xlabel="diversity", ylabel="posterior gained")
    for ax in axes[len(settings) :]:
        ax.set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(SHOWN), labelcolor=INK)
    return figure
