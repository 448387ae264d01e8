"""Two-point correlations between coordinates, against dimension."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orthoscope.plots.style import COLORS, DASHES, FILLS, MUTED, panels, styled

MARKERS = {"planted": "D", "brute force": "o", "real modes": "s", "reduced": "."}


@styled
def correlations_figure(correlations: xr.Dataset) -> Figure:
    """Mean square correlation for each sampler: simulated points, theory of one direction, the control near zero."""
    samplers = list(dict.fromkeys(correlations["sampler"].values))
    figure, axes = panels(1, len(samplers), size=(10, 4.2), sharey=True)
    for ax, sampler in zip(axes, samplers, strict=True):
        chosen = correlations.isel(point=np.flatnonzero(correlations["sampler"].values == sampler))
        guided = chosen.isel(point=np.flatnonzero(chosen["point_strength"].values != 0))
        for color, dash, fill, w in zip(COLORS, DASHES, FILLS, np.unique(guided["point_strength"]), strict=False):
            one = guided.isel(point=np.flatnonzero(guided["point_strength"].values == w))
            _points(one, ax, f"w = {w:g}", color=color, fillstyle=fill)
            order = np.argsort(one["point_dim"].values)
            theory = one["mean_square_correlation_mean_field"].values[order]
            ax.plot(
                one["point_dim"].values[order],
                theory,
                color=color,
                linestyle=dash,
                alpha=0.6,
                label=f"w = {w:g}: theory, one direction",
            )
        null = chosen.isel(point=np.flatnonzero(chosen["point_strength"].values == 0))
        if null.sizes["point"]:
            size = 2 * null["mean_square_correlation_stderr"]
            ax.plot(null["point_dim"], size, "_", color=MUTED, markersize=12, label="w = 0: twice the error about 0")
        ax.set(title=sampler, xlabel="dimension $d$", xscale="log", yscale="log")
        ax.legend(fontsize=8)
    axes[0].set_ylabel("mean square correlation")
    return figure


def _points(one: xr.Dataset, ax: Axes, label: str, **how: Any) -> None:
    for kind, marker in MARKERS.items():
        some = one.isel(point=np.flatnonzero(one["kind"].values == kind))
        ax.errorbar(
            some["point_dim"], some["mean_square_correlation"], 2 * some["mean_square_correlation_stderr"], fmt=marker,
            elinewidth=1, label=f"{label}, {kind}", **how,
        )  # fmt: skip
