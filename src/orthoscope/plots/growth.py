"""How the cost of a simulation grows: one panel per size."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from orthoscope.plots.style import COLORS, MUTED, panels, styled

_NAMES = {"modes": "modes $M$", "dim": "dimension $d$", "rows": "trajectories $N$", "steps": "steps"}


@styled
def growth_figure(growth: xr.Dataset) -> Figure:
    """Seconds of one draw against each size, the fitted power law and the cost model."""
    figure, axes = panels(1, 4, size=(13, 3.6), sharey=True)
    for ax, color, name in zip(axes, COLORS, growth["varied"].values.tolist(), strict=False):
        at = np.flatnonzero(growth["size"].values == name)
        x = growth["value"].values[at].astype(float)
        law = growth.sel(varied=name)
        exponent = float(law["exponent"])
        ax.errorbar(x, growth["seconds"][at], 2 * growth["seconds_stderr"][at], fmt="o", color=color, label="measured")
        ax.plot(
            x, float(law["amplitude"]) * x**exponent, color=color, linewidth=1.2,
            label=f"exponent {exponent:.2f} ± {float(law['exponent_stderr']):.2f}",
        )  # fmt: skip
        ax.plot(x, growth["seconds_modelled"][at], ":", color=MUTED, label="cost model")
        ax.set(title=f"Time against {_NAMES[name]}", xlabel=_NAMES[name], xscale="log", yscale="log")
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.legend()
    axes[0].set_ylabel("seconds per draw, one thread")
    return figure
