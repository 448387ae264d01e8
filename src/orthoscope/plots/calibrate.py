"""A calibration over noise levels: what the pair of predictions differs by, and what it tells."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orthoscope.plots.style import COLORS, GRID, INK, MARKERS, MUTED, panels, styled

_COLOR = {"pipeline": COLORS[0], "twin": COLORS[1]}
_MARKER = {"pipeline": MARKERS[0], "twin": MARKERS[1]}
_MARKERS = 10  # on a line, about
_NAME = {"pipeline": "pipeline", "twin": "exact twin"}


@styled
def calibrate_figure(result: xr.Dataset) -> Figure:
    """Squared score difference, information, commitment to come, and the diversity that strengths leave."""
    figure, axes = panels(2, 2, size=(12, 8.4))
    _difference(axes[0], result)
    _information(axes[1], result)
    _commitment(axes[2], result)
    _diversity(axes[3], result)
    for ax in axes[:3]:
        ax.set(xscale="log", xlabel="variance time $t$ (noise left, data right)")
        ax.minorticks_off()  # decades are enough, and hundreds of ticks are slow to draw
        ax.invert_xaxis()
    return figure


def _sources(result: xr.Dataset) -> list[tuple[str, xr.Dataset]]:
    return [(str(name), result.sel(source=name)) for name in result["source"].values]


def _look(source: str) -> dict[str, Any]:
    return {"color": _COLOR[source], "marker": _MARKER[source]}


def _every(time: xr.DataArray) -> int:
    return max(1, time.size // _MARKERS)


def _band(ax: Axes, one: xr.Dataset, time: str, name: str, **line: Any) -> None:
    """A measured line with its interval."""
    ax.fill_between(one[time], one[f"{name}_low"], one[f"{name}_high"], color=line.get("color"), alpha=0.18, lw=0)
    ax.plot(one[time], one[name], markevery=_every(one[time]), **line)


def _difference(ax: Axes, result: xr.Dataset) -> None:
    for source, one in _sources(result):
        _band(ax, one, "time", "score_difference", **_look(source), label=_NAME[source])
    seen = result["score_difference"].isel(source=0)  # an exact one falls to rounding once all is told
    ax.set(
        title="Squared difference of the two scores",
        yscale="log",
        ylim=(float(seen.min()) / 10, float(seen.max()) * 10),
        ylabel=r"$E|\nabla\log p_t(x|c) - \nabla\log p_t(x)|^2$",
    )
    ax.legend()


def _information(ax: Axes, result: xr.Dataset) -> None:
    top = 0.0
    for source, one in _sources(result):
        look, name = _look(source), _NAME[source]
        if "posterior_information" in one:
            _band(ax, one, "path_time", "posterior_information", **look, label=f"{name}: posterior of the classes")
            _band(ax, one, "path_time", "path_information", **look, ls="--", label=f"{name}: pair, along paths")
            top = max(top, float(one["path_information"].max()))
        else:
            _band(ax, one, "time", "class_information", **look, label=f"{name}: pair")
            top = max(top, float(one["class_information"].max()))
    if result.attrs["classes"] > 0:
        ax.axhline(np.log(result.attrs["classes"]), color=MUTED, lw=0.9, zorder=1)
        ax.text(0.01, np.log(result.attrs["classes"]), "log(classes)", transform=ax.get_yaxis_transform(), va="bottom")
    ax.set(title="Information about the class", ylabel="nats", ylim=(-0.05 * top, 1.1 * top))
    ax.legend(loc="upper left", bbox_to_anchor=(0.0, 0.9))


def _commitment(ax: Axes, result: xr.Dataset) -> None:
    first = result.isel(source=0)
    highest = min(float(first["time"].max()), float(first["range_high"]))
    ax.axvspan(float(first["range_low"]), highest, color=GRID, zorder=0)
    for source, one in _sources(result):
        look = _look(source)
        has_paths = "posterior_information" in one
        plain, time = (one["posterior_information"], "path_time") if has_paths else (one["class_information"], "time")
        if "asked_information" in one:
            guided = one["asked_information"]
            ax.plot(
                one[time],
                1 - guided / guided.isel(path_level=-1),
                **look,
                markevery=_every(one[time]),
                label=_NAME[source],
            )
        else:
            _band(ax, one, "time", "commitment_left", **look, label=_NAME[source])
        ax.plot(one[time], 1 - plain / plain[-1], **look, markevery=_every(one[time]), lw=1, ls="--")
        ax.plot([float(one["half_time"])] * 2, [0, 1], **look, markevery=[1], lw=1, ls=":")
    ax.plot([], [], color=INK, lw=1, ls="--", label="at strength 0")
    ax.plot([], [], color=INK, lw=1, ls=":", label="its half, predicted by the spectra")
    ax.set(
        title=f"Commitment to come at strength {float(result['strength'][-1]):g}; shaded: windows can act",
        ylabel="share of the information",
        ylim=(-0.03, 1.03),
    )
    ax.legend(loc="upper right")


def _diversity(ax: Axes, result: xr.Dataset) -> None:
    for shift, (source, one) in zip((-0.04, 0.04), _sources(result), strict=False):
        low, value, high = (one[f"variance_ratio{end}"].values for end in ("_low", "", "_high"))
        at = np.arange(len(value)) + shift
        ax.errorbar(at, value, [value - low, high - value], **_look(source), ls="", capsize=3, label=_NAME[source])
    ax.axhline(1.0, color=MUTED, lw=0.9, zorder=1)
    strengths = result["strength"].values
    ax.set_xticks(np.arange(len(strengths)), [f"{strength:g}" for strength in strengths])
    ax.set(
        title="Diversity left by a constant strength",
        xlabel="strength",
        ylabel="variance ratio to strength 0",
        xlim=(-0.5, len(strengths) - 0.5),
    )
    ax.legend()
