"""An audit in figures: diversity against adherence, what guidance acts on, the search, the pipeline beside its twin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orthoscope.plots.letters import CONSTANT, Mark, key, label_points
from orthoscope.plots.style import COLORS, INK, MUTED, panels, styled

NAMES = {
    "mean_shift": "mean shift from strength 0",
    "class_posterior": "class posterior",
    "text_similarity": "cosine of image and prompt",
    "lda_accuracy": "accuracy of a linear discriminant",
}
_KINDS = {"constant": ("o", MUTED), "step": ("D", COLORS[0]), "linear": ("^", COLORS[1])}


@styled
def pareto_figure(audits: Mapping[str, xr.Dataset], marks: Mapping[str, Mark]) -> Figure:
    """Variance kept against mean shift and against adherence; one row of panels for each of `audits`.

    Bars are intervals. Constant strengths are joined in the order of their mean shift.
    """
    measures = _measured(audits.values())
    columns = len(measures)
    figure, axes = panels(len(audits), columns, size=(11, 4.2 * len(audits) + 0.9), sharey="row")
    drawn: list[tuple[Axes, xr.Dataset, str]] = []
    for k, (name, audit) in enumerate(audits.items()):
        for ax, measure in zip(axes[columns * k : columns * (k + 1)], measures, strict=True):
            if _finite(audit, measure).sizes["schedule"]:
                _pareto(ax, audit, measure, marks)
                drawn.append((ax, audit, measure))
            else:
                ax.text(0.5, 0.5, "not measured", transform=ax.transAxes, ha="center", color=MUTED)
            ax.set(xlabel=NAMES.get(measure, measure.replace("_", " ")))
        axes[columns * k].set(title=name, ylabel="variance, that of strength 0 = 1")
    key(figure, marks, _shown(audits.values(), marks))
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # letters are placed in this layout, which is final
    for ax, audit, measure in drawn:
        one = _finite(audit, measure)
        points = list(zip(one[measure].values, one["variance_ratio"].values, strict=True))
        label_points(ax, points, [marks[str(spec)].letter for spec in one["schedule"].values])
    return figure


def _measured(audits: Iterable[xr.Dataset]) -> list[str]:
    """What variance is shown against: the measures that one audit has at least, or the first of them."""
    each = list(audits)
    names = dict.fromkeys(["mean_shift", *(str(one.attrs["adherence"]) for one in each)])
    return [name for name in names if any(_finite(one, name).sizes["schedule"] for one in each)] or ["mean_shift"]


def _finite(audit: xr.Dataset, measure: str) -> xr.Dataset:
    """The schedules of which a measure and the variance are known: none where either could not be measured."""
    if measure not in audit or "variance_ratio" not in audit:
        return audit.isel(schedule=[])
    one = _only(audit, "variance_ratio", measure, "mean_shift")
    return one.isel(schedule=np.flatnonzero(np.isfinite(one[measure] + one["variance_ratio"])))


def _only(audit: xr.Dataset, *measures: str) -> xr.Dataset:
    """Some measures with the ends of their intervals: picking schedules takes as long as there are variables."""
    names = [name + end for name in dict.fromkeys(measures) for end in ("", "_low", "_high")]
    return audit[[name for name in names if name in audit]]


def _shown(audits: Iterable[xr.Dataset], marks: Mapping[str, Mark]) -> list[str]:
    """Schedules on a figure, in the order of their letters."""
    specs = {str(spec) for audit in audits for spec in audit["schedule"].values}
    return [spec for spec in marks if spec in specs]


def _pareto(ax: Axes, audit: xr.Dataset, measure: str, marks: Mapping[str, Mark]) -> None:
    one = _finite(audit, measure)
    roles = one["role"].values.astype(str)
    order = "mean_shift" if "mean_shift" in one else measure
    constant = one.isel(schedule=np.flatnonzero(np.isin(roles, CONSTANT))).sortby(order)
    ax.plot(constant[measure], constant["variance_ratio"], color=MUTED, linewidth=1.2, zorder=1)
    for spec in one["schedule"].values:
        point, mark = one.sel(schedule=spec), marks[str(spec)]
        ax.errorbar(
            point[measure], point["variance_ratio"], _bars(point, "variance_ratio"), _bars(point, measure),
            fmt=mark.marker, color=mark.color, elinewidth=1.0, capsize=0,
        )  # fmt: skip
    ax.axhline(1.0, color=MUTED, linewidth=0.9, linestyle=":")


def _bars(point: xr.Dataset, measure: str) -> np.ndarray | None:
    """Lengths of the bars below and above, of shape (2, n); none where there is no interval."""
    if f"{measure}_low" not in point:
        return None
    value = np.atleast_1d(point[measure].values)
    ends = np.abs([value - point[f"{measure}_low"].values, point[f"{measure}_high"].values - value])
    return np.nan_to_num(ends)


@styled
def log_figure(audit: xr.Dataset, marks: Mapping[str, Mark]) -> Figure:
    """Strength and the difference that it multiplies, against noise; noise is left, images are right."""
    figure, axes = panels(1, 3, size=(12, 4.4))
    shown = (
        ("log_strength", "Strength", "strength w"),
        ("log_pair_distance", "What it multiplies", "distance of the two denoised images"),
        ("log_pair_cosine", "How alike the pair is", "cosine of the pair's predictions"),
    )
    for ax, (name, title, label) in zip(axes, shown, strict=True):
        drawn = _only(audit, "log_sigma", name)
        often = max(1, audit.sizes.get("evaluation", 0) // 6)  # a marker, not at the same levels for all
        for spec in audit["schedule"].values if name in audit else ():
            one, mark = drawn.sel(schedule=spec), marks[str(spec)]
            how = {"color": mark.color, "linestyle": mark.dash, "marker": mark.marker, "linewidth": 1.5}
            how |= {"markersize": 4, "markevery": (ord(mark.letter[0]) % often, often)}
            if name == "log_strength":
                ax.step(one["log_sigma"], one[name], where="mid", **how)
            else:
                ax.plot(one["log_sigma"], one[name], **how)
        ax.set(title=title, xlabel="noise level σ", ylabel=label, xscale="log")
        ax.invert_xaxis()
    axes[0].axhline(0.0, color=MUTED, linewidth=0.9, zorder=1)
    key(figure, marks, _shown([audit], marks), lines=True)
    return figure


@styled
def search_figure(search: xr.Dataset, adherence: str) -> Figure:
    """Every candidate beside the line of constant strengths, and what decides, with the name of the adherence measure.

    Those chosen are ringed.
    """
    judged = bool(search["gain"].notnull().any())
    figure, axes = panels(1, 1 + judged, size=(11, 4.6))
    left = axes[0]
    constant = search.isel(candidate=np.flatnonzero(search["kind"] == "constant")).sortby("mean_shift")
    left.plot(constant["mean_shift"], constant["variance_ratio"], color=MUTED, linewidth=1.2, zorder=1)
    left.axhline(1.0, color=MUTED, linewidth=0.9, linestyle=":")
    shown = (("mean_shift", "variance_ratio"), ("adherence", "gain"))
    for ax, (across, up) in zip(axes, shown, strict=False):
        for kind, (marker, color) in _KINDS.items():
            one = search.isel(candidate=np.flatnonzero(search["kind"] == kind))
            if one[up].notnull().any():
                ax.errorbar(
                    one[across], one[up], _errors(one, up), _errors(one, across),
                    fmt=marker, color=color, elinewidth=0.6, markersize=4, label=kind,
                )  # fmt: skip
        chosen = search.isel(candidate=np.flatnonzero(search["chosen"]))
        ax.plot(
            chosen[across], chosen[up], "o", markersize=13, fillstyle="none", color=INK, markeredgewidth=1.4,
            label="chosen",
        )  # fmt: skip
    left.set(title="All candidates", xlabel=NAMES["mean_shift"], ylabel="variance, that of strength 0 = 1")
    if judged:
        axes[1].axhline(0.0, color=MUTED, linewidth=0.9, linestyle=":")
        axes[1].set(title="What decides", xlabel=NAMES.get(adherence, adherence), ylabel="gain at equal mean shift")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _errors(candidates: xr.Dataset, measure: str) -> np.ndarray | None:
    """Two standard errors, where there are any."""
    name = f"{measure}_stderr"
    return 2 * np.nan_to_num(candidates[name].values) if name in candidates else None


@styled
def twin_figure(pipeline: xr.Dataset, twin: xr.Dataset, marks: Mapping[str, Mark]) -> Figure:
    """Variance kept by the pipeline and by the exact score, schedule by schedule."""
    both = [str(spec) for spec in pipeline["schedule"].values if spec in twin["schedule"].values]
    figure, (ax,) = panels(1, 1, size=(11, 3.8))
    places = np.arange(len(both))
    for k, (name, audit) in enumerate((("pipeline", pipeline), ("exact score", twin))):
        if "variance_ratio" not in audit:
            ax.text(0.5, 0.5 - 0.1 * k, f"{name}: not measured", transform=ax.transAxes, ha="center", color=MUTED)
            continue
        one = _only(audit, "variance_ratio").sel(schedule=both)
        ax.errorbar(
            places + 0.16 * (k - 0.5), one["variance_ratio"], _bars(one, "variance_ratio"),
            fmt="os"[k], color=(COLORS[0], MUTED)[k], elinewidth=1.6, label=name,
        )  # fmt: skip
    ax.axhline(1.0, color=MUTED, linewidth=0.9, linestyle=":")
    ax.set_xticks(places, labels=[marks[spec].letter for spec in both], fontweight="bold", color=INK)
    ax.set(ylabel="variance, that of strength 0 = 1", xlim=(-0.6, len(both) - 0.4))
    ax.grid(visible=False, axis="x")
    if ax.containers:
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
    key(figure, marks, both)
    return figure
