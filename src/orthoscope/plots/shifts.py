"""Mean and variance shift against rate and dimension."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orthoscope.plots.style import COLORS, MUTED, panels, styled, zero_line

TITLES = {"mean_shift": "Mean shift", "variance_shift": "Variance shift"}
LABELS = {"mean_shift": r"$\delta\mu$", "variance_shift": r"$\delta V$"}
MARKERS = {"brute force": "o", "planted": "D"}


def _points(ax: Axes, points: xr.Dataset, x: str, name: str, color: str) -> None:
    for kind, marker in MARKERS.items():
        one = points.isel(point=np.flatnonzero(points["kind"].values == kind))
        filled = color if kind == "brute force" else "white"
        ax.errorbar(
            one[x], one[name], 2 * one[f"{name}_stderr"], fmt=marker, color=color, markerfacecolor=filled, elinewidth=1,
        )  # fmt: skip
        ax.plot(one[x], one[f"{name}_finite_dim"], "_", color=color, markersize=12, markeredgewidth=1.6)


def _key(ax: Axes, entries: dict[str, dict[str, object]]) -> None:
    handles = [ax.plot([], [], **style)[0] for style in entries.values()]  # type: ignore[arg-type]
    ax.legend(handles, list(entries))


_SYMBOLS: dict[str, dict[str, object]] = {
    "theory, d = ∞": {"color": MUTED},
    "theory, same d": {"color": MUTED, "marker": "_", "linestyle": "", "markersize": 12, "markeredgewidth": 1.6},
    "exact simulation": {"color": MUTED, "marker": "o", "linestyle": ""},
    "planted simulation": {"color": MUTED, "marker": "D", "linestyle": "", "markerfacecolor": "white"},
}


@styled
def rate_figure(rates: xr.Dataset) -> Figure:
    """Distortion through the critical rate: curves are theory, points are simulations."""
    figure, axes = panels(1, 2, size=(10, 4))
    for ax, name in zip(axes, TITLES, strict=True):
        for color, w in zip(COLORS, rates["strength"].values, strict=False):
            curve = rates[f"{name}_curve"].sel(strength=w)
            ax.plot(rates["rate"], curve, color=color, label=f"w = {w:g}")
            points = rates.isel(point=np.flatnonzero(rates["point_strength"].values == w))
            _points(ax, points, "point_rate", name, color)
            critical = float(rates["critical_rate"].sel(critical_strength=w))
            ax.axvline(critical, color=color, linewidth=0.8, linestyle="--", alpha=0.6)
        zero_line(ax)
        ax.set(title=TITLES[name], xlabel=r"class rate $\beta = \log(M)/d$", ylabel=LABELS[name])
    strengths: dict[str, dict[str, object]] = {
        f"w = {w:g}": {"color": color} for color, w in zip(COLORS, rates["strength"].values, strict=False)
    }
    _key(axes[0], {**strengths, **_SYMBOLS})
    return figure


@styled
def dim_figure(dims: xr.Dataset) -> Figure:
    """Distortion against dimension: with exponentially many classes it persists, with a fixed number it dies."""
    figure, axes = panels(1, 2, size=(10, 4))
    names = {"exponential": "M = exp({rate:g} d)", "fixed": "M = {classes}"}
    for ax, name in zip(axes, TITLES, strict=True):
        sign = 1 if name == "mean_shift" else -1
        for color, family in zip(COLORS, names, strict=False):
            ax.plot(dims["dim"], sign * dims[f"{name}_curve"].sel(family=family), color=color)
            points = dims.isel(point=np.flatnonzero(dims["point_family"].values == family))
            _points(
                ax,
                points.assign({name: sign * points[name], f"{name}_finite_dim": sign * points[f"{name}_finite_dim"]}),
                "point_dim",
                name,
                color,
            )
        ax.set(
            title=TITLES[name] if sign > 0 else "Variance lost", xlabel="dimension $d$",
            ylabel=LABELS[name] if sign > 0 else r"$-\delta V$", xscale="log",
        )  # fmt: skip
        zero_line(ax)
    families: dict[str, dict[str, object]] = {
        label.format(rate=dims.attrs["rate"], classes=dims.attrs["classes"]): {"color": color}
        for color, label in zip(COLORS, names.values(), strict=False)
    }
    _key(axes[0], {**families, **_SYMBOLS})
    return figure
