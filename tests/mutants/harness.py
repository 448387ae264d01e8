"""Run tests against a copy of the source with one deliberate error."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"

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
    copy = plant(mutant, tmp_path, source)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-o",
        "addopts=--import-mode=importlib",  # without run-time type checks, which take most of a short run
        *mutant.killers,
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    run = subprocess.run(
        command,
        cwd=root,
        env=environment | {"PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode not in (PASSED, FAILED):
        raise RuntimeError(f"mutant {mutant.name!r} was not decided:\n{run.stdout[-2000:]}{run.stderr[-2000:]}")
    return run.returncode == FAILED
