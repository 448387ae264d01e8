"""Conditional, tilted and guided law side by side, on a line and in a plane."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orthoscope.plots.style import COLORS, GRID, INK, MUTED, panels, styled

TITLES = {"conditional": "Conditional", "tilted": "Tilted", "guided": "Guided"}
SHADES = {"conditional": MUTED, "tilted": COLORS[2], "guided": COLORS[1]}
SAMPLES = {"tilted": "weighted paths", "guided": "samples of the SDE"}


def _line(ax: Axes, result: xr.Dataset, law: str) -> None:
    x, density = result["x"], result["line_density"]
    if law != "conditional":
        bins = result["bin"]
        width = float(bins[1] - bins[0])
        sampled = result["line_histogram"][0 if law == "tilted" else 1]
        ax.bar(bins, sampled, width=width, color=SHADES[law], alpha=0.35, label=SAMPLES[law])
        ax.plot(x, density.sel(law="conditional"), color=MUTED, linewidth=1.0, linestyle=":", label="conditional")
    exact = {"conditional": "exact", "tilted": "exact, by quadrature", "guided": "exact, of the ODE"}[law]
    ax.plot(x, density.sel(law=law), color=SHADES[law], label=exact)
    ax.set(title=TITLES[law], xlabel="x")
    ax.legend(fontsize=8)


def _plane(ax: Axes, result: xr.Dataset, law: str) -> None:
    density = result["plane_density"].sel(law=law)
    ax.contourf(result["a"], result["b"], density.T, levels=8, cmap="Greys", alpha=0.75)
    shown = result["plane_shown"].sel(law=law)
    ax.plot(shown[:, 0], shown[:, 1], ".", color=SHADES[law], markersize=2.5)
    center = result["plane_mean"].sel(law=law)
    ax.plot(*center.values, "+", color=INK, markersize=11, markeredgewidth=1.6, label="mean")
    ax.legend(fontsize=8, loc="lower left")
    ax.set(xlim=(-3.5, 3.5), ylim=(-3.0, 3.0), xlabel="$x_1$", aspect="equal")
    ax.grid(color=GRID)


@styled
def tilted_figure(result: xr.Dataset) -> Figure:
    """Above: densities on a line with histograms. Below: the same in a plane, shaded where dense."""
    figure, axes = panels(2, 3, size=(11, 7))
    for k, law in enumerate(TITLES):
        _line(axes[k], result, law)
        _plane(axes[k + 3], result, law)
    top = max(ax.get_ylim()[1] for ax in axes[:3])
    for ax in axes[:3]:
        ax.set(xlim=(-3.5, 3.5), ylim=(0, top))
    axes[0].set_ylabel("density")
    axes[3].set_ylabel("$x_2$")
    return figure
