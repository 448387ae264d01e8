"""Run tests against a copy of the source with one deliberate error."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"

# Forked from a server that has loaded all that takes seconds to load, and nothing of this package.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["hypothesis", "jaxtyping", "pytest", "scipy.integrate", "scipy.stats", "torch", "xarray"]
)

_DECIDED = 100  # added to pytest's status, as a child that breaks before has status 1, too
PASSED, FAILED = 0, 1  # exit statuses of pytest; all others mean that nothing was decided


@dataclass(frozen=True)
class Mutant:
    """One deliberate error.

    Attributes:
        name: What is wrong, in a few words.
        file: The mutated file, relative to the source folder.
        original: A snippet that occurs there exactly once.
        mutated: What replaces it.
        killers: Node ids of tests, relative to the repository, of which one must fail.
    """

    name: str
    file: str
    original: str
    mutated: str
    killers: tuple[str, ...]


def occurrences(mutant: Mutant, source: Path = SOURCE) -> int:
    """How often the original snippet occurs; 1 for a mutant in order."""
    return (source / mutant.file).read_text(encoding="utf-8").count(mutant.original)


def plant(mutant: Mutant, into: Path, source: Path = SOURCE) -> Path:
    """Copy the source, with the error, to a new folder."""
    copy = into / "src"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    target = copy / mutant.file
    text = target.read_text(encoding="utf-8")
    target.write_text(text.replace(mutant.original, mutant.mutated), encoding="utf-8")
    return copy


def is_killed(mutant: Mutant, tmp_path: Path, *, root: Path = ROOT, source: Path = SOURCE) -> bool:
    """True when one of the mutant's tests fails on the copy.

    Raises:
        RuntimeError: if pytest could not decide, for instance because the copy cannot be imported.
    """
    copy, log = plant(mutant, tmp_path, source), tmp_path / "log.txt"
    process = _FORKS.Process(target=_pytest, args=(mutant.killers, copy, root, log))
    process.start()
    process.join()
    status = (process.exitcode or 0) - _DECIDED
    if status not in (PASSED, FAILED):
        raise RuntimeError(f"mutant {mutant.name!r} was not decided:\n{log.read_text()[-4000:]}")
    return status == FAILED


def _pytest(killers: tuple[str, ...], copy: Path, root: Path, log: Path) -> None:
    """Exit with pytest's status on tests of the copy, without run-time type checks, which take most of a short run."""
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        del os.environ[name]
    os.environ["PYTHONPATH"] = str(copy)
    sys.path.insert(0, str(copy))
    os.chdir(root)
    import pytest

    preloaded = ("-W", "ignore:Module already imported")
    options = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=--import-mode=importlib")
    sys.exit(_DECIDED + pytest.main([*options, *preloaded, *killers]))
