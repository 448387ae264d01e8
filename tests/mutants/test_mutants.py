"""Every mutant in the table is killed; the harness itself tells killed, surviving and broken ones apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutants.harness import Mutant, is_killed, occurrences
from tests.mutants.mutants import MUTANTS


def test_every_snippet_occurs_exactly_once() -> None:
    stale = {mutant.name: count for mutant in MUTANTS if (count := occurrences(mutant)) != 1}
    assert not stale


def test_names_are_unique() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_suite_kills(mutant: Mutant, tmp_path: Path) -> None:
    assert is_killed(mutant, tmp_path), f"survived: {mutant.mutated!r} in {mutant.file}"


@pytest.mark.slow
def test_the_harness_tells_killed_from_surviving_from_broken(tmp_path: Path) -> None:
    toy = Mutant("sign", "toy.py", "x + x", "x - x", ("test_toy.py",))
    source = tmp_path / "source"
    source.mkdir()
    (source / "toy.py").write_text("def double(x):\n    return x + x\n")
    (tmp_path / "test_toy.py").write_text("import toy\n\ndef test_double():\n    assert toy.double(2) == 4\n")

    def killed(mutated: str) -> bool:
        into = tmp_path / mutated.encode().hex()
        return is_killed(replace(toy, mutated=mutated), into, root=tmp_path, source=source)

    assert occurrences(toy, source) == 1
    assert killed("x - x")
    assert not killed("2 * x")
    with pytest.raises(RuntimeError, match="not decided"):
        killed("x +")
