"""What the project promises about its own source: layers, light imports, sizes, sources, tests that test."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "orthoscope"
DOCS = ROOT / "docs"

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 80
HEAVY = ("torch", "matplotlib", "xarray", "sklearn", "diffusers")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules(folder: Path) -> dict[Path, ast.Module]:
    """Every module under a folder, parsed."""
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.py"))}


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


# Layers and imports


def test_imports_respect_the_layers() -> None:
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as run; run()",
            "--no-cache",
            "--no-logo",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


CALL = """
from orthoscope.cli.main import main
try:
    status = main({!r})
except SystemExit as stop:
    status = stop.code
"""


@pytest.mark.parametrize(
    "statement",
    [
        "import orthoscope",
        "import orthoscope.theory",
        "import orthoscope.process, orthoscope.quantities, orthoscope.serialize",
        "import orthoscope.guidance.schedules, orthoscope.guidance.grammar",
        "import orthoscope as osc\nosc.schedule('mine')(abs)\nosc.parse_schedule('mine')",
        CALL.format(["--help"]),
        CALL.format(["audit", "--help"]),
        CALL.format(["predict", "--rate", "0.2", "--std", "0.5", "--strength", "1"]),
    ],
    ids=["orthoscope", "theory", "foundations", "schedules", "own schedule", "--help", "audit --help", "predict"],
)
def test_a_fresh_interpreter_loads_nothing_heavy(statement: str) -> None:
    report = f"sys.stderr.write('loaded: ' + ' '.join(name for name in {HEAVY} if name in sys.modules) + '\\n')"
    code = f"import sys\nstatus = 0\n{statement}\n{report}\nsys.exit(status)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stderr.splitlines()[-1].split() == ["loaded:"]


# Sizes


def test_files_and_functions_stay_short() -> None:
    long = []
    for path, tree in modules(PACKAGE).items():
        name, lines = path.relative_to(PACKAGE), len(path.read_text(encoding="utf-8").splitlines())
        if lines > MAX_FILE_LINES:
            long.append(f"{name}: {lines} lines")
        for function in functions(tree):
            if (lines := function.end_lineno - function.lineno + 1) > MAX_FUNCTION_LINES:
                long.append(f"{name}:{function.lineno} {function.name}: {lines} lines")
    assert not long


# Sources


def source_problem(docstring: str, keys: set[str]) -> str | None:
    """What is wrong with the Source section of a docstring, if it has one."""
    section = re.search(r"^Source:\n((?:[ \t]+.*\n?|\n)+)", docstring, re.MULTILINE)
    if section is None:
        return None
    cited = set(re.findall(r"\[([a-z]+\d{4}[a-z]*)\]", section[1]))
    if cited - keys:
        return f"cites unknown {sorted(cited - keys)}"
    pages = re.findall(r"\b(?:tutorial|schema|(?:explanation|howto|reference)/[\w-]+)", section[1])
    missing = [page for page in pages if not (DOCS / f"{page}.md").exists()]
    if missing:
        return f"names missing pages {missing}"
    derived = "derived" in section[1].lower() and pages
    return None if cited or derived else "Source names neither a paper nor 'derived' with a page of docs/"


def test_sources_that_are_stated_exist() -> None:
    keys = set(re.findall(r"^@\w+\{(\w+),", (DOCS / "references.bib").read_text(encoding="utf-8"), re.MULTILINE))
    found = {
        f"{path.relative_to(PACKAGE)}: {getattr(node, 'name', 'module')}": problem
        for path, tree in modules(PACKAGE).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | Function)
        if (problem := source_problem(ast.get_docstring(node) or "", keys))
    }
    assert not found, "\n".join(f"{name} {problem}" for name, problem in found.items())


def test_the_check_of_sources_notices_what_it_should() -> None:
    def problem(source: str) -> str | None:
        return source_problem(f"One line.\n\nSource:\n    {source}\n", {"ho2022classifier"})

    assert problem("[ho2022classifier], Eq. (6).") is None
    assert problem("derived in explanation/concepts.") is None
    assert "unknown" in problem("[ho2021classifier]")
    assert "missing" in problem("derived in explanation/nowhere.")
    assert "neither" in problem("derived.")
    assert source_problem("One line.", set()) is None


# Tests that test


def calls(node: ast.AST) -> Iterator[str]:
    """The last names of everything called inside."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call):
            yield ast.unparse(call.func).rpartition(".")[2]


def idle(tree: ast.Module) -> list[str]:
    """Tests, and helpers named expect_ or assert_, that cannot fail."""
    found = []
    for function in functions(tree):
        helper = function.name.startswith(("expect_", "assert_"))
        if not helper and not function.name.startswith("test_"):
            continue
        decisive = (ast.Assert, ast.Raise) if helper else (ast.Assert,)
        delegates = any(
            name.startswith(("expect_", "assert_")) or (name in ("raises", "warns") and not helper)
            for name in calls(ast.Module(function.body, []))
        )
        if not delegates and not any(isinstance(node, decisive) for node in ast.walk(function)):
            found.append(function.name)
    return found


def test_every_test_can_fail() -> None:
    found = {
        str(path.relative_to(ROOT)): names for path, tree in modules(ROOT / "tests").items() if (names := idle(tree))
    }
    assert not found


def test_the_check_of_tests_notices_what_it_should() -> None:
    good = "def test_a():\n    np.testing.assert_allclose(1, 1)\ndef expect_b(x):\n    assert x\n"
    bad = "def test_c():\n    f(1)\ndef expect_d(x):\n    return x\n"
    assert idle(ast.parse(good)) == []
    assert idle(ast.parse(bad)) == ["test_c", "expect_d"]


# Text

MACHINE_PATH = re.compile(r"(?<![\w.:/*~-])/(?:home|Users|root|work|mnt|opt|private)/\w")


def texts() -> Iterator[Path]:
    """Every text file of the repository proper."""
    folders = [ROOT / name for name in ("src", "tests", "docs", "benchmarks", "examples", ".ci")]
    kinds = {"", ".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".json", ".bib", ".cff", ".css", ".js"}
    candidates = [*ROOT.iterdir(), *(path for folder in folders for path in folder.rglob("*"))]
    return (path for path in candidates if path.is_file() and path.suffix in kinds)


def test_no_text_mentions_a_path_of_one_machine() -> None:
    found = {str(path.relative_to(ROOT)) for path in texts() if MACHINE_PATH.search(path.read_text(encoding="utf-8"))}
    assert not found
    assert MACHINE_PATH.search("see " + "/".join(["", "home", "me"]))
