"""Guidance in one stage at a time: what it does between the modes of a class, and within them."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orthoscope.plots.style import COLORS, DASHES, MARKERS, MUTED, panels, styled, zero_line

LABELS = {"constant": "always", "early": "early only", "middle": "middle only", "late": "late only",
          "triangle": "triangle", "early, then negative": "early, then negative"}  # fmt: skip


def _against_strength(ax: Axes, stages: xr.Dataset, name: str) -> None:
    """Measured points on theory's lines, for two modes beside a Gaussian."""
    for color, marker, dash, (window, label) in zip(COLORS, MARKERS, DASHES, LABELS.items(), strict=True):
        one = stages.sel(problem="gaussian", window=window)
        ax.errorbar(
            one["strength"], one[name], 2 * one[f"{name}_stderr"], fmt=marker, color=color, elinewidth=1, label=label
        )
        ax.plot(one["strength"], one[f"{name}_theory"], color=color, linestyle=dash, linewidth=1.2)


def _exchange(ax: Axes, stages: xr.Dataset, problem: str, name: str) -> None:
    """Change of a diversity against the mean shift bought with it, one line of strengths per window."""
    for color, marker, dash, window in zip(COLORS, MARKERS, DASHES, LABELS, strict=True):
        one = stages.sel(problem=problem, window=window)
        ax.errorbar(
            one["mean_shift_change"], one[f"{name}_change"], 2 * one[f"{name}_change_stderr"],
            2 * one["mean_shift_change_stderr"], marker=marker, linestyle=dash, color=color,
            elinewidth=1, linewidth=1,
        )  # fmt: skip
    zero_line(ax)
    ax.axvline(0.0, color=MUTED, linewidth=0.9, zorder=1)


@styled
def stages_figure(stages: xr.Dataset) -> Figure:
    """Weak mode and width within modes against strength; what a mean shift costs in many classes."""
    figure, axes = panels(2, 2, size=(11, 8))
    _against_strength(axes[0], stages, "weak_weight")
    axes[0].axhline(float(stages["true_weak_weight"].sel(problem="gaussian")), color=MUTED, linewidth=0.9)
    axes[0].set(title="Between modes: weight of the weak one", xlabel="strength $w$", ylabel="weight")
    _against_strength(axes[1], stages, "mode_spread")
    axes[1].axhline(1.0, color=MUTED, linewidth=0.9)
    axes[1].set(title="Within modes: variance left", xlabel="strength $w$", ylabel="variance ratio", yscale="log")
    _exchange(axes[2], stages, "modes", "mode_entropy")
    axes[2].set(
        title="Many classes of several modes", xlabel=r"mean shift gained $\delta\mu$", ylabel="change of mode entropy"
    )
    _exchange(axes[3], stages, "classes", "mode_spread")
    axes[3].set(
        title="Many classes of one mode", xlabel=r"mean shift gained $\delta\mu$", ylabel="change of variance ratio"
    )
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names))
    return figure
