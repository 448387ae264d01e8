"""Phase diagrams: rate against strength, and the plane of windows."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from orthoscope.plots.style import HATCHES, INK, MUTED, REGION_COLORS, panels, styled

_NAMES = {
    "w0": "$w_0$, strength at clean data",
    "slope": r"slope $\omega$",
    "rate": r"class rate $\beta$",
    "strength": "guidance strength $w$",
}


def _field(figure: Figure, ax: Axes, values: xr.DataArray, x: str, y: str, title: str) -> None:
    finite = values.values[np.isfinite(values.values)]
    largest = float(np.abs(finite).max()) if finite.size and np.abs(finite).max() > 0 else 1.0
    mesh = ax.pcolormesh(
        values[x], values[y], values.transpose(y, x), cmap="RdBu_r", norm=TwoSlopeNorm(0.0, -largest, largest),
        shading="auto", rasterized=True,
    )  # fmt: skip
    figure.colorbar(mesh, ax=ax, shrink=0.85)
    if np.ptp(finite) > 0 and min(values.shape) > 1:  # in gray, blue and red are alike: dashed lines are below zero
        lines = ax.contour(values[x], values[y], values.transpose(y, x), levels=6, colors=INK, linewidths=0.7)
        ax.clabel(lines, fontsize=7, fmt="%.2g")
    ax.set(title=title, xlabel=_NAMES[x], ylabel=_NAMES[y])
    ax.grid(visible=False)


def _regions(ax: Axes, region: xr.DataArray, x: str, y: str, title: str) -> None:
    names = [name for name in REGION_COLORS if (region == name).any()]
    codes = np.select([region.transpose(y, x).values == name for name in names], range(len(names)), default=np.nan)
    ax.pcolormesh(
        region[x], region[y], codes, cmap=ListedColormap([REGION_COLORS[n] for n in names]), shading="auto",
        vmin=-0.5, vmax=len(names) - 0.5, rasterized=True,
    )  # fmt: skip
    keys = []
    for k, name in enumerate(names):
        hatch = HATCHES[list(REGION_COLORS).index(name) % len(HATCHES)]
        if min(codes.shape) > 1:
            there = (codes == k).astype(float)
            area = ax.contourf(region[x], region[y], there, levels=[0.5, 1.5], colors="none", hatches=[hatch])
            area.set(edgecolor=MUTED, linewidth=0)
        keys.append(Patch(facecolor=REGION_COLORS[name], hatch=hatch, edgecolor=MUTED, linewidth=0, label=name))
    ax.set(title=title, xlabel=_NAMES[x], ylabel=_NAMES[y])
    ax.grid(visible=False)
    ax.legend(
        handles=keys, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=len(names), columnspacing=1.0,
        handletextpad=0.4,
    )  # fmt: skip


@styled
def phase_figure(diagram: xr.Dataset) -> Figure:
    """Regions of windows or regimes of constant strengths, mean shift and variance shift over a plane."""
    is_window = "w0" in diagram.dims
    x, y = ("slope", "w0") if is_window else ("rate", "strength")
    figure, axes = panels(1, 3, size=(13, 4.3))
    if is_window:
        _regions(axes[0], diagram["region"], x, y, "Regions")
    else:
        _regions(axes[0], diagram["regime"], x, y, "Regimes")
    _field(figure, axes[1], diagram["mean_shift"], x, y, r"Mean shift $\delta\mu$")
    _field(figure, axes[2], diagram["variance_shift"], x, y, r"Variance shift $\delta V$")
    return figure


@styled
def window_figure(windows: xr.Dataset) -> Figure:
    """The window diagram with simulated points, and measured against predicted shifts at these points."""
    figure, axes = panels(1, 3, size=(13, 4.3))
    _regions(axes[0], windows["region"], "slope", "w0", "Regions")
    axes[0].plot(windows["point_slope"], windows["point_w0"], "o", color=INK, markersize=6, clip_on=False)
    for k, name in enumerate(windows["point"].values):
        where = (float(windows["point_slope"][k]), float(windows["point_w0"][k]))
        axes[0].annotate(str(name), where, xytext=(6, 4), textcoords="offset points", color=INK, fontweight="bold")
    at = np.arange(windows.sizes["point"])
    for ax, name, title in ((axes[1], "mean_shift", "Mean shift"), (axes[2], "variance_shift", "Variance shift")):
        ax.bar(at, windows[f"{name}_mean_field"], width=0.7, color="#cbd2d9", label="theory, d = ∞")
        ax.plot(
            at,
            windows[f"{name}_finite_dim"],
            "_",
            color=MUTED,
            markersize=22,
            markeredgewidth=2,
            label="theory, same d",
        )
        ax.errorbar(at, windows[name], 2 * windows[f"{name}_stderr"], fmt="o", color=INK, label="exact simulation")
        ax.axhline(0.0, color=MUTED, linewidth=0.9)
        ax.set_xticks(at, windows["point"].values)
        ax.set(title=title, xlabel="point")
        ax.grid(visible=False, axis="x")
    axes[1].legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, columnspacing=1.0)
    return figure
