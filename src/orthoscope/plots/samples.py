"""Samples of one class, and rules beside each other."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from orthoscope.plots.style import COLORS, HATCHES, INK, MUTED, panels, styled

_SHOWN = 1000  # points of a scatter


@styled
def samples_figure(samples: xr.Dataset) -> Figure:
    """Guided samples on exact ones of the class, in the two directions in which the class varies most."""
    x, exact = samples["x"].values.astype(float), samples["reference"].values.astype(float)
    center = exact.mean(0)
    _, _, directions = np.linalg.svd(exact - center, full_matrices=False)
    figure, (left, right) = panels(1, 2, size=(10, 4))
    sets = ((exact, MUTED, "exact samples of the class"), (x, COLORS[0], "guided"))
    for k, (rows, color, label) in enumerate(sets):
        along = (rows - center) @ directions[:2].T
        second = along[:, 1] if along.shape[1] > 1 else np.zeros(len(along))
        left.scatter(
            along[:_SHOWN, 0], second[:_SHOWN], s=12, color=color, alpha=0.6, marker=".+"[k], linewidths=0.7,
            label=label,
        )  # fmt: skip
        right.hist(
            along[:, 0], bins="rice", density=True, color=color, alpha=0.55, hatch=HATCHES[k], histtype="stepfilled",
            edgecolor=INK, label=label,
        )  # fmt: skip
    left.set(title="In the class's two widest directions", xlabel="first direction", ylabel="second direction")
    right.set(title="Along the first", xlabel="first direction", ylabel="density")
    right.legend()
    return figure


@styled
def rules_figure(compared: xr.Dataset) -> Figure:
    """Every rule at its strength of equal effect: what is left of the variance, and the distance from the class."""
    figure, (left, right) = panels(1, 2, size=(10, 0.6 * compared.sizes["rank"] + 2.2))
    at = np.arange(compared.sizes["rank"])[::-1]
    for ax, name, ideal in ((left, "variance_ratio", 1.0), (right, "energy_distance", 0.0)):
        ax.errorbar(compared[name], at, xerr=2 * compared[f"{name}_stderr"], fmt="o", color=COLORS[0], elinewidth=1.4)
        ax.axvline(ideal, color=MUTED, linewidth=1.0, linestyle="--")
        ax.set_yticks(at, [str(rule) for rule in compared["rule"].values])
        ax.tick_params(axis="y", colors=INK)
    left.set(title="Variance left", xlabel="variance over the class's own")
    right.set(title="Distance from the class", xlabel="energy distance")
    right.tick_params(labelleft=False)
    return figure
