"""What every test gets: one thread, its own seed, a guard on global randomness, and the command line."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hypothesis
import jaxtyping
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from orthoscope.plots.style import Picture
from tests.gray import alike
from tests.programs import Finished, Programs

TESTS = Path(__file__).parent
# Without diffusers, as on the lowest versions, the core is tested alone.
NEEDS_DIFFUSERS = (
    "audits", "calibration", "integrations", "cli/test_audit.py", "cli/test_calibrate.py", "cli/test_train.py",
    "cli/test_measure.py", "experiments/test_glyphs.py", "experiments/test_glyph_page.py", "experiments/test_pages.py",
    "face/test_calls.py", "face/test_pipelines.py", "report/test_audit.py", "test_docs.py", "test_examples.py",
    "test_conventions.py",
)  # fmt: skip
has_diffusers = find_spec("diffusers") is not None
collect_ignore = [] if has_diffusers else list(NEEDS_DIFFUSERS)
needs_diffusers = pytest.mark.skipif(not has_diffusers, reason="it needs diffusers")
COMMANDS = ("browser", "cli", "report")  # whose tests go through code that others call directly

# Nothing is downloaded, and nobody waits for a hub: read once, when the first test module imports what asks for it.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch.set_num_threads(1)

hypothesis.settings.register_profile("fast", max_examples=25, derandomize=True, deadline=None)
hypothesis.settings.register_profile("deep", max_examples=1000, deadline=None)
hypothesis.settings.register_profile("fuzz", max_examples=5000, derandomize=True, deadline=None)
hypothesis.settings.load_profile("fast")  # another one: --hypothesis-profile=deep


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed-salt", default="0", help="Gives every test another seed.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs with checks of types and shapes: short tests that call the code directly."""
    for item in items:
        home = item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else "elsewhere"
        if home not in (*COMMANDS, "elsewhere") and not item.get_closest_marker("slow"):
            item.add_marker("checked")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A seed of the test's own: a hash of its name and the salt, shown when the test fails."""
    salt = request.config.getoption("--seed-salt")
    digest = hashlib.sha256(f"{request.node.nodeid}#{salt}".encode()).digest()
    value = int.from_bytes(digest[:7], "big")
    request.node.add_report_section("setup", "seed", f"{value} (--seed-salt={salt})")
    return value


def global_random_state() -> dict[str, bytes]:
    """The states of the global generators.

    Python's own is left out: libraries, beartype among them, draw from it. The linter bans importing it.
    """
    _, key, *rest = np.random.get_state()  # noqa: NPY002 - the guarded thing itself
    return {"torch": torch.get_rng_state().numpy().tobytes(), "numpy": key.tobytes() + repr(rest).encode()}


@pytest.fixture(autouse=True)
def no_global_randomness() -> Iterator[None]:
    """Fail a test that draws from, or seeds, a global generator."""
    before = global_random_state()
    yield
    after = global_random_state()
    if changed := [name for name in before if before[name] != after[name]]:
        pytest.fail(f"global random state of {', '.join(changed)} changed: pass randomness as an argument")


@pytest.fixture(autouse=True)
def figures_survive_gray_print(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that draws series which only their color tells apart, on any figure of the package."""
    drawn: list[Figure] = []

    class Kept(Picture):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            drawn.append(self)

    monkeypatch.setattr("orthoscope.plots.style.Picture", Kept)
    yield
    if found := [pair for figure in drawn for pair in alike(figure)]:
        pytest.fail(f"told apart by color alone: {'; '.join(found)}")


@pytest.fixture
def unchecked() -> Iterator[None]:
    """No run-time type checks, so that a wrong type reaches the package's own errors, as it does for users."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def programs() -> Iterator[Programs]:
    """Scripts run by `programs.run(SCRIPT, ARGUMENTS..., folder=...)`, each as a process of its own."""
    started = Programs.start()
    with started.process:
        yield started


@pytest.fixture
def run_cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Finished]:
    """Call `orthoscope ARGS...` in this process."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*args: object) -> Finished:
        from orthoscope.cli.main import main

        capsys.readouterr()
        try:
            status = main([str(arg) for arg in args])
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        captured = capsys.readouterr()
        return Finished(int(status or 0), captured.out, captured.err)

    return run
