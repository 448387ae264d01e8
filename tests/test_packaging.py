"""What is released: one version everywhere, and archives that hold all that the package needs."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

import orthoscope as osc

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "orthoscope"


def test_one_version_with_its_day_everywhere() -> None:
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    released = re.search(r"^## \[(\d\S*)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert released is not None
    assert released.groups() == (
        re.search(r"^version: (\S+)$", cited, re.MULTILINE)[1],
        re.search(r"^date-released: (\S+)$", cited, re.MULTILINE)[1],
    )
    assert osc.__version__ == released[1]


def run(*words: object) -> None:
    found = subprocess.run([sys.executable, "-m", *map(str, words)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.slow
def test_archives_are_fit_for_the_index_and_hold_every_file(tmp_path: Path) -> None:
    run("build", "--no-isolation", "--outdir", tmp_path, ROOT)
    name = f"orthoscope-{osc.__version__}"
    source, wheel = tmp_path / f"{name}.tar.gz", tmp_path / f"{name}-py3-none-any.whl"
    run("twine", "check", "--strict", source, wheel)
    files = {
        f"orthoscope/{path.relative_to(PACKAGE)}"
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    kept = {"py.typed", "integrations/digits.safetensors", "targets/glyphs.npz", "report/templates/report.html"}
    assert {f"orthoscope/{one}" for one in kept} <= files
    with ZipFile(wheel) as archive:
        held = {one for one in archive.namelist() if not one.startswith(f"{name}.dist-info/")}
        metadata = archive.read(f"{name}.dist-info/METADATA").decode()
    assert held == files
    assert f"Version: {osc.__version__}\n" in metadata
    with tarfile.open(source) as sources:
        assert {f"{name}/src/{one}" for one in files} | {f"{name}/LICENSE"} <= set(sources.getnames())
