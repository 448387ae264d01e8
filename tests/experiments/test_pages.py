"""Pages of forecasts and of controllers say what their data say."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import orthoscope as osc
from orthoscope.quantities import Estimate

METHODS = {
    "PPO": "learned", "gradients, by the odds": "sees odds", "gradients, by the ratio": "sees ratio",
    "gradients, blind": "blind",
}  # fmt: skip
DOCS = Path(__file__).parents[2] / "docs"


def rows_of(page: str) -> list[list[str]]:
    """The cells of all tables of a page."""
    lines = (DOCS / "explanation" / page).read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def means(cell: str, value: float) -> bool:
    """Whether a cell is a number, rounded as it is shown."""
    digits = len(cell.partition(".")[2])
    return math.isclose(float(cell), value, abs_tol=0.501 * 10**-digits)


@pytest.mark.parametrize("model", ["digits", "glyphs-10", "glyphs"])
def test_every_number_of_the_table_of_forecasts_is_that_of_the_study(model: str) -> None:
    found = osc.read(DOCS / "results" / "forecast").numbers
    table = rows_of("forecast.md")
    first = table.index(next(row for row in table if row[0] == f"`{model}`"))
    told = [(source, name) for source in ("network", "exact") for name in ("variance_ratio", "mean_shift")]
    names = ("rank correlation", "pairs in order", "slope", "rms error", "spread", "coverage of 90% intervals",
             "half interval")  # fmt: skip
    for row, (source, quantity) in zip(table[first : first + 4], told, strict=True):
        assert row[1] == quantity.replace("_", " ")
        one = found[f"{model}, {source}"][quantity]
        assert all(means(cell, one[name]) for cell, name in zip(row[2:], names, strict=True)), (model, source, row)


def test_every_number_of_the_tables_of_controllers_is_that_of_the_study() -> None:
    found: dict[str, Any] = osc.read(DOCS / "results" / "control").numbers
    heads, checked = [], 0
    for row in rows_of("control.md"):
        if row[0] in ("setting", "far off, at most"):
            heads = row
        elif row[0] in found:
            of = found[row[0]]["effect"]
            for head, cell in zip(heads[1:], row[1:], strict=True):
                method = METHODS.get(head, head)
                what = "far" if heads[0] != "setting" else "volume" if head == "open loop" else "gain"
                known = of[method][what]
                shown = str(Estimate(value=known["value"], stderr=known["stderr"], n=0))
                assert cell == shown or float(cell) == known["value"], (row[0], head, cell, shown)
                checked += 1
    assert checked == 8 * 9 + 8 * 5
