"""The lowest versions that pyproject.toml claims, as pins: `python .ci/lowest.py EXTRA...`; torch keeps its own."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def pins(*extras: str) -> list[str]:
    """One line for each package that is needed, or that these extras bring."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(one for extra in extras for one in optional[extra])]
    bounds = (re.fullmatch(r"([\w.-]+)(?:\[.*\])?>=([\w.]+)", one) for one in wanted)
    lowest = dict(bound.groups() for bound in bounds if bound is not None)
    exact = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    lowest |= re.findall(r"^(torch)==(.*)$", exact, re.MULTILINE)
    return [f"{name}=={version}" for name, version in lowest.items()]


if __name__ == "__main__":
    print("\n".join(pins(*sys.argv[1:])))
