"""The page of many real classes says what its data say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
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


def test_the_first_numbers_that_people_read_are_those_of_the_study() -> None:
    sources = osc.read(DOCS / "results" / "glyphs").numbers["glyphs"]["sources"]
    page = " ".join((DOCS.parent / "README.md").read_text(encoding="utf-8").split())
    for source in ("network", "modes", "classes", "gaussian"):
        kept = Estimate(**sources[source]["constant 3"]["variance_ratio"])
        low, high = kept.interval()
        assert f"{100 * kept.value:.0f} % ({100 * low:.0f} to {100 * high:.0f} %)" in page


def test_at_equal_push_the_network_keeps_what_its_images_as_modes_keep() -> None:
    sources = osc.read(DOCS / "results" / "glyphs").numbers["glyphs"]["sources"]
    page = " ".join((DOCS / "explanation" / "glyphs.md").read_text(encoding="utf-8").split())

    def of(source: str, name: str) -> list[float]:
        return [float(sources[source][f"constant {w}"][name]["value"]) for w in (0, 1, 3)]

    shift = of("modes", "mean_shift")[-1]
    kept = float(np.interp(shift, of("network", "mean_shift"), of("network", "variance_ratio")))
    modes = Estimate(**sources["modes"]["constant 3"]["variance_ratio"])
    assert modes.interval()[0] < kept < modes.interval()[1]
    assert f"by {of('network', 'mean_shift')[-1]:.3f}, that of its images as modes by {shift:.3f}" in page
    assert f"keeps {kept:.3f} of the variance, and the modes {modes}" in page
    assert f"at {of('classes', 'mean_shift')[-1]:.3f}, it also" in page
