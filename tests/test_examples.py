"""The scripts for the three lines of work run as they stand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
SAID = {"theorist": "theory, this d", "method_author": "softened minus cfg", "engineer": "variance ratio"}


@pytest.mark.slow
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_leaves_a_page(script: Path, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "run")], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert SAID[script.stem] in run.stdout
    assert list((tmp_path / "run").rglob("report.html"))
