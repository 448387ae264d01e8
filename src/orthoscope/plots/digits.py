"""Real data: samples under schedules, and variance against mean shift."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from orthoscope.plots.style import COLORS, MARKERS, MUTED, panels, styled


@styled
def digits_images(digits: xr.Dataset, schedules: list[str]) -> Figure:
    """Samples of each class, one row per schedule; the same noise in every row."""
    count, labels = digits.sizes["sample"], digits["label"].values
    figure, axes = panels(len(schedules), 1, size=(11, 0.5 * len(schedules) + 0.5))
    for ax, schedule in zip(axes, schedules, strict=True):
        shown = digits["image"].sel(schedule=schedule)
        gap = np.full((8, 4), np.nan)
        strips = [
            np.hstack(
                [np.pad(image, ((0, 0), (0, 1)), constant_values=np.nan) for image in shown.sel(label=label).values]
            )
            for label in labels
        ]
        row = np.hstack([part for strip in strips for part in (strip, gap)][:-1])
        ax.imshow(row, cmap="gray_r", vmin=0.0, vmax=16.0, interpolation="nearest")
        ax.set_ylabel(schedule, rotation=0, ha="right", va="center", fontsize=9)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.grid(visible=False)
        for spine in ax.spines.values():
            spine.set_visible(False)
    figure.suptitle(
        f"Digits {', '.join(map(str, labels))}: {count} samples each, the same noise in every row", fontsize=10
    )
    return figure


@styled
def digits_figure(digits: xr.Dataset) -> Figure:
    """Variance kept against mean shift: constant strengths as a line, windows as points."""
    figure, axes = panels(1, digits.sizes["label"], size=(12, 4), sharey=True)
    constants, windows = list(digits.attrs["constants"]), list(digits["window"].values)
    for ax, label in zip(axes, digits["label"].values, strict=True):
        one = digits.sel(label=label)
        line = one.sel(schedule=constants)
        ax.errorbar(
            line["mean_shift"], line["variance_ratio"], 2 * line["variance_ratio_stderr"],
            2 * line["mean_shift_stderr"],
            fmt="o-", color=MUTED, label="constant strength",
        )  # fmt: skip
        for k, schedule in enumerate(windows):
            point = one.sel(schedule=schedule)
            ax.errorbar(
                point["mean_shift"], point["variance_ratio"], 2 * point["variance_ratio_stderr"],
                2 * point["mean_shift_stderr"], fmt=MARKERS[1 + k % (len(MARKERS) - 1)],
                color=COLORS[k % len(COLORS)], label=schedule,
            )  # fmt: skip
        ax.axhline(1.0, color=MUTED, linewidth=0.9)
        ax.set(title=f"Digit {label}", xlabel=r"mean shift $\delta\mu$")
    axes[0].set_ylabel("variance ratio (1: as in the data)")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3)
    return figure
