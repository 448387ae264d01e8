"""Sections with figures to one self-contained HTML page that opens offline."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from orthoscope.plots.style import house_style
from orthoscope.report.tables import Table
from orthoscope.writing import CREATOR, write

PNG_DPI = 160
_FOLDED = 8  # rows that a table may have without being folded
_WEBP_DPI, _WEBP = 120, {"pil_kwargs": {"quality": 75}}  # of figures embedded as pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One headline of a report: a number or a sentence, and what stands behind it."""

    value: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One section of a report.

    Attributes:
        name: Anchor, and prefix of the figure files.
        title: Heading.
        caption: What to see, in plain words.
        command: The command that makes it.
        figures: Figures by file name.
        head: Heads of the table's columns.
        rows: Rows of the table.
        verdict: What it comes to, above all else.
        points: Short lines of a list, after the caption.
        pictures: Names of those figures that are embedded as pixels: many or large images.
        others: Tables after the first, each below its own lines.
    """

    name: str
    title: str
    caption: str
    command: str
    figures: dict[str, Figure]
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    verdict: str = ""
    points: Sequence[str] = ()
    pictures: frozenset[str] = frozenset()
    others: Sequence[Table] = ()


_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")  # not valid in XML, or not seen
FOOTER = (
    "Numbers in brackets are standard errors of the last digits; error bars in figures are two standard errors and "
    "cover trajectories and, where modes are random, draws of the modes."
)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as SVG and PNG beside each other.

    Args:
        figure: The figure.
        path: File name; its suffix is replaced.

    Raises:
        ConfigError: if the files cannot be written.
    """
    write(path.with_suffix(".svg"), _vector(figure))
    write(path.with_suffix(".png"), _pixels(figure, "png", PNG_DPI, metadata={"Software": CREATOR}))


def embedded(figure: Figure, *, pixels: bool = False) -> str:
    """A figure as a data address: drawn, or as pixels."""
    kind, content = ("webp", _pixels(figure, "webp", _WEBP_DPI, **_WEBP)) if pixels else ("svg+xml", _vector(figure))
    return f"data:image/{kind};base64," + base64.b64encode(content).decode()


def told(figure: Figure) -> str:
    """What is seen on a figure, in words, for those who do not see it: panel by panel what is shown against what."""
    panels = []
    for ax in figure.axes:
        name, across, up = ax.get_title(loc="left"), ax.get_xlabel(), ax.get_ylabel()
        axes = f"{up} against {across}" if up and across else across or up
        panels.append(f"{name} ({axes})" if name and axes else name or axes)
    keys = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    shown, marked = "; ".join(filter(None, panels)), "; ".join(keys)
    return _plain(f"Seen: {shown or 'images'}{f'. Marked: {marked}' if keys else ''}.")


def _plain(text: str) -> str:
    """A text without the marks of formulas."""
    return " ".join(re.sub(r"[\\$]|\n", " ", text).split())


@lru_cache(maxsize=16)
def _vector(figure: Figure) -> bytes:
    """A figure as SVG, drawn once for its file and its page: a figure that was saved must not change."""
    return _printed(FigureCanvasSVG(figure), "svg", figure.dpi, metadata={"Date": None, "Creator": CREATOR})


def _pixels(figure: Figure, kind: str, dpi: float, **how: Any) -> bytes:
    """A figure as pixels, drawn anew."""
    return _printed(FigureCanvasAgg(figure), kind, dpi, **how)


def _printed(canvas: FigureCanvasBase, kind: str, dpi: float, **how: Any) -> bytes:
    """A figure as its canvas prints it, in the layout of the first that did: `savefig` lays out and draws twice."""
    figure, buffer = canvas.figure, io.BytesIO()
    before, figure.dpi = figure.dpi, dpi
    try:
        with house_style():
            getattr(canvas, f"print_{kind}")(buffer, **how)
    finally:
        figure.dpi = before
    figure.set_layout_engine("none")
    return buffer.getvalue() if kind != "svg" else _CONTROLS.sub("?", buffer.getvalue().decode()).encode()


def _valid(value: Any) -> Any:
    """What a page may hold: no character that controls a terminal or is none of HTML."""
    return _CONTROLS.sub("?", value) if type(value) is str else value


def breaking(text: str) -> Markup:
    """A text whose schedules may break after a comma, and are copied as they are."""
    return Markup(re.sub(r",(?=[a-z])", ",<wbr>", escape(text)))


def render(
    *,
    title: str,
    lead: str,
    cards: Sequence[Card],
    sections: Sequence[Section],
    provenance: str,
    footer: str = FOOTER,
) -> str:
    """The page as text; `footer` says what errors mean on it."""
    environment = Environment(
        loader=PackageLoader("orthoscope.report"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        finalize=_valid,
    )
    environment.filters |= {"embedded": embedded, "breaking": breaking, "told": told}
    return environment.get_template("report.html").render(
        title=title, lead=lead, cards=cards, sections=sections, provenance=provenance, footer=footer, folded=_FOLDED
    )
