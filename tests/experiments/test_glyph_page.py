"""The page of many real classes says what its data say."""

from __future__ import annotations

from pathlib import Path

import pytest

import orthoscope as osc
from orthoscope.quantities import Estimate

DOCS = Path(__file__).parents[2] / "docs"


def shown(number: dict[str, float]) -> str:
    return str(Estimate(value=number["value"], stderr=number["stderr"], n=0))


@pytest.mark.parametrize("model", ["digits", "glyphs", "glyphs-10", "glyphs-100", "glyphs-weak"])
def test_every_number_of_the_tables_is_that_of_the_study(model: str) -> None:
    found = osc.read(DOCS / "results" / "glyphs").numbers[model]
    page = (DOCS / "explanation" / "glyphs.md").read_text(encoding="utf-8")
    sources = found["sources"]
    kept = [shown(one["constant 3"]["variance_ratio"]) for one in sources.values()]
    nats = f"{shown(found['decided_nats'])} ({shown(found['decided_nats_exact'])})"
    assert f"| `{model}` | {' | '.join([shown(found['learned_fraction']), nats, *kept])} |" in page
    for schedule in ("waiting", "ending", "turning"):
        network = sources["network"][schedule]
        gains = [shown(one[schedule]["gain"]) for one in sources.values()]
        far = [shown(network[name]) for name in ("class_distance", "distance_gain", "distance_excess")]
        row = [f"`{model}`", schedule, shown(network["variance_ratio"]), *gains, *far]
        assert f"| {' | '.join(row)} |" in page
