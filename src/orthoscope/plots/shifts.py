"""Mean and variance shift against rate and dimension."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from orthoscope.plots.style import COLORS, DASHES, MARKERS, MUTED, label_ends, panels, styled, zero_line

TITLES = {"mean_shift": "Mean shift", "variance_shift": "Variance shift"}
LABELS = {"mean_shift": r"$\delta\mu$", "variance_shift": r"$\delta V$"}
FILLS: dict[str, Any] = {"brute force": "full", "planted": "none"}


def _points(ax: Axes, points: xr.Dataset, x: str, name: str, color: str, marker: str) -> None:
    for kind, fill in FILLS.items():
        one = points.isel(point=np.flatnonzero(points["kind"].values == kind))
        ax.errorbar(
            one[x], one[name], 2 * one[f"{name}_stderr"], fmt=marker, color=color, fillstyle=fill, elinewidth=1,
        )  # fmt: skip
        ax.plot(one[x], one[f"{name}_finite_dim"], "_", color=color, markersize=12, markeredgewidth=1.6)


_SYMBOLS: dict[str, dict[str, Any]] = {
    "theory, d = ∞": {"color": MUTED},
    "theory, same d": {"color": MUTED, "marker": "_", "linestyle": "", "markersize": 12, "markeredgewidth": 1.6},
    "exact simulation": {"color": MUTED, "marker": "o", "linestyle": ""},
    "planted simulation": {"color": MUTED, "marker": "o", "linestyle": "", "fillstyle": "none"},
}


def _key(figure: Figure) -> None:
    """What is theory and what simulation; which of the curves is which they say at their ends."""
    handles = [Line2D([], [], **style) for style in _SYMBOLS.values()]
    figure.legend(handles, list(_SYMBOLS), loc="outside lower center", ncols=len(handles))


@styled
def rate_figure(rates: xr.Dataset) -> Figure:
    """Distortion through the critical rate: curves are theory, points are simulations."""
    figure, axes = panels(1, 2, size=(10, 4))
    for ax, name in zip(axes, TITLES, strict=True):
        lines = []
        for color, marker, dash, w in zip(COLORS, MARKERS, DASHES, rates["strength"].values, strict=False):
            curve = rates[f"{name}_curve"].sel(strength=w)
            lines += ax.plot(rates["rate"], curve, color=color, linestyle=dash, label=f"w = {w:g}")
            points = rates.isel(point=np.flatnonzero(rates["point_strength"].values == w))
            _points(ax, points, "point_rate", name, color, marker)
            critical = float(rates["critical_rate"].sel(critical_strength=w))
            ax.axvline(critical, color=color, linewidth=0.8, linestyle=dash, alpha=0.6)
        zero_line(ax)
        ax.set(title=TITLES[name], xlabel=r"class rate $\beta = \log(M)/d$", ylabel=LABELS[name])
        label_ends(ax, lines)
    _key(figure)
    return figure


@styled
def dim_figure(dims: xr.Dataset) -> Figure:
    """Distortion against dimension: with exponentially many classes it persists, with a fixed number it dies."""
    figure, axes = panels(1, 2, size=(10, 4))
    names = {"exponential": "M = exp({rate:g} d)", "fixed": "M = {classes}"}
    for ax, name in zip(axes, TITLES, strict=True):
        sign = 1 if name == "mean_shift" else -1
        lines = []
        for color, marker, dash, (family, label) in zip(COLORS, MARKERS, DASHES, names.items(), strict=False):
            curve = sign * dims[f"{name}_curve"].sel(family=family)
            told = label.format(rate=dims.attrs["rate"], classes=dims.attrs["classes"])
            lines += ax.plot(dims["dim"], curve, color=color, linestyle=dash, label=told)
            points = dims.isel(point=np.flatnonzero(dims["point_family"].values == family))
            _points(
                ax,
                points.assign({name: sign * points[name], f"{name}_finite_dim": sign * points[f"{name}_finite_dim"]}),
                "point_dim",
                name,
                color,
                marker,
            )
        ax.set(
            title=TITLES[name] if sign > 0 else "Variance lost", xlabel="dimension $d$",
            ylabel=LABELS[name] if sign > 0 else r"$-\delta V$", xscale="log",
        )  # fmt: skip
        zero_line(ax)
        label_ends(ax, lines)
    _key(figure)
    return figure
