"""The page of many real classes says what its data say."""

from __future__ import annotations

from pathlib import Path

import pytest

import orthoscope as osc
from orthoscope.calibration.advice import advice, standing
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


@pytest.mark.parametrize("model", ["digits", "glyphs", "glyphs-10", "glyphs-100", "glyphs-weak"])
def test_advice_is_what_the_audits_found(model: str) -> None:
    found = osc.read(DOCS / "results" / "glyphs").numbers[model]
    learned, claimed, left = (
        Estimate(**found[name]) for name in ("learned_fraction", "decided_nats", "decided_nats_exact")
    )
    network = found["sources"]["network"]

    def is_above(schedule: str, name: str) -> bool:
        return Estimate(**network[schedule][name]).interval()[0] > 0

    gains = {schedule: is_above(schedule, "gain") for schedule in ("waiting", "ending", "turning")}
    leaves = {name: is_above(name, "distance_gain") and is_above(name, "distance_excess") for name in gains}
    waiting, ending, turning = advice(learned, claimed, left, None)
    if model in ("digits", "glyphs-10"):  # and they differ from each other in nothing that was measured
        assert standing(learned) == "between"
        assert all("an audit must tell" in text for text in (waiting, ending, turning))
        assert gains == {"waiting": True, "ending": False, "turning": False}
        return
    assert standing(learned) == "ignorant"
    assert waiting.startswith("Waiting is not expected to help")
    assert not gains["waiting"] or leaves["waiting"]
    assert ending.startswith("Ending is expected to help")
    assert gains["ending"]
    assert "should give back more variance than ending" in turning
    assert network["turning"]["variance_ratio"]["value"] > network["ending"]["variance_ratio"]["value"]
    assert "look at the distance" in turning
    assert leaves["turning"]
