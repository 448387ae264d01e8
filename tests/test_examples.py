"""The scripts for the three lines of work run as they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs import Programs

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
SAID = {"theorist": "theory, this d", "method_author": "softened minus cfg", "engineer": "variance ratio"}


@pytest.mark.slow
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_leaves_a_page(script: Path, tmp_path: Path, programs: Programs) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    run = programs.run(script, tmp_path / "run", folder=folder)
    assert run.status == 0, run.err
    assert SAID[script.stem] in run.out
    assert list((tmp_path / "run").rglob("report.html"))
