"""The documentation builds without a warning, and its Python examples run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import Programs

ROOT = Path(__file__).parents[1]


def test_documentation_builds_strictly_and_works_offline(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    # Pages work from disk, formulas and search included: nothing is loaded from elsewhere.
    for page in tmp_path.rglob("*.html"):
        text = page.read_text()
        assert not re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="https?:[^"]*"', text), page
        assert not re.findall(r"\[[a-z]+(?:19|20)\d\d[a-z]+\]", re.sub(r"(?s)<(code|pre)\b.*?</\1>", "", text)), page
    links = re.findall(r'href="\.\./references\.html#(\w+)"', (tmp_path / "reference" / "theory.html").read_text())
    assert "ventura2026emergence" in links
    assert all(f'id="{key}"' in (tmp_path / "references.html").read_text() for key in links)


def test_every_figure_is_in_the_gallery() -> None:
    gallery = (ROOT / "docs" / "gallery.md").read_text()
    shown = set(re.findall(r"\(figures/([\w.-]+)\)", gallery))
    assert shown == {path.name for path in (ROOT / "docs" / "figures").iterdir()}


def test_figures_say_what_is_seen() -> None:
    """Alternative texts name what is shown against what, at least."""
    named = re.findall(r"!\[([^\]]*)\]\(", "".join(path.read_text() for path in (ROOT / "docs").rglob("*.md")))
    assert len(named) > 15
    assert [text for text in named if len(text.split()) < 3] == []


PAGES = [
    path for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if "```python" in path.read_text()
]


def test_notebooks_run(tmp_path: Path, programs: Programs) -> None:
    """The cells of all as one program."""
    books = [json.loads(path.read_text()) for path in sorted((ROOT / "examples").glob("*.ipynb"))]
    cells = ["".join(cell["source"]) for book in books for cell in book["cells"] if cell["cell_type"] == "code"]
    script = tmp_path / "books.py"
    script.write_text("\n".join(cells))
    run = programs.run(script, folder=tmp_path)
    assert run.status == 0, run.err
    assert len(books) == 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_run(page: Path, tmp_path: Path, programs: Programs) -> None:
    """All examples of a page as one program, in an empty folder."""
    script, folder = tmp_path / "page.py", tmp_path / "folder"
    script.write_text("\n".join(re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)))
    folder.mkdir()
    run = programs.run(script, folder=folder)
    assert run.status == 0, run.err
    assert run.out
