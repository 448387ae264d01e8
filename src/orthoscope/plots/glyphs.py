"""Networks of real classes beside what their data imply; and sheets of characters in many faces."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from orthoscope.plots.style import COLORS, HATCHES, INK, MUTED, panels, styled

_ROWS, _COLUMNS = 12, 21  # of a sheet at most, spread evenly


@styled
def glyph_sheet(levels: NDArray[np.uint8]) -> Figure:
    """Characters in rows, faces in columns, of gray levels 0 to 15 (characters, faces, side, side)."""
    rows, columns = (
        np.arange(min(n, most)) * n // min(n, most) for n, most in zip(levels.shape[:2], (_ROWS, _COLUMNS), strict=True)
    )
    shown = levels[np.ix_(rows, columns)]
    figure, (ax,) = panels(1, 1, size=(10.5, 6.2))
    ax.imshow(np.block([[*row] for row in shown]), cmap="gray_r", vmin=0, vmax=15, interpolation="nearest")
    ax.set(title=f"{len(rows)} of {len(levels)} characters in {len(columns)} of {levels.shape[1]} faces")
    ax.set_axis_off()
    return figure


_TITLES = {"gain": "variance ratio gained", "distance_gain": "distance gained"}


@styled
def glyphs_figure(result: xr.Dataset) -> Figure:
    """Gain and distance of every window above constant strength of equal mean shift; bars of two standard errors."""
    models, sources = ([str(one) for one in result[name].values] for name in ("model", "source"))
    windows = [str(one) for one in result["schedule"].values if not str(one).startswith("constant")]
    figure, axes = panels(len(models), len(_TITLES), size=(11, 2.6 * len(models)), sharex=True)
    at, thick = np.arange(len(windows)), 0.8 / len(sources)
    for k, ax in enumerate(axes):
        model, name = models[k // len(_TITLES)], list(_TITLES)[k % len(_TITLES)]
        for n, source in enumerate(sources):
            one = result.sel(model=model, source=source, schedule=windows)
            place = at + (n - (len(sources) - 1) / 2) * thick
            bars = ax.bar(place, one[name], thick, yerr=2 * one[f"{name}_stderr"], color=COLORS[n], label=source)
            for bar in bars:
                bar.set(hatch=HATCHES[n], edgecolor="white")
        ax.axhline(0, color=MUTED, linewidth=1)
        ax.set(title=f"{model}: {_TITLES[name]}")
        ax.set_xticks(at, windows)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(sources), labelcolor=INK)
    return figure
