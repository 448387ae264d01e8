"""Reports and documentation in a real browser, from disk: on a phone, in the dark, on paper.

Left out of `make test`; `make test-browser` runs these.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

pytest.importorskip("diffusers")

from orthoscope.report import demo
from orthoscope.report.audit import write_report
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
REPORTS = ("audit", "demo", "forecast")
PAGES = (
    "index.html",
    "explanation/theory.html",
    "howto/audit.html",
    "explanation/finite-dimension.html",
    "reference/metrics.html",
)


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
    """The pages of an audit, a small demo and a small forecast, each in a folder of its name."""
    folder = tmp_path_factory.mktemp("reports")
    write_report(Audit(), folder / "audit", command="orthoscope audit --quick")
    start = [sys.executable, "-m", "orthoscope"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "STUDIES", SMALL)
        job = demo.Demo(out=folder / "demo", names=tuple(SMALL))
        run_all(job)
        job.finish()
    small = ["--prompts", str(folder / "prompts.txt"), "--images-per-prompt", "4", "--steps", "5"]
    (folder / "prompts.txt").write_text("1\n7\n")
    forecast = [*start, "forecast", *small, "--schedules", "constant:1", "--schedules", "constant:8"]
    subprocess.run([*forecast, "--out", str(folder / "forecast")], check=True, capture_output=True)
    return folder


@pytest.fixture
def page(request: pytest.FixtureRequest) -> Callable[[str], Path]:
    def found(name: str) -> Path:
        if name in REPORTS:
            return Path(request.getfixturevalue("reports")) / name / "report.html"
        return Path(request.getfixturevalue("site")) / name

    return found


@pytest.mark.parametrize("name", [*REPORTS, *PAGES])
@pytest.mark.parametrize(
    "how", [{"width": PHONE}, {"width": DESK}, {"width": DESK, "dark": True}], ids=["phone", "desk", "dark"]
)
def test_a_page_fits_can_be_read_and_complains_of_nothing(
    name: str, how: dict[str, Any], page: Callable[[str], Path], tmp_path: Path
) -> None:
    found = seen(page(name), tmp_path, **how)
    assert found["complaints"] == []
    assert found["over"] <= 0
    assert found["broken"] == []
    assert found["silent"] == []
    assert found["read"] > 20
    assert found["faint"] == []


@pytest.mark.parametrize("name", REPORTS)
def test_nothing_is_cut_off_or_hidden_on_paper(name: str, page: Callable[[str], Path], tmp_path: Path) -> None:
    found = seen(page(name), tmp_path, width=PAPER, printed=True)
    assert found["cut"] == []
    assert found["folded"] == []
    paper = tmp_path / "page.pdf"
    run(page(name).as_uri(), tmp_path, f"--print-to-pdf={paper}", "--no-pdf-header-footer")
    assert len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes())) > 1


@pytest.mark.parametrize("name", REPORTS)
def test_drawn_figures_turn_dark_with_their_page(name: str, page: Callable[[str], Path], tmp_path: Path) -> None:
    drawn = page(name).read_text().count('class="drawn"')
    assert drawn > 0
    assert seen(page(name), tmp_path, width=DESK, dark=True)["inverted"] == drawn
    assert seen(page(name), tmp_path, width=DESK)["inverted"] == 0


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
