"""The look of every figure, applied in a context and never globally."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, Literal, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

P = ParamSpec("P")

_SCREEN = 110  # dots per inch
_APART = 11.0  # points between two names at the ends of curves
INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
# Okabe and Ito's palette, which color-blind readers can tell apart.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
# Beside the colors, in the same order, for prints without: never is a series told from another by color alone.
MARKERS = ("o", "s", "D", "^", "v", "P")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (6, 1.2, 1, 1.2)), (0, (2.5, 1)), (0, (9, 3)))
HATCHES = ("", "///", "...", "xxx", "|||", "---")
FILLS: tuple[Literal["full", "none", "left", "top", "right", "bottom"], ...] = (
    "full", "none", "left", "top", "right", "bottom",
)  # fmt: skip
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


def label_ends(ax: Axes, lines: Sequence[Line2D]) -> None:
    """Name lines by their labels at their right ends, where a legend might lie on them; limits must be final."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    height = 72 * figure.get_figheight() * ax.get_position().height
    ends = []
    for line in lines:
        known = np.asarray(line.get_xydata(), dtype=float)
        known = known[np.isfinite(known).all(1)]
        places = ax.transAxes.inverted().transform(ax.transData.transform(known))
        last = int(places[:, 0].argmax())
        ends.append((height * places[last, 1], (known[last, 0], known[last, 1]), str(line.get_label())))
    below = -np.inf
    for at, point, name in sorted(ends, key=lambda end: end[0]):
        below = max(at, below + _APART)
        ax.annotate(
            name, point, (5, below - at), textcoords="offset points", va="center", fontsize=8.5, annotation_clip=False
        )


def panels(rows: int, columns: int, *, size: tuple[float, float], **kwargs: Any) -> tuple[Figure, list[Axes]]:
    """A figure with its axes in reading order; no pyplot, so nothing is left open."""
    figure = Picture(figsize=size)
    axes = figure.subplots(rows, columns, squeeze=False, **kwargs)
    return figure, list(axes.ravel())
