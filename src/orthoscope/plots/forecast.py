"""Forecasts over schedules, and beside audits of the same schedules."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orthoscope.plots.style import COLORS, MARKERS, MUTED, panels, styled

_KINDS = ("constant", "waiting", "ending", "turning", "linear", "other")
_NAMES = {"variance_ratio": "variance ratio to strength 0", "mean_shift": "mean shift"}
_FORECASTERS = {"surrogate": "surrogate", "reweighted": "weighted paths"}


@styled
def forecast_figure(result: xr.Dataset) -> Figure:
    """Variance ratio against mean shift of every schedule, with intervals; hollow where strengths are beyond."""
    figure, (ax,) = panels(1, 1, size=(8.5, 5.6))
    kinds = np.array([kind_of(str(text)) for text in result["schedule"].values])
    for look, kind in zip(zip(COLORS, MARKERS, strict=True), _KINDS, strict=False):
        for is_out in (False, True):
            rows = (kinds == kind) & (result["outside"].values == is_out)
            if rows.any():
                some = result.isel(schedule=rows)
                label = f"{kind}, strengths beyond those recorded" if is_out else kind
                _crosses(ax, some, ("mean_shift", "variance_ratio"), look, hollow=is_out, label=label)
    ax.axhline(1.0, color=MUTED, lw=0.9, zorder=1)
    ax.axvline(0.0, color=MUTED, lw=0.9, zorder=1)
    ax.set(
        title=f"Forecast from {result.sizes['recorded']} recorded runs; bars: {result.attrs['level']:.0%} intervals",
        xlabel=_NAMES["mean_shift"],
        ylabel=_NAMES["variance_ratio"],
    )
    ax.legend()
    return figure


@styled
def forecast_study_figure(result: xr.Dataset) -> Figure:
    """Forecast against audit, by pipeline, for both quantities."""
    models, sources = result["model"].values, result["source"].values
    figure, axes = panels(2, len(models), size=(4.6 * len(models), 8.4))
    for row, name in enumerate(_NAMES):
        for column, model in enumerate(models):
            ax = axes[row * len(models) + column]
            for look, source in zip(zip(COLORS, MARKERS, strict=True), sources, strict=False):
                one = result.sel(model=model, source=source)
                _beside(ax, one, name, look, "exact counterpart" if source == "exact" else str(source))
            low, high = (end(ax.get_xlim()[k], ax.get_ylim()[k]) for k, end in ((0, min), (1, max)))
            ax.plot([low, high], [low, high], color=MUTED, lw=0.9, zorder=1)
            ax.set(title=str(model), xlabel=f"{_NAMES[name]}, forecast", ylabel="the same, audited")
    axes[0].legend()
    return figure


@styled
def reweighting_figure(result: xr.Dataset) -> Figure:
    """Errors of both forecasters by schedule, with one standard error, from the largest number of images."""
    many = int(result["images"].max())
    panes = [(model, source) for model in result["model"].values for source in result["source"].values]
    figure, axes = panels(2, len(panes), size=(4.2 * len(panes), 8.0))
    for row, name in enumerate(_NAMES):
        for column, (model, source) in enumerate(panes):
            ax, one = axes[row * len(panes) + column], result.sel(model=model, source=source, images=many)
            for shift, color, marker, forecaster in zip((-0.15, 0.15), COLORS, MARKERS, _FORECASTERS, strict=False):
                off = one[f"{name}_{forecaster}"] - one[f"{name}_true"]
                error = np.hypot(one[f"{name}_{forecaster}_stderr"], one[f"{name}_true_stderr"])
                at = np.arange(result.sizes["schedule"]) + shift
                ax.errorbar(off, at, xerr=error, fmt=marker, ms=4, lw=0.8, color=color, label=_FORECASTERS[forecaster])
            ax.axvline(0.0, color=MUTED, lw=0.9, zorder=1)
            texts = [str(text).replace(",clock=step", "") for text in result["schedule"].values]
            ax.set_yticks(range(len(texts)), texts if column == 0 else [""] * len(texts), fontsize=7)
            ax.invert_yaxis()
            ax.set(title=f"{model}, {source}: {many} images a class", xlabel=f"{_NAMES[name]}: forecast minus truth")
    axes[0].legend()
    return figure


def kind_of(text: str) -> str:
    """Which shape a schedule has, by its text."""
    kind, _, body = text.partition(":")
    if kind != "step":
        return kind if kind in _KINDS else "other"
    values = dict(part.split("=") for part in body.split(",") if "=" in part)
    early, late = float(values.get("early", 0)), float(values.get("late", 0))
    return "waiting" if early < late else "turning" if late < 0 else "ending"


def _beside(ax: Axes, one: xr.Dataset, name: str, look: tuple[str, str], label: str) -> None:
    value = one[name].values
    across = [value - one[f"{name}_low"].values, one[f"{name}_high"].values - value]
    up = 1.645 * one[f"{name}_audited_stderr"].values
    style: dict[str, Any] = {"fmt": look[1], "ms": 3.5, "lw": 0.8, "alpha": 0.8, "color": look[0], "label": label}
    ax.errorbar(value, one[f"{name}_audited"].values, up, across, **style)


def _crosses(
    ax: Axes, some: xr.Dataset, names: tuple[str, str], look: tuple[str, str], *, hollow: bool, label: str
) -> None:
    ends = [
        [some[name].values - some[f"{name}_low"].values, some[f"{name}_high"].values - some[name].values]
        for name in names
    ]
    color, marker = look
    face = "none" if hollow else color
    x, y = (some[name].values for name in names)
    ax.errorbar(x, y, ends[1], ends[0], fmt=marker, ms=5, lw=0.8, color=color, mfc=face, label=label)
