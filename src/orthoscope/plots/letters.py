"""Schedules on figures: one letter each, the same on every figure of a page, and labels that keep apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from orthoscope.plots.style import COLORS, DASHES, INK, MUTED

CONSTANT = ("reference", "constant", "matched")
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"  # without those that look like a line or a circle
_GRAYS = ("#1f2933", "#52606d", "#7b8794", "#9aa5b1", "#b8c2cc")
_CONSTANTS, _OTHERS = "ospH8d*", "D^vPX<>"  # markers
_AROUND = [(6, 6), (-6, 6), (6, -6), (-6, -6), (0, 8), (8, 0), (-8, 0), (0, -8)]
_AROUND += [(13, 13), (-13, 13), (13, -13), (-13, -13)]
_NEAR = 8  # of these places need no line to the point
_CLEAR = 7.5  # points between a label and anything else


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How a schedule is drawn.

    Attributes:
        letter: Its name on figures.
        words: What it does, or its text.
        color: Its color; gray for constant strengths.
        dash: Its line.
        marker: Its point.
    """

    letter: str
    words: str
    color: str
    dash: Any
    marker: str


def marks(roles: Mapping[str, str], words: Mapping[str, str] | None = None) -> dict[str, Mark]:
    """A letter and a look for every schedule, by its role: constants are gray and round, others colored and pointed.

    Args:
        roles: Roles by the text of the schedule.
        words: What schedules do, where that is known.
    """
    found, grays, colored = {}, 0, 0
    for k, (spec, role) in enumerate(roles.items()):
        turn, place = divmod(k, len(_LETTERS))
        letter = _LETTERS[place] + (str(turn) if turn else "")
        name = {"letter": letter, "words": (words or {}).get(spec, spec)}
        if role in CONSTANT:
            look = {"color": _GRAYS[grays % len(_GRAYS)], "marker": _CONSTANTS[grays % len(_CONSTANTS)]}
            grays += 1
        else:
            look = {"color": COLORS[colored % len(COLORS)], "marker": _OTHERS[colored % len(_OTHERS)]}
            colored += 1
        found[spec] = Mark(**name, **look, dash=DASHES[k % len(DASHES)])
    return found


def key(figure: Figure, found: Mapping[str, Mark], specs: Sequence[str], *, lines: bool = False) -> None:
    """A legend of letters and schedules below the figure."""
    handles = [
        Line2D([], [], color=m.color, linestyle=m.dash if lines else "", marker=m.marker)
        for m in (found[spec] for spec in specs)
    ]
    names = [f"{found[spec].letter}  {found[spec].words}" for spec in specs]
    wide = max((len(name) for name in names), default=0)
    columns = max(1, min(4, 130 // max(wide + 6, 1)))
    figure.legend(handles, names, loc="outside lower center", ncols=columns, fontsize=8.5)


def label_points(ax: Axes, points: Sequence[tuple[float, float]], texts: Sequence[str]) -> None:
    """A letter beside each point, on the side where it hides neither a point nor another letter.

    Limits and layout must be final: letters are placed where points then are.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    places = ax.transData.transform(np.asarray(points, dtype=float).reshape(-1, 2)) * 72.0 / figure.dpi
    taken = [tuple(place) for place in places]
    for (x, y), text, point in zip(places, texts, points, strict=True):
        clear = [min(np.hypot(x + dx - a, y + dy - b) for a, b in taken) for dx, dy in _AROUND]
        best = next((k for k, distance in enumerate(clear) if distance >= _CLEAR), int(np.argmax(clear)))
        dx, dy = _AROUND[best]
        taken.append((x + dx, y + dy))
        line = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.6} if best >= _NEAR else None
        ax.annotate(
            text, point, (dx, dy), textcoords="offset points", ha="center", va="center", fontsize=8.5, color=INK,
            fontweight="bold", arrowprops=line,
        )  # fmt: skip
