"""The look of every figure, applied in a context and never globally."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

P = ParamSpec("P")

_SCREEN = 110  # dots per inch
INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
# Okabe and Ito's palette, which color-blind readers can tell apart.
HATCHES = ("", "///", "...", "xxx")  # beside the colors, for prints without
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
REGION_COLORS = {
    "distorted": "#f6d5c3",
    "restored": "#bfe3d4",
    "reversed": "#d9d6ec",
    "lost": "#cbd2d9",
    "committed": "#d3e5f2",
    "dense": "#f6d5c3",
    "captured": "#cbd2d9",
}

_RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.0,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.0,
    "figure.constrained_layout.use": True,
    "svg.fonttype": "path",
    "svg.hashsalt": "orthoscope",
}


def house_style() -> AbstractContextManager[None]:
    """The context in which figures are drawn, and saved: some settings count only then."""
    return mpl.rc_context(_RC)


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw a figure in the house style, leaving matplotlib's global settings alone."""

    @wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with house_style():
            return draw(*args, **kwargs)

    return wrapper


class Picture(Figure):
    """A figure that notebooks show, although pyplot does not know of it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with house_style():
            self.savefig(buffer, format="png", dpi=_SCREEN)
        return buffer.getvalue()


def zero_line(ax: Axes) -> None:
    """Mark zero distortion."""
    ax.axhline(0.0, color=MUTED, linewidth=0.9, zorder=1)


def panels(rows: int, columns: int, *, size: tuple[float, float], **kwargs: Any) -> tuple[Figure, list[Axes]]:
    """A figure with its axes in reading order; no pyplot, so nothing is left open."""
    figure = Picture(figsize=size)
    axes = figure.subplots(rows, columns, squeeze=False, **kwargs)
    return figure, list(axes.ravel())
