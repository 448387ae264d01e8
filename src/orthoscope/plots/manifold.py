"""Classes on a curved manifold: speciation and mean shift against candidate rates."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orthoscope.plots.style import COLORS, FILLS, INK, MARKERS, MUTED, panels, styled

TICKS = (0.1, 0.2, 0.5, 1.0, 2.0)
NAMES = {
    "ambient": r"ambient rate $\log(M)/d$",
    "intrinsic": r"intrinsic rate $\log(M)/k$",
    "capacity": "rate of equal capacity",
}


def _points(ax: Axes, manifold: xr.Dataset, rate: str, name: str, strength: float, offset: float = 0.0) -> None:
    """Color and filling tell k/d, marker tells d."""
    one = manifold.sel(strength=strength)
    for color, fill, fraction in zip(COLORS, FILLS, np.unique(one["point_fraction"]), strict=False):
        for marker, dim in zip(MARKERS, np.unique(one["point_dim"]), strict=False):
            here = one.isel(point=np.flatnonzero((one["point_fraction"] == fraction) & (one["point_dim"] == dim)))
            ax.errorbar(
                here[f"rate_{rate}"], here[name] + offset, 2 * here[f"{name}_stderr"], fmt=marker, color=color,
                fillstyle=fill, elinewidth=1, label=f"k/d = {fraction:g}, d = {dim:g}",
            )  # fmt: skip
    ax.set(xlabel=NAMES[rate], xscale="log", yscale="log", xticks=TICKS, xticklabels=[f"{tick:g}" for tick in TICKS])
    ax.minorticks_off()


@styled
def manifold_figure(manifold: xr.Dataset) -> Figure:
    """Speciation variance against three rates, and the mean shift against the ambient one; lines are flat space."""
    figure, axes = panels(2, 2, size=(11, 8.5))
    flat = manifold.sel(rate=slice(float(manifold["rate_ambient"].min()), float(manifold["rate_intrinsic"].max())))
    for ax, rate in zip(axes, NAMES, strict=False):
        ax.plot(flat["rate"], flat["flat_variance"], color=MUTED, linewidth=1.2, label="theory, flat")
        _points(ax, manifold, rate, "speciation_time", 0.0, offset=manifold.attrs["std"] ** 2)
        ax.set(
            title=f"Speciation against the {NAMES[rate].partition(' $')[0]}", ylabel="speciation variance $t_s + s^2$"
        )
    strength = float(manifold["strength"].values[-1])
    near = flat.sel(rate=slice(None, float(manifold["rate_ambient"].max())))
    axes[3].plot(near["rate"], near["flat_mean_shift"].sel(strength=strength), color=MUTED, linewidth=1.2)
    _points(axes[3], manifold, "ambient", "mean_shift", strength)
    axes[3].set(title=f"Mean shift at w = {strength:g}", ylabel=r"mean shift $\delta\mu$")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, labelcolor=INK)
    return figure
