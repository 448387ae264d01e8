"""Pages of forecasts and of controllers say what their data say."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import orthoscope as osc
from orthoscope.quantities import Estimate

METHODS = {
    "all feedback": "feedback", "PPO": "learned", "gradients, by the odds": "sees odds",
    "gradients, by the ratio": "sees ratio", "gradients, blind": "blind", "by the odds, above blind": "sees odds",
    "by the ratio, above blind": "sees ratio", "all feedback, far or not": "feedback",
}  # fmt: skip
OUTCOMES = {"far off, at most": "far"}
PAIRS = {
    "open loop": "area", "by the odds, above blind": "over_blind", "by the ratio, above blind": "over_blind",
    "all feedback, far or not": "ahead_freely",
}  # fmt: skip
AIMS = {"mean shift": "mean_shift", "posterior": "class_posterior"}
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


def shown(found: dict[str, float]) -> str:
    """A number as pages show it."""
    if found["value"] == found["stderr"] == 0:
        return "0"
    return str(Estimate(value=found["value"], stderr=found["stderr"], n=0))


def test_every_number_of_the_table_of_both_forecasters_is_that_of_the_study() -> None:
    found = osc.read(DOCS / "results" / "reweighting").numbers
    rows = [row for row in rows_of("forecast.md") if len(row) == 11 and row[1].isdigit()]
    for pipeline, images, quantity, count, steps, *cells in rows:
        model, _, exact = pipeline.replace("`", "").partition(", ")
        one = found[f"{model}, {exact or 'network'}, {images} images"]
        assert means(count, one["effective"])
        assert means(steps, one["reached"])
        by = (one[quantity.replace(" ", "_")][who] for who in ("surrogate", "reweighted", "trusted"))
        told = [part[name] for part in by for name in ("rms error", "coverage of 90% intervals")]
        assert all(map(means, cells, told)), (pipeline, images, quantity)
    assert len(rows) == 2 * len(found)


def test_every_number_of_the_tables_of_controllers_is_that_of_the_study() -> None:
    found: dict[str, Any] = osc.read(DOCS / "results" / "control").numbers
    heads, checked = [], 0
    for row in rows_of("control.md"):
        if row[0] in ("setting", "far off, at most", "paired"):
            heads = row
        elif row[0] in found and heads[1] != "gain":
            of = found[row[0]]["mean_shift"]["variance_ratio"]
            for head, cell in zip(heads[1:], row[1:], strict=True):
                one = of.get(METHODS.get(head, head))
                what = OUTCOMES.get(heads[0]) or PAIRS.get(head, "ahead")
                assert cell == ("–" if one is None else shown(one[what])), (row[0], head, cell)
                checked += 1
    assert checked == 9 * 12 + 9 * 6 + 9 * 3


def test_every_number_of_the_table_of_objectives_is_that_of_the_study() -> None:
    found: dict[str, Any] = osc.read(DOCS / "results" / "control").numbers
    rows = [row for row in rows_of("control.md") if row[1:2] and row[1] in AIMS]
    assert len(rows) == 9 + 3
    for setting, aim, *cells in rows:
        of = found[setting][AIMS[aim]]
        for diversity, cell in zip(("variance_ratio", "vendi", "recall"), cells, strict=True):
            one = of[diversity]
            assert cell == f"{shown(one['feedback']['ahead'])} of {shown(one['open loop']['area'])}", (setting, aim)
    told = {(row[0], AIMS[row[1]]) for row in rows}
    for setting, of in found.items():
        for aim in ("class_posterior", "frechet"):
            area = max(one["open loop"]["area"]["value"] for one in of[aim].values())
            assert (setting, aim) in told or area <= (0.0032 if aim == "class_posterior" else 0), (setting, aim)
        assert not any(one["feedback"]["area"]["value"] for one in of["frechet"].values())
