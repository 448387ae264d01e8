"""Images of a folder by group: their variance, and beside it how far they are from real ones."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orthoscope.plots.style import COLORS, DASHES, INK, MARKERS, MUTED, panels, styled

_NAMED = 24  # groups that are named; more are shown in order of size
_LONGEST = 28  # letters of a name


@styled
def images_figure(found: xr.Dataset) -> Figure:
    """Variance of every group, and its distance from the reference, or the number of its effective images without one.

    Bars are intervals; lines are means over groups, the wide one with long dashes real images.
    """
    data = found if "condition" in found.dims else found.expand_dims(condition=["these images"])
    if "by_group_variance" not in data:
        known = {name: data[name].expand_dims(group=data["group"]) for name in _measured(data)}
        data = data.assign({f"by_group_{name}": column for name, column in known.items()})
    named = data.sizes["group"] <= _NAMED
    height = 0.24 * max(3, data.sizes["group"]) * (0.6 + 0.4 * data.sizes["condition"]) if named else 4.2
    figure, axes = panels(1, 2, size=(10, height + 1.3), sharey=True)
    second = ("class_distance", "Distance from the reference", "in units of its spread, per direction")
    if "class_distance" not in data:
        second = ("vendi", "Images that differ", "Vendi score")
    shown = (("variance", "Variance", "per dimension of the features"), second)
    for ax, (name, title, label) in zip(axes, shown, strict=True):
        ax.set(title=title, xlabel=label)
        if f"by_group_{name}" in data:
            _panel(ax, data, name, named=named)
    axes[0].set_ylim(data.sizes["group"] - 0.4, -0.6)
    if not named:
        axes[0].set(ylabel=f"{data.sizes['group']} groups, by variance", yticks=[])
    handles, labels = axes[1].get_legend_handles_labels()
    if len(handles) > 1:
        figure.legend(handles, labels, loc="outside lower center", ncols=5)
    return figure


def _measured(data: xr.Dataset) -> list[str]:
    ends = ("", "_low", "_high")
    return [name + end for name in ("variance", "class_distance", "vendi") for end in ends if name + end in data]


def _panel(ax: Axes, data: xr.Dataset, name: str, *, named: bool) -> None:
    conditions = data["condition"].values
    at = np.arange(data.sizes["group"])
    if named:
        labels = [_short(str(group)) for group in data["group"].values]
        ax.set_yticks(at, labels, color=INK, parse_math=False)
    for k, condition in enumerate(conditions):
        one = data.sel(condition=condition)
        order = at if named else np.argsort(one["by_group_variance"].values)
        value, low, high = (one[f"by_group_{name}{end}"].values[order] for end in ("", "_low", "_high"))
        shift = 0.36 * (k / max(1, len(conditions) - 1) - 0.5) if len(conditions) > 1 else 0.0
        ax.errorbar(
            value, at + (shift if named else 0), xerr=np.nan_to_num(np.abs([value - low, high - value])),
            fmt=MARKERS[k % len(MARKERS)], color=COLORS[k % len(COLORS)], elinewidth=1.2, markersize=4,
            label=_short(str(condition)).replace("$", r"\$"),
        )  # fmt: skip
        ax.axvline(
            float(one[name]), color=COLORS[k % len(COLORS)], linestyle=DASHES[k % 5], linewidth=1.0, alpha=0.6, zorder=1
        )
    if name == "class_distance":
        of_real = float(data["real_class_distance"])
        ax.axvline(of_real, color=MUTED, linewidth=1.6, linestyle=DASHES[5], zorder=1, label="real images")
    ax.set_xlim(left=0)
    ax.grid(visible=False, axis="y")


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
