"""Two classes on a line: paths through time, and where they end."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from orthoscope.plots.style import COLORS, INK, MUTED, panels, styled


@styled
def two_class_figure(found: xr.Dataset) -> Figure:
    """Paths of the variance-preserving state over the noised supports, and samples on conditional and tilted law."""
    figure, (left, right) = panels(1, 2, size=(10, 4))
    tau = 1 / np.sqrt(1 + found["time"].values)  # from noise, 0, to data, 1
    for low, high in np.reshape(found.attrs["supports"], (-1, 2)):
        left.fill_between(tau, low * tau, high * tau, color=MUTED, alpha=0.25, linewidth=0)
    for name, side in (("class", 1), ("other class", -1)) if len(found.attrs["supports"]) else ():
        left.annotate(name, (0.99, 1.5 * side), ha="right", va="center", fontsize=8, color=INK)
    middle = found.sizes["start"] // 2
    for k, path in enumerate(found["path"].values.T):
        color, width = (INK, 1.8) if k == middle else (COLORS[0], 1.0)
        left.plot(tau, path, color=color, linewidth=width)
    left.set(
        title=f"Paths of the probability flow from $t$ = {found.attrs['t_max']:g}",
        xlabel=r"$\tau = e^{-t}$   (noise → data)",
        ylabel=r"state $\alpha x$",
    )
    right.hist(found["sample"].values, bins="rice", density=True, color=COLORS[0], alpha=0.5, label="guided")
    x = found["x"].values
    right.plot(x, found["conditional"], color=MUTED, label="conditional law")
    right.plot(x, found["tilted"], color=COLORS[1], linestyle="--", label="tilted law")
    dim = f", d = {found.attrs['dim']}, along the axis" if found.attrs["dim"] > 1 else ""
    right.set(title=f"Samples, w = {found.attrs['strength']:g}{dim}", xlabel="$x$", ylabel="density")
    right.legend()
    return figure
