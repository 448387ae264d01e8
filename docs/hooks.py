"""What mkdocs does beyond its plugins: citations such as [ho2022classifier] become links to the references."""

from __future__ import annotations

import re
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from mkdocs.plugins import get_plugin_logger
from pybtex.database import BibliographyData, Entry, parse_file
from pybtex.plugin import find_plugin
from pybtex.richtext import Text

LIST = "references.md"
KEY = re.compile(r"\[([a-z]+\d{4}[a-z]+)\]")
CODE = re.compile(r"(<(?:code|pre)\b.*?</(?:code|pre)>)", re.DOTALL)
log = get_plugin_logger("references")


@cache
def bibliography() -> BibliographyData:
    """All references."""
    return parse_file(Path(__file__).with_name("references.bib"))


def on_page_markdown(markdown: str, *, page: Any, **kwargs: Any) -> str:
    """Fill the list."""
    if page.file.src_uri != LIST:
        return markdown
    style, html = find_plugin("pybtex.style.formatting", "plain")(), find_plugin("pybtex.backends", "html")()
    found = sorted(bibliography().entries.values(), key=lambda entry: (entry.fields.get("year", ""), entry.key))
    lines = [f'- <span id="{one.key}">{one.text.render(html)}</span>' for one in style.format_entries(found)]
    return "\n".join([markdown, *lines])


def on_page_content(html: str, *, page: Any, **kwargs: Any) -> str:
    """Link citations of a page, outside of code."""
    up = "../" * page.file.src_uri.count("/")
    parts = CODE.split(html)
    parts[::2] = [KEY.sub(lambda found: linked(found[1], up, page.file.src_uri), part) for part in parts[::2]]
    return "".join(parts)


def linked(key: str, up: str, page: str) -> str:
    """A citation as a link; a strict build fails where there is no such reference."""
    entry = bibliography().entries.get(key)
    if entry is None:
        log.warning("%s cites %s, which references.bib does not have", page, key)
        return f"[{key}]"
    title = str(Text.from_latex(entry.fields["title"]))
    return f'(<a href="{up}references.html#{key}" title="{escape(title)}">{called(entry)}</a>)'


def called(entry: Entry) -> str:
    """Last names and year."""
    names = [" ".join(map(str, person.rich_last_names)) for person in entry.persons.get("author", [])]
    authors = f"{names[0]} et al." if len(names) > 2 or "others" in names else " and ".join(names)
    return f"{authors} {entry.fields['year']}"
