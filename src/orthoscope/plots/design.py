"""A designed schedule over noise, and where it and others lie in the plane of mean shift and variance."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orthoscope.plots.style import COLORS, DASHES, INK, MUTED, panels, styled

_SHORT = {"three_phase": "three phases"}
_SIZE = (370.0, 245.0)  # of the plane, in points, about
_LABEL = (70.0, 8.5)  # of a name
_ROOM = 0.1  # for names at the right
_SHOWN = ("constant", "step", "linear", "interval", "three_phase")


@styled
def design_figure(design: xr.Dataset) -> Figure:
    """Strength over noise with the moment of commitment, and every schedule in the plane of the two moments."""
    figure, axes = panels(1, 2, size=(12.5, 4.8), width_ratios=(1.05, 1))
    _strengths(axes[0], design)
    _plane(axes[1], design)
    return figure


def _strengths(ax: Axes, design: xr.Dataset) -> None:
    for color, dash, name in zip(COLORS[1:], DASHES[1:], (n for n in _SHOWN if n in design["schedule"]), strict=False):
        one = design["strength"].sel(schedule=name)
        ax.plot(design["time"], one, color=color, linestyle=dash, linewidth=1.3, alpha=0.8, label=_title(name))
    ax.plot(design["time"], design["strength"].sel(schedule="design"), color=COLORS[0], linewidth=2.6, label="design")
    ax.axhline(0.0, color=MUTED, linewidth=0.9, zorder=1)
    ax.set_xscale("log")
    ax.invert_xaxis()
    commitment = float(design.attrs["speciation_time"])
    if np.isfinite(commitment) and commitment > float(design["time"].min()):
        ax.axvspan(float(design["time"].min()), commitment, color="#eef1f4", zorder=0)
        ax.axvline(commitment, color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
        ax.annotate(
            "class decided:\nno effect from here", (commitment, 0.98), xycoords=("data", "axes fraction"),
            xytext=(5, 0), textcoords="offset points", va="top", fontsize=8.5, color=INK,
        )  # fmt: skip
    ax.set(
        title="Schedule",
        xlabel="variance time $t$ (noise on the left, data on the right)",
        ylabel="guidance strength $w$",
    )
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)


def _plane(ax: Axes, design: xr.Dataset) -> None:
    if design.sizes["front"]:
        order = np.argsort(design["front_variance_ratio"].values)
        traced = [design[f"front_{name}"].values[order] for name in ("variance_ratio", "mean_shift")]
        ax.plot(
            *traced, color=COLORS[0], linewidth=1.0, linestyle=":", marker=".", markersize=8, label="best attainable"
        )
    for kind, marker, color in (("published", "s", MUTED), ("simple", "o", COLORS[1]), ("design", "*", COLORS[0])):
        _outcomes(ax, design.isel(schedule=np.flatnonzero(design["kind"].values == kind)), kind, marker, color)
    if "sampled_mean_shift" in design:
        (x, dx), (y, dy) = (
            (float(design[name]), 2 * float(design[f"{name}_stderr"]))
            for name in ("sampled_variance_ratio", "sampled_mean_shift")
        )
        style: dict[str, Any] = {"fmt": "none", "ecolor": INK, "elinewidth": 1.2, "zorder": 5}
        ax.errorbar(x, y, xerr=dx, yerr=dy, label="design, sampled (2 errors)", **style)
    ax.scatter([], [], s=34, marker="o", facecolors="none", edgecolors=MUTED, label="misses a constraint")
    limits = ax.get_xlim(), ax.get_ylim()
    ax.axvline(1.0, color=MUTED, linewidth=0.9, zorder=1)
    ax.axhline(0.0, color=MUTED, linewidth=0.9, zorder=1)
    ax.set(xlim=(limits[0][0], limits[0][1] + _ROOM * np.ptp(limits[0])), ylim=limits[1])
    below = -_labels(ax, design.isel(schedule=np.flatnonzero(design["kind"].values != "design")))
    if below > 0:  # room for a stack of names that would cover the axis
        ax.set_ylim(bottom=limits[1][0] - np.ptp(limits[1]) * below / max(_SIZE[1] - below, 1.0))
    asked = design.attrs["floors"].replace("_", " ").replace(">=", "≥")
    ax.set(
        title=f"Outcome{f', {asked}' if asked else ''}",
        xlabel="variance ratio $V/s^2$",
        ylabel=r"mean shift $\delta\mu$",
    )
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)


def _outcomes(ax: Axes, rows: xr.Dataset, kind: str, marker: str, color: str) -> None:
    size = 190 if kind == "design" else 34
    feasible = rows["feasible"].values.astype(bool)
    for chosen, face in ((feasible, color), (~feasible, "none")):
        ax.scatter(
            rows["variance_ratio"].values[chosen], rows["mean_shift"].values[chosen], s=size, marker=marker,
            facecolors=face, edgecolors=color, zorder=4 if kind == "design" else 3,
        )  # fmt: skip
    ax.scatter([], [], s=size, marker=marker, color=color, label=kind)


def _labels(ax: Axes, rows: xr.Dataset) -> float:
    """Names beside their points, from the top down, each below those that would cover it.

    Returns:
        Height of the lowest name above the axis, in points.
    """
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    x = (rows["variance_ratio"].values - left) / (right - left) * _SIZE[0]
    y = (rows["mean_shift"].values - bottom) / (top - bottom) * _SIZE[1]
    placed: list[tuple[float, float]] = []
    for k in np.argsort(-y, kind="stable"):
        at = float(y[k])
        for other_x, other_y in placed:
            if abs(other_x - x[k]) < _LABEL[0] and at > other_y - _LABEL[1]:
                at = other_y - _LABEL[1]
        placed.append((float(x[k]), at))
        where = (float(rows["variance_ratio"][k]), float(rows["mean_shift"][k]))
        name = _title(str(rows["schedule"].values[k]))
        offset = (6.0, at - float(y[k]) - 2.5)
        ax.annotate(name, where, xytext=offset, textcoords="offset points", fontsize=7.5, color=INK)
    return min((at for _, at in placed), default=0.0) - _LABEL[1]


def _title(name: str) -> str:
    return _SHORT.get(name, name.replace("_", " "))
