"""Mean shift against diversity, by method."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from orthoscope.plots.style import COLORS, INK, MUTED, panels, styled

SHOWN = {
    "constant": (MUTED, "x"), "step": (COLORS[0], "o"), "linear": (COLORS[5], "P"), "design": (INK, "*"),
    "set-point": (COLORS[1], "s"), "fbg": (COLORS[4], "v"), "sees odds, effect": (COLORS[2], "D"),
    "learned": (COLORS[3], "^"),
}  # fmt: skip
_SIDE = 0.05  # of a panel, below a gain of 0


@styled
def control_figure(result: xr.Dataset) -> Figure:
    """One panel for every setting: means over cases of every value of a knob, above unguided samples."""
    settings = [str(one) for one in result["setting"].values]
    columns = min(3, len(settings))
    rows = -(-len(settings) // columns)
    figure, axes = panels(rows, columns, size=(3.4 * columns, 3.2 * rows))
    for setting, ax in zip(settings, axes, strict=False):
        mean = result.sel(setting=setting).mean("case")
        gain = mean["mean_shift"] - float(mean["mean_shift"][0])
        ratio = mean["variance_ratio"].clip(min=1e-9)
        diversity = np.minimum(ratio, 1 / ratio)
        for method, (color, marker) in SHOWN.items():
            of = result["plan_method"].values == method
            ax.plot(diversity[of], gain[of], marker, color=color, label=method.partition(",")[0])
        top = max(float(gain.max()), 1e-3) * (1 + _SIDE)
        ax.set(title=setting, xlabel="diversity", ylabel="mean shift gained")
        ax.set(xlim=(0.45, 1.03), ylim=(-_SIDE * top, top))
    for ax in axes[len(settings) :]:
        ax.set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(SHOWN), labelcolor=INK)
    return figure
