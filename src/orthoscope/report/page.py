"""Sections with figures to one self-contained HTML page that opens offline."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from orthoscope.errors import ConfigError
from orthoscope.plots.style import house_style

PNG_DPI = 160
PIXEL_DPI, WEBP_QUALITY = 120, 75  # of figures embedded as pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One headline of a report: a number and what it is."""

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
        verdict: A closing sentence set apart.
        points: Short lines of a list, after the caption.
        pictures: Names of those figures that are embedded as pixels: many or large images.
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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".svg").write_bytes(_vector(figure))
        with house_style():
            figure.savefig(path.with_suffix(".png"), dpi=PNG_DPI)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error}; choose another --out") from error


def save_text(text: str, path: Path) -> Path:
    """Write a page, or what belongs to it; its path.

    Raises:
        ConfigError: if the file cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}; choose another --out") from error
    return path


def embedded(figure: Figure, *, pixels: bool = False) -> str:
    """A figure as a data address: drawn, or as pixels."""
    kind, content = ("webp", _pixels(figure)) if pixels else ("svg+xml", _vector(figure))
    return f"data:image/{kind};base64," + base64.b64encode(content).decode()


@lru_cache(maxsize=16)
def _vector(figure: Figure) -> bytes:
    """A figure as SVG, drawn once for its file and its page: a figure that was saved must not change."""
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _pixels(figure: Figure) -> bytes:
    """A figure as WebP."""
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format="webp", dpi=PIXEL_DPI, pil_kwargs={"quality": WEBP_QUALITY})
    return buffer.getvalue()


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
    )
    environment.filters |= {"embedded": embedded, "breaking": breaking}
    return environment.get_template("report.html").render(
        title=title, lead=lead, cards=cards, sections=sections, provenance=provenance, footer=footer
    )
