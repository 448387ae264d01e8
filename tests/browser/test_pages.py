"""Reports and documentation in a real browser, from disk: on a phone, in the dark, on paper.

Left out of `make test`; `make test-browser` runs these.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from PIL import Image

pytest.importorskip("diffusers")

from orthoscope.report import demo
from orthoscope.report.audit import write_report
from orthoscope.results import read
from orthoscope.rng import stream
from tests.browser.chromium import PROGRAM, run, seen
from tests.report.audits import audited, searched
from tests.report.test_demo import SMALL, run_all

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(PROGRAM is None, reason="needs Chromium: install `chromium`, then run `make test-browser`"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # diffusers' own
]
ROOT = Path(__file__).parents[2]
PHONE, DESK, PAPER = 360, 1200, 718  # pixels wide; A4 with margins of 1 cm
LEAST = 5  # texts of a page whose tables are folded
WRONG = ("over", "broken", "silent", "faint", "unset", "hollow")  # what no page may show
_FEW = ("--prompts", "prompts.txt", "--images-per-prompt", "4", "--steps", "5")
VERBS = {
    "calibrate": ("calibrate", *_FEW),
    "forecast": ("forecast", *_FEW, "--schedules", "constant:1", "--schedules", "constant:8"),
    "measure": ("measure", "images"),
}
STUDIES = {f"study-{path.name}": path for path in sorted((ROOT / "docs/results").iterdir())}
REPORTS = ("audit", "demo", *VERBS, *STUDIES)


class Audit:
    """What `run` returns, made by hand."""

    pipeline: xr.Dataset = audited()
    twin: xr.Dataset = audited(offset=0.02)
    search: xr.Dataset = searched()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, check=True)
    return folder


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of small runs, and of studies whose results the documentation has, each in a folder of its name."""
    folder = tmp_path_factory.mktemp("reports")
    write_report(Audit(), folder / "audit", command="orthoscope audit --quick")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "STUDIES", SMALL)
        job = demo.Demo(out=folder / "demo", names=tuple(SMALL))
        run_all(job)
        job.finish()
    (folder / "prompts.txt").write_text("1\n7\n")
    (folder / "images").mkdir()
    for k, pixels in enumerate(stream(0, "images").integers(0, 256, (5, 4, 4), dtype=np.uint8)):
        Image.fromarray(pixels).save(folder / "images" / f"{k}.png")
    for name, words in VERBS.items():
        command = [sys.executable, "-m", "orthoscope", *words, "--out", name]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    for name, results in STUDIES.items():
        read(results).write(folder / name)
    return folder


@pytest.fixture(scope="module")
def pages(reports: Path, site: Path) -> list[Path]:
    """All reports and all of the documentation."""
    documents = [path for path in sorted(site.rglob("*.html")) if path.name != "404.html"]  # linked from the root
    return [*(reports / name / "report.html" for name in REPORTS), *documents]


@pytest.mark.parametrize(
    "how", [{"width": PHONE}, {"width": DESK}, {"width": DESK, "dark": True}], ids=["phone", "desk", "dark"]
)
def test_pages_fit_can_be_read_and_complain_of_nothing(how: dict[str, Any], pages: list[Path], tmp_path: Path) -> None:
    found, complaints = seen(pages, tmp_path, **how)
    assert complaints == []
    wrong = {}
    for page, shown in zip(pages, found, strict=True):
        faults: dict[str, object] = {name: shown[name] for name in WRONG if shown[name]}
        faults |= {name: shown[name] for name, right in expected(page, **how).items() if shown[name] != right}
        if faults or shown["read"] < LEAST:
            wrong[f"{page.parent.name}/{page.name}"] = faults | {"read": shown["read"]}
    assert wrong == {}


def expected(page: Path, *, width: int, dark: bool = False) -> dict[str, object]:
    """What the scheme of colors makes of a page and of the figures drawn on it."""
    return {"dark": dark, "inverted": page.read_text().count('class="drawn"') if dark else 0}


def test_nothing_is_cut_off_or_hidden_on_paper(reports: Path, tmp_path: Path) -> None:
    pages = [reports / name / "report.html" for name in REPORTS]
    found, _ = seen(pages, tmp_path, width=PAPER, printed=True)
    wrong = {name: shown for name, shown in zip(REPORTS, found, strict=True) if shown["cut"] or shown["folded"]}
    assert {name: (shown["cut"], shown["folded"]) for name, shown in wrong.items()} == {}
    for page in pages:
        paper = page.with_suffix(".pdf")
        run(page.as_uri(), tmp_path, f"--print-to-pdf={paper}", "--no-pdf-header-footer")
        assert re.findall(rb"/Type\s*/Page\b", paper.read_bytes()), page


def test_formulas_are_set_offline(site: Path, tmp_path: Path) -> None:
    shown, complaints = run((site / "explanation/theory.html").as_uri(), tmp_path, "--dump-dom")
    assert complaints == []
    assert shown.count("<mjx-container") > 20
    assert "\\(" not in re.sub(r"<script.*?</script>|<code.*?</code>", "", shown, flags=re.DOTALL)


def test_search_finds_a_word_offline(site: Path, tmp_path: Path) -> None:
    found, _ = run(f"{(site / 'index.html').as_uri()}?q=speciation", tmp_path, "--dump-dom")
    assert "md-search-result__item" in found
    none, _ = run(f"{(site / 'index.html').as_uri()}?q=zzqqx", tmp_path, "--dump-dom")
    assert "md-search-result__item" not in none
