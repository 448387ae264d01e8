"""The structure of the package in numbers: statements, files, floors, arrows between them, and wide functions.

`python -m benchmarks.house [FOLDER]` reads the sources of this checkout, or of the package folder given.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

WIDE = 7  # parameters, self left out


def floor_of(path: Path, package: Path) -> str:
    """The folder or module of the package that a file belongs to."""
    return path.relative_to(package).parts[0].removesuffix(".py")


def statements(tree: ast.Module) -> int:
    """Statements, docstrings left out."""
    return sum(
        isinstance(node, ast.stmt) and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in ast.walk(tree)
    )


def imported(tree: ast.Module) -> Iterator[str]:
    """Floors that a file imports from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("orthoscope"):
            rest = node.module.split(".")[1:]
            yield from rest[:1] or [alias.name for alias in node.names]


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Names of the parameters of a function."""
    arguments = node.args
    names = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls")]


def measure(package: Path) -> dict[str, object]:
    """All numbers of a package folder."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(package.rglob("*.py"))}
    sizes: Counter[str] = Counter()
    arrows: set[tuple[str, str]] = set()
    for path, tree in trees.items():
        floor = floor_of(path, package)
        sizes[floor] += statements(tree)
        arrows |= {(floor, other) for other in imported(tree) if other != floor and not other.startswith("__")}
    functions = [
        node
        for path, tree in trees.items()
        if floor_of(path, package) not in ("cli", "face")  # what people type are parameters of functions
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    total = sum(sizes.values())
    largest, size = sizes.most_common(1)[0]
    return {
        "statements": total,
        "files": len(trees),
        "floors": sum(1 for path in package.iterdir() if path.is_dir() and (path / "__init__.py").exists()),
        "arrows between floors": len(arrows),
        "largest floor": f"{largest}, {100 * size / total:.1f} % of the statements",
        f"functions with {WIDE} or more parameters": sum(len(parameters(node)) >= WIDE for node in functions),
        "most parameters of one": max(len(parameters(node)) for node in functions),
        "functions that are handed `dim`": sum("dim" in parameters(node) for node in functions),
    }


if __name__ == "__main__":
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "src" / "orthoscope"
    for name, value in measure(place).items():
        print(f"{name}: {value}")
