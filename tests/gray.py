"""Series that a print without colors cannot tell apart."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import same_color, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from orthoscope.plots.style import GRID, INK, MUTED

_BESIDE = (INK, MUTED, GRID, "white")  # colors of what belongs to no series: zero, limits, errors


def alike(figure: Figure) -> list[str]:
    """Pairs of colors of one panel that nothing but color tells apart: every series needs a look of its own."""
    found = []
    for ax in figure.axes:
        looks = _looks(ax)
        found += [
            f"{ax.get_title(loc='left') or 'a panel'}: {one} and {other}"
            for one, other in combinations(looks, 2)
            if not (looks[one] - looks[other] and looks[other] - looks[one])
        ]
    return found


def _looks(ax: Axes) -> dict[str, set[Any]]:
    """Lines, markers and hatches of a panel, by color."""
    looks: dict[str, set[Any]] = defaultdict(set)
    for artist in ax.get_children():
        color, look = _look(artist)
        if look is not None and not any(same_color(color, neutral) for neutral in _BESIDE):
            looks[to_hex(color)].add(look)
    return looks


def _look(artist: Any) -> tuple[Any, Any]:
    if isinstance(artist, Line2D):
        return artist.get_color(), _line(artist)
    if isinstance(artist, Rectangle) and artist.axes is not None and artist is not artist.axes.patch:
        return artist.get_facecolor(), ("area", artist.get_hatch() or "")
    if isinstance(artist, PathCollection) and len(artist.get_edgecolor()) and len(artist.get_offsets()):
        return artist.get_edgecolor()[0], ("points", artist.get_paths()[0].vertices.tobytes())
    return "white", None


def _line(line: Line2D) -> Any:
    marker = "" if line.get_marker() in ("None", "none", None, "") else str(line.get_marker())
    dash = "" if line.get_linestyle() == "None" else str(line._unscaled_dash_pattern)  # type: ignore[attr-defined]
    seen = np.isfinite(np.asarray(line.get_xydata(), dtype=float)).all(1).any()
    return (dash, marker, line.get_fillstyle() if marker else "") if seen and (dash or marker) else None
