from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr

from orthoscope.study.audit.compare import compared
from orthoscope.study.audit.recommend import recommendation
from tests.study.audit.cells import GaussianCells

STRONG = "constant:3"
STEP, LINE = "step:early=3,late=-1,switch=60%", "linear:w0=1,slope=-0.1"
UNKNOWN = float("nan")


class Case(NamedTuple):
    """What was measured of one schedule, against the one in use; each error is 0.01."""

    spec: str
    diversity: float = UNKNOWN
    adherence: float = UNKNOWN
    gain: float = UNKNOWN
    equal: float = UNKNOWN
    calls: float = 600.0


def audit(*cases: Case, current: str = STRONG, candidates: int = 3, **attrs: str) -> xr.Dataset:
    """A compared dataset of these numbers: ends at 0.02, shared ends at 0.025 below."""
    variables = {}
    for name, field in (("diversity_change", "diversity"), ("adherence_change", "adherence"), ("gain", "gain")):
        values = np.array([getattr(case, field) for case in cases])
        for end, shift in (("", 0.0), ("_low", -0.02), ("_high", 0.02), ("_least", -0.025)):
            variables[f"{name}{end}"] = ("schedule", values + shift)
    variables["equal_strength"] = ("schedule", [case.equal for case in cases])
    variables["network_calls"] = ("schedule", [case.calls for case in cases])
    settings = {"current": current, "adherence": "class_posterior", "candidates": candidates} | attrs
    return xr.Dataset(variables, coords={"schedule": [case.spec for case in cases]}, attrs=settings)


USED = Case(STRONG)


# Decisions


def test_a_window_better_than_constant_strength_is_recommended() -> None:
    window = Case(STEP, diversity=0.08, adherence=-0.01, gain=0.05, equal=1.234, calls=300.0)
    found = recommendation(audit(USED, Case("constant:1", 0.04, -0.01), window))
    assert (found["schedule"], found["against"]) == (STEP, "constant:1.23")
    assert found["apply"] == f'with guided(pipe, "{STEP}"):'
    assert found["candidates"] == 2
    assert found["text"] == (
        f"Use {STEP} instead of {STRONG}: it keeps the posterior of the class within error and gains diversity, "
        "+0.080 [+0.060, +0.100] of the variance without guidance. Constant strength at equal mean shift "
        "(constant:1.23) keeps less, by +0.050 [+0.030, +0.070]."
    )
    evidence = "\n".join(found["evidence"])
    assert "by +0.055 at least" in evidence
    assert "a loss of 0.030 remains possible" in evidence
    assert "0.5 times the network calls" in evidence
    assert json.loads(json.dumps(found)) == found


def test_a_lower_constant_strength_that_gains_more_is_recommended() -> None:
    window = Case(STEP, diversity=0.08, adherence=0.0, gain=0.05, equal=2.0)
    found = recommendation(audit(USED, Case("constant:0.5", 0.12, 0.0), window))
    assert (found["schedule"], found["against"]) == ("constant:0.5", None)
    assert "a lower constant strength keeps the posterior" in found["text"]
    higher = recommendation(audit(USED, Case("constant:5", 0.12, 0.0)))
    assert "lower" not in higher["text"]


def test_a_window_that_constant_strength_matches_is_passed_over() -> None:
    # Its diversity is the largest, but the constant strength of its mean shift has as much.
    window = Case(STEP, diversity=0.13, adherence=0.0, gain=0.01, equal=0.5)
    found = recommendation(audit(USED, Case("constant:0.5", 0.12, 0.0), window))
    assert found["schedule"] == "constant:0.5"
    assert any(line.startswith(f"{STEP} gains +0.13") and "not above 0" in line for line in found["evidence"])
    # A second window with less diversity but a gain of its own is preferred to the first.
    other = Case(LINE, diversity=0.1, adherence=0.0, gain=0.06, equal=1.0)
    assert recommendation(audit(USED, window, other))["schedule"] == LINE


def test_a_constant_strength_that_does_as_well_is_named() -> None:
    window = Case(STEP, diversity=0.13, adherence=0.0, gain=0.01, equal=0.789)
    found = recommendation(audit(USED, Case("constant:0", 0.2, -0.1), window))
    assert found["schedule"] == "constant:0.789"
    assert found["text"].startswith("A lower constant strength does as well as any window: constant:0.789")
    assert any("was not run itself" in line for line in found["evidence"])
    # Had it been run and failed, nothing would be left to recommend.
    failed = recommendation(audit(USED, window, Case("constant:0.79", 0.13, -0.1)))
    assert failed["schedule"] is None
    assert any(
        line.startswith("constant:0.79 gains") and "but changes the posterior" in line for line in failed["evidence"]
    )


def test_none_does() -> None:
    lost = Case("constant:0", diversity=0.2, adherence=-0.05)
    worse = Case("constant:5", diversity=-0.1, adherence=-0.03)
    poorer = Case(STEP, diversity=0.022, adherence=0.0, gain=0.1, equal=2.0)
    found = recommendation(audit(USED, poorer, worse, lost))
    assert (found["schedule"], found["apply"]) == (None, None)
    assert found["text"].startswith("None does: no schedule tried keeps the posterior of the class within error")
    assert found["evidence"] == [
        "constant:0 gains diversity, +0.200 [+0.180, +0.220], but changes the posterior of the class by "
        "-0.050 [-0.070, -0.030].",
        f"{STEP} changes diversity by +0.022 [+0.002, +0.042], not above 0 beyond error.",
        "constant:5 changes diversity by -0.100 [-0.120, -0.080], not above 0 beyond error, and the posterior of the "
        "class by -0.030 [-0.050, -0.010].",
    ]


@pytest.mark.parametrize(("adherence", "kept"), [(0.3, True), (0.0, True), (-0.0199, True), (-0.0201, False)])
def test_adherence_is_kept_if_its_interval_reaches_zero_or_lies_above(adherence: float, kept: bool) -> None:
    found = recommendation(audit(USED, Case("constant:1", 0.1, adherence)))
    assert (found["schedule"] is not None) == kept


def test_a_loss_that_counts_as_none_may_be_seen() -> None:
    ds = audit(USED, Case("constant:1", 0.1, -0.04))
    found = recommendation(ds, tolerance=0.061)
    assert found["schedule"] == "constant:1"
    assert (
        "changes the posterior of the class by -0.040 [-0.060, -0.020], less than the 0.061 that would" in found["text"]
    )
    assert recommendation(ds, tolerance=0.059)["schedule"] is None  # the interval leaves more than that possible


@pytest.mark.parametrize(
    ("measure", "loss", "kept"),
    [("class_posterior", 0.009, True), ("text_similarity", 0.009, False), ("text_similarity", 0.0019, True)],
)
def test_less_of_a_cosine_may_be_lost_than_of_a_share(measure: str, loss: float, kept: bool) -> None:
    ds = audit(USED, Case("constant:1", 0.1, -loss), adherence=measure)
    for end in ("_low", "_high"):  # a loss beyond doubt
        ds[f"adherence_change{end}"] = ds.adherence_change
    assert (recommendation(ds)["schedule"] is not None) == kept


def test_a_line_that_was_extended_is_said_to_be() -> None:
    for equal, beyond in ((2.0, False), (4.0, True)):
        window = Case(STEP, diversity=0.08, adherence=0.0, gain=0.05, equal=equal)
        evidence = recommendation(audit(USED, Case("constant:0", 0.2, -0.1), window))["evidence"]
        assert any("no constant strength so far out was run" in line for line in evidence) == beyond


@pytest.mark.parametrize(("diversity", "gained"), [(0.0251, True), (0.0249, False)])
def test_diversity_and_gain_count_from_the_shared_level_on(diversity: float, gained: bool) -> None:
    # The interval of 95 % lies above 0 in either case.
    assert (recommendation(audit(USED, Case("constant:1", diversity, 0.0)))["schedule"] is not None) == gained
    window = Case(STEP, diversity=0.1, adherence=0.0, gain=diversity, equal=1.0)
    assert (recommendation(audit(USED, window))["schedule"] == STEP) == gained


# What cannot be decided


def test_a_window_without_comparison_is_not_recommended() -> None:
    found = recommendation(audit(USED, Case(STEP, diversity=0.1, adherence=0.0)))
    assert found["schedule"] is None
    assert "could not be compared with constant strength at equal mean shift" in found["text"]


def test_one_schedule_has_nothing_to_be_compared_with() -> None:
    found = recommendation(audit(USED))
    assert (found["schedule"], found["evidence"]) == (None, [])
    assert "there is no other schedule to compare constant:3 with" in found["text"]


def test_adherence_that_was_not_measured_decides_nothing() -> None:
    found = recommendation(audit(USED, Case("constant:1", 0.1)))
    assert found["schedule"] is None
    assert "the posterior of the class could not be measured" in found["text"]


# From cells to advice


def advice(toy: dict[str, tuple[float, float]], confidence: dict[str, float]) -> dict[str, object]:
    cells = GaussianCells(toy=toy, images=24, dim=8, apart=4.0, confidence=confidence)
    coords = {"schedule": list(toy), "role": ("schedule", ["reference", "constant", "window"])}
    plain = xr.Dataset(coords=coords | {"prompt": list(cells.prompts)}, attrs={"adherence": "class_posterior"})
    return recommendation(compared(cells, plain, current=STRONG, labels=(0, 1, 2, 3)))


def test_advice_from_images() -> None:
    toy = {"constant:0": (0.0, 1.0), STRONG: (0.3, 0.7), STEP: (0.2, 1.0)}
    better = advice(toy, dict.fromkeys(toy, 0.9) | {"constant:0": 0.8})
    assert better["schedule"] == STEP
    lost = advice(toy, {"constant:0": 0.8, STRONG: 0.9, STEP: 0.8})
    assert lost["schedule"] is None
    # Below the line between strengths 0 and 3, which is at 0.66 there: a constant strength does as well.
    as_well = advice(toy | {STEP: (0.2, float(np.sqrt(0.6)))}, dict.fromkeys(toy, 0.9) | {"constant:0": 0.8})
    assert as_well["schedule"].startswith("constant:")
    assert float(as_well["schedule"].removeprefix("constant:")) == pytest.approx(2.0, abs=0.5)
