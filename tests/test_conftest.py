"""The guard on global randomness works, and lets hypothesis through."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SAMPLE = """
import hypothesis, numpy, torch
from hypothesis import strategies as st

def test_torch(): torch.rand(1)
def test_numpy(): numpy.random.rand()
def test_own_generator(seed): numpy.random.default_rng(seed).random(); torch.Generator().manual_seed(seed)

@hypothesis.given(st.floats(0, 1))
def test_property(x): assert x <= 1
"""


def test_only_global_draws_are_refused(tmp_path: Path) -> None:
    (tmp_path / "test_sample.py").write_text(SAMPLE)
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", "."]
    environment = os.environ | {"PYTHONPATH": str(root), "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path)}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "4 passed, 2 errors" in run.stdout, run.stdout + run.stderr
    for name in ("torch", "numpy"):
        assert f"global random state of {name} changed" in run.stdout
