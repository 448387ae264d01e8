"""Designed schedules against windows over a grid of class rates and widths."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orthoscope.plots.style import COLORS, INK, MARKERS, panels, styled, zero_line

_OFFSETS = {"design": 0.0, "step": 0.22, "linear": -0.22}
_MARKS = {"design": "*", "step": "o", "linear": "s"}


@styled
def design_grid_figure(grid: xr.Dataset) -> Figure:
    """Mean shifts at the variance asked for, sampled and by theory, and how far every family stays behind."""
    figure, axes = panels(1, 2, size=(12.5, 4.6), width_ratios=(1.2, 1))
    names = [f"{rate:g}, {std:g}" for rate in grid["rate"].values for std in grid["std"].values]
    _sampled(axes[0], grid)
    _behind(axes[1], grid)
    for ax in axes:
        ax.set_xticks(np.arange(len(names)), names, rotation=60, ha="right", fontsize=8)
        ax.set_xlabel("class rate, width")
        ax.legend(loc="best", fontsize=8)
    return figure


def _sampled(ax: Axes, grid: xr.Dataset) -> None:
    at = np.arange(grid["mean_shift_theory"].size)
    ax.plot(at, grid["mean_shift_theory"].values.ravel(), "_", color=INK, markersize=18, label="design, theory")
    for color, (name, offset) in zip(COLORS, _OFFSETS.items(), strict=False):
        one, error = (grid[key].sel(sampled=name).values.ravel() for key in ("mean_shift", "mean_shift_stderr"))
        ax.errorbar(at + offset, one, 2 * error, fmt=_MARKS[name], color=color, label=f"{name}, sampled")
    zero_line(ax)
    ax.set(title="Mean shift at the variance asked for", ylabel=r"mean shift $\delta\mu$")


def _behind(ax: Axes, grid: xr.Dataset) -> None:
    at = np.arange(grid["mean_shift_theory"].size)
    for color, marker, name in zip(COLORS, MARKERS, grid["family"].values, strict=False):
        margin = grid["margin"].sel(family=name).values.ravel()
        ax.plot(
            at, np.where(np.isfinite(margin), margin, np.nan), marker, color=color, label=str(name).replace("_", " ")
        )
    zero_line(ax)
    ax.set(title="How far each family stays behind the design", ylabel=r"loss of mean shift $\delta\mu$")
