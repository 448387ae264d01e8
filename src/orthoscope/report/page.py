"""Sections with figures to one self-contained HTML page that opens offline."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from orthoscope.errors import ConfigError
from orthoscope.plots.style import house_style

PNG_DPI = 160


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
    """

    name: str
    title: str
    caption: str
    command: str
    figures: dict[str, Figure]
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    verdict: str = ""


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
        with house_style():
            figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
            figure.savefig(path.with_suffix(".png"), dpi=PNG_DPI)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error}; choose another --out") from error


def embedded(figure: Figure) -> str:
    """A figure as a data address."""
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def render(*, title: str, lead: str, cards: Sequence[Card], sections: Sequence[Section], provenance: str) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("orthoscope.report"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["embedded"] = embedded
    return environment.get_template("report.html").render(
        title=title, lead=lead, cards=cards, sections=sections, provenance=provenance
    )
