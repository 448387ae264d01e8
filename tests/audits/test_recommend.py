from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from orthoscope.audits import recommend
from orthoscope.audits.compare import compared
from orthoscope.audits.contribute import Material
from orthoscope.audits.measure import measured
from orthoscope.guidance.schedules import Constant, GuidanceSchedule
from orthoscope.metrics import ClassImages
from orthoscope.rng import stream
from tests.audits.cells import GaussianCells, named, parsed

STRONG = "constant:3"
STEP, LINE = "step:early=3,late=-1,switch=0.6,clock=step", "linear:w0=1,slope=-0.1"
UNKNOWN = float("nan")


class Case(NamedTuple):
    """What was measured of one schedule, against the one in use; each error is 0.01."""

    spec: str
    diversity: float = UNKNOWN
    adherence: float = UNKNOWN
    gain: float = UNKNOWN
    equal: float = UNKNOWN
    calls: float = 600.0
    farther: float = UNKNOWN
    beyond: float = UNKNOWN


def audit(*cases: Case, current: str = STRONG, candidates: int = 3, **attrs: str) -> xr.Dataset:
    """A compared dataset of these numbers: ends at 0.02, shared ends at 0.025 below."""
    variables = {}
    fields = {"diversity_change": "diversity", "adherence_change": "adherence", "gain": "gain"}
    for name, field in (fields | {"distance_gain": "farther", "distance_excess": "beyond"}).items():
        values = np.array([getattr(case, field) for case in cases])
        for end, shift in (("", 0.0), ("_low", -0.02), ("_high", 0.02), ("_least", -0.025)):
            if end != "_least" or name in ("gain", "diversity_change"):
                variables[f"{name}{end}"] = ("schedule", values + shift)
        variables[f"{name}_stderr"] = ("schedule", np.full(len(cases), 0.01))
    variables["equal_strength"] = ("schedule", [case.equal for case in cases])
    variables["network_calls"] = ("schedule", [case.calls for case in cases])
    settings = {
        "current": current, "adherence": "class_posterior", "candidates": candidates, "images_per_prompt": 20,
        "adherence_grain": 0.0,
    } | attrs  # fmt: skip
    return xr.Dataset(variables, coords={"schedule": [case.spec for case in cases]}, attrs=settings)


def recommendation(ds: xr.Dataset, tolerance: float | None = None) -> dict[str, Any]:
    return recommend.recommendation(ds, parsed(map(str, ds.schedule.values)), tolerance=tolerance)


USED = Case(STRONG)


# Decisions


def test_a_window_better_than_constant_strength_is_recommended() -> None:
    window = Case(STEP, diversity=0.08, adherence=0.011, gain=0.05, equal=1.234, calls=300.0)
    found = recommendation(audit(USED, Case("constant:1", 0.04, -0.01), window))
    assert (found["schedule"], found["against"]) == (STEP, "constant:1.23")
    assert found["apply"] == f'with guided(pipe, "{STEP}"):'
    assert found["candidates"] == 2
    for told in ("+0.080 [+0.060, +0.100]", "+0.011 [-0.009, +0.031]", "a loss of 0.01 would not", "+0.050 [+0.030"):
        assert told in found["text"]
    evidence = "\n".join(found["evidence"])
    assert "by +0.055 at least" in evidence
    assert "a loss of at most 0.009" in evidence
    assert "0.5 times the network calls" in evidence
    assert json.loads(json.dumps(found)) == found


def test_a_lower_constant_strength_that_gains_more_is_recommended() -> None:
    window = Case(STEP, diversity=0.08, adherence=0.02, gain=0.05, equal=2.0)
    found = recommendation(audit(USED, Case("constant:0.5", 0.12, 0.02), window))
    assert (found["schedule"], found["against"]) == ("constant:0.5", None)
    assert "a lower constant strength gains" in found["text"]
    higher = recommendation(audit(USED, Case("constant:5", 0.12, 0.02)))
    assert "lower" not in higher["text"]


def test_a_window_that_constant_strength_matches_is_passed_over() -> None:
    # Its diversity is the largest, but the constant strength of its mean shift has as much.
    window = Case(STEP, diversity=0.13, adherence=0.02, gain=0.01, equal=0.5)
    found = recommendation(audit(USED, Case("constant:0.5", 0.12, 0.02), window))
    assert found["schedule"] == "constant:0.5"
    assert any(line.startswith(f"{STEP} gains") and "is not shown to keep more" in line for line in found["evidence"])
    # A second window with less diversity but a gain of its own is preferred to the first.
    other = Case(LINE, diversity=0.1, adherence=0.02, gain=0.06, equal=1.0)
    assert recommendation(audit(USED, window, other))["schedule"] == LINE


def test_a_constant_strength_that_was_not_run_is_named_and_not_recommended() -> None:
    window = Case(STEP, diversity=0.13, adherence=0.02, gain=0.01, equal=0.789)
    found = recommendation(audit(USED, Case("constant:0", 0.2, -0.1), window))
    assert found["schedule"] is None
    assert (
        "not shown to keep more variance than constant strength at equal mean shift (constant:0.789)" in found["text"]
    )
    assert "constant:0.789 was not run" in found["text"]
    run = recommendation(audit(USED, window, Case("constant:0.79", 0.13, -0.1)))
    assert (run["schedule"], "was not run" in run["text"]) == (None, False)


def test_none_does() -> None:
    lost = Case("constant:0", diversity=0.2, adherence=-0.05)
    poorer = Case(STEP, diversity=0.022, adherence=0.02, gain=0.1, equal=2.0)
    worse = Case("constant:5", diversity=-0.1, adherence=-0.02)
    found = recommendation(audit(USED, poorer, worse, lost))
    assert (found["schedule"], found["apply"], found["nearest"]) == (None, None, None)
    assert [v["schedule"] for v in found["verdicts"]] == ["constant:0", STEP, "constant:5"]
    assert [v["adherence"] for v in found["verdicts"]] == ["lost", "kept", "not shown"]
    assert [v["diversity"] for v in found["verdicts"]] == ["gained", "not shown", "lost"]
    assert [v["gain"] for v in found["verdicts"]] == [None, "gained", None]
    numbers = ("-0.050 [-0.070, -0.030]", "+0.022 [+0.002, +0.042]", "-0.020 [-0.040, +0.000]")
    assert all(number in line for number, line in zip(numbers, found["evidence"], strict=True))


@pytest.mark.parametrize(("adherence", "kept"), [(0.3, True), (0.0101, True), (0.0099, False), (0.0, False)])
def test_that_no_loss_was_seen_shows_nothing(adherence: float, kept: bool) -> None:
    found = recommendation(audit(USED, Case("constant:1", 0.1, adherence)))
    assert (found["schedule"] is not None) == kept
    assert (found["nearest"] == "constant:1") == (not kept)


def test_it_says_how_many_images_would_tell() -> None:
    # Half-width 0.02 is to be 0.7 of the tolerance of 0.01: 8.2 times 20 images, rounded up.
    found = recommendation(audit(USED, Case("constant:1", 0.1, 0.0)))
    assert found["verdicts"][0]["would_tell"] == {"images per prompt": 170}
    for told in ("+0.000 [-0.020, +0.020]", "a loss of 0.01 would not count", "about 170 images per prompt would tell"):
        assert told in found["text"]
    ds = audit(USED, Case("constant:1", 0.1, 0.0), over="prompts").expand_dims(prompt=[str(k) for k in range(50)])
    texts = recommendation(ds.isel(prompt=0).assign_coords(prompt=("prompt", ds.prompt.values)))
    assert texts["verdicts"][0]["would_tell"] == {"prompts": 410}


def test_a_loss_that_counts_as_none_may_be_seen() -> None:
    ds = audit(USED, Case("constant:1", 0.1, -0.04))
    found = recommendation(ds, tolerance=0.061)
    assert found["schedule"] == "constant:1"
    assert "-0.040 [-0.060, -0.020], where a loss of 0.061 would not count" in found["text"]
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
        window = Case(STEP, diversity=0.08, adherence=0.02, gain=0.05, equal=equal)
        evidence = recommendation(audit(USED, Case("constant:0", 0.2, -0.1), window))["evidence"]
        assert any("no constant strength so far out was run" in line for line in evidence) == beyond


@pytest.mark.parametrize(("diversity", "gained"), [(0.0251, True), (0.0249, False)])
def test_diversity_and_gain_count_from_the_shared_level_on(diversity: float, gained: bool) -> None:
    # The interval of 95 % lies above 0 in either case.
    assert (recommendation(audit(USED, Case("constant:1", diversity, 0.02)))["schedule"] is not None) == gained
    window = Case(STEP, diversity=0.1, adherence=0.02, gain=diversity, equal=1.0)
    assert (recommendation(audit(USED, window))["schedule"] == STEP) == gained


# Distance from the class


def test_a_window_that_varies_by_leaving_the_class_is_not_recommended() -> None:
    good = {"diversity": 0.13, "adherence": 0.02, "gain": 0.05, "equal": 1.5}
    ds = audit(USED, Case(STEP, **good, farther=0.2, beyond=0.1), distances_from="real images of the class")
    found = recommendation(ds)
    assert (found["schedule"], found["nearest"], found["apply"]) == (None, None, None)
    assert (
        "but it is farther from its class than constant:1.5, by +0.200 [+0.180, +0.220], and than real images of the "
        "class under its mean shift, by +0.100 [+0.080, +0.120]: it varies by leaving the class"
    ) in found["text"]
    (verdict,) = found["verdicts"]
    assert (verdict["gain"], verdict["distance"], verdict["leaves_class"]) == ("gained", "farther", True)
    assert verdict["distance_gain"] == pytest.approx({"value": 0.2, "low": 0.18, "high": 0.22})
    assert verdict["distance_excess"] == pytest.approx({"value": 0.1, "low": 0.08, "high": 0.12})
    # One with less diversity that stays is used instead, and why the other was passed is told.
    stays = Case(LINE, diversity=0.1, adherence=0.02, gain=0.04, equal=1.0, farther=0.0, beyond=0.1)
    other = recommendation(audit(USED, Case(STEP, **good, farther=0.2, beyond=0.1), stays))
    assert other["schedule"] == LINE
    assert any(line.startswith(STEP) and "leaving the class" in line for line in other["evidence"])
    # Nor is it called the nearest, were its adherence shown.
    unsure = Case(STEP, diversity=0.13, adherence=0.0, gain=0.05, equal=1.5, farther=0.2, beyond=0.1)
    assert recommendation(audit(USED, unsure))["nearest"] is None


@pytest.mark.parametrize(("farther", "beyond"), [(0.2, 0.019), (0.019, 0.1), (-0.1, -0.1), (0.2, UNKNOWN)])
def test_more_distance_alone_is_no_junk(farther: float, beyond: float) -> None:
    window = Case(STEP, diversity=0.13, adherence=0.02, gain=0.05, equal=1.5, farther=farther, beyond=beyond)
    found = recommendation(audit(USED, window))
    assert (found["schedule"], found["verdicts"][0]["leaves_class"]) == (STEP, False)
    assert ("It is farther from its class than constant:1.5, by +0.200" in found["text"]) == (farther == 0.2)
    assert ("but not shown to be farther than real images, +0.019" in found["text"]) == (beyond == 0.019)


# What cannot be decided


def test_a_window_without_comparison_is_not_recommended() -> None:
    found = recommendation(audit(USED, Case(STEP, diversity=0.1, adherence=0.02)))
    assert found["schedule"] is None
    assert "could not be compared with constant strength at equal mean shift" in found["text"]


def test_little_knowledge_asks_for_guidance_that_ends() -> None:
    known = {"standing": "ignorant", "text": ["It has learned 0.17 [0.12, 0.22].", "That costs."]}
    lower, ending = Case("constant:1", 0.04, -0.1), Case("step:early=3,late=0,switch=0.5,clock=step", 0.0, -0.1, 0.0, 2)

    def advised(*others: Case, **changes: str) -> dict[str, Any]:
        return recommendation(audit(USED, *others, knowledge=json.dumps(known | changes)))

    found = advised(lower)
    assert "ends should help and was not run: try step:early=3,late=0,switch=50%." in found["text"]
    assert found["evidence"][-2:] == known["text"]
    for other in (advised(lower, ending), advised(lower, standing="between"), recommendation(audit(USED, lower))):
        assert "was not run" not in other["text"]


def test_one_schedule_has_nothing_to_be_compared_with() -> None:
    found = recommendation(audit(USED))
    assert (found["schedule"], found["evidence"]) == (None, [])
    assert "there is no other schedule to compare constant:3 with" in found["text"]


def test_adherence_that_was_not_measured_decides_nothing() -> None:
    found = recommendation(audit(USED, Case("constant:1", 0.1)))
    assert found["schedule"] is None
    assert "the posterior of the class could not be measured" in found["text"]


# From cells to advice


def advice(toy: dict[str, tuple[float, float]], confidence: dict[str, float], images: int = 24) -> dict[str, object]:
    cells = GaussianCells(toy=toy, images=images, dim=8, apart=4.0, confidence=confidence)
    coords = {"schedule": list(toy), "role": ("schedule", ["reference", "constant", "window"])}
    about = {"adherence": "class_posterior", "images_per_prompt": images}
    plain = xr.Dataset(coords=coords | {"prompt": list(cells.prompts)}, attrs=about)
    labels = {prompt: number for number, prompt in enumerate(cells.prompts)}
    material = Material(cells=cells, prompts=cells.prompts, labels=labels)
    found = compared(material, plain, parsed(toy), current=Constant(value=3))
    return recommendation(found, tolerance=0.02)


def test_advice_from_images() -> None:
    toy = {"constant:0": (0.0, 1.0), STRONG: (0.3, 0.7), STEP: (0.2, 1.0)}
    confidence = dict.fromkeys(toy, 0.9) | {"constant:0": 0.8}
    # No image was lost in 4 x 24, and 3.7 of them may be: more than 0.02. As many as it names show that it is kept.
    few = advice(toy, confidence)
    assert (few["schedule"], few["nearest"]) == (None, STEP)
    (waiting,) = [one for one in few["verdicts"] if one["schedule"] == STEP]
    assert waiting["would_tell"]["images per prompt"] == pytest.approx(3.69 / (0.7 * 0.02) / 4, rel=0.1)
    assert advice(toy, confidence, images=waiting["would_tell"]["images per prompt"])["schedule"] == STEP
    lost = advice(toy, {"constant:0": 0.8, STRONG: 0.9, STEP: 0.8}, images=70)
    assert (lost["schedule"], lost["nearest"]) == (None, None)
    # Below the line between strengths 0 and 3, which is at 0.66 there.
    as_well = advice(toy | {STEP: (0.2, float(np.sqrt(0.6)))}, confidence, images=70)
    assert as_well["schedule"] is None
    assert [one["gain"] for one in as_well["verdicts"] if one["schedule"] == STEP] == ["lost"]


@dataclass(frozen=True, kw_only=True, eq=False)
class StrayCells(GaussianCells):
    """The same toy, of which every tenth image of the window lands far off every class.

    Attributes:
        off: How far, in standard deviations of the class along every coordinate.
    """

    off: float = 0.0

    def features(self, schedule: GuidanceSchedule | str, prompt: str) -> NDArray[np.float32]:
        x = super().features(schedule, prompt)
        if named(schedule) == STEP:
            x[::10] += self.off * np.sign(stream(0, "off", prompt).standard_normal(x[::10].shape)).astype(np.float32)
        return x


@pytest.mark.parametrize("is_real", [True, False])
def test_junk_is_refused_and_a_true_gain_is_not(is_real: bool) -> None:
    toy = {"constant:0": (0.0, 1.0), "constant:1": (0.1, 0.85), STRONG: (0.3, 0.6), STEP: (0.2, 0.72)}
    roles = dict(zip(parsed(toy), ("reference", "constant", "constant", "window"), strict=True))

    def advice(spread: float, off: float) -> dict[str, Any]:
        kept = {"constant:0": 0.8, "constant:1": 0.8, STRONG: 0.9, STEP: 0.9}
        cells = StrayCells(toy=toy | {STEP: (0.2, spread)}, images=80, dim=8, confidence=kept, off=off)
        labels = {prompt: number for number, prompt in enumerate(cells.prompts)}
        real = None
        if is_real:
            classes = np.repeat(np.arange(4), 200)
            centers = np.stack([cells.center(prompt) for prompt in cells.prompts])[classes]
            rows = centers + stream(0, "real").standard_normal((800, 8))
            held_out = np.arange(800) % 4 == 0
            real = ClassImages(
                rows=rows[~held_out], labels=classes[~held_out], unseen=(rows[held_out], classes[held_out])
            )
        material = Material(cells=cells, prompts=cells.prompts, labels=labels, real=real)
        ds = measured(material, roles, cells.prompts).assign_attrs(images_per_prompt=80)
        found = compared(material, ds, list(roles), current=Constant(value=3))
        assert ("real_class_distance" in found) == is_real
        return {"far": float(found.far_share.sel(schedule=STEP))} | recommendation(found, tolerance=0.02)

    # As wide as the class itself: farther than constant strength, and no farther than real images.
    true = advice(1.0, 0.0)
    assert (true["schedule"], true["far"] < 0.1) == (STEP, True)
    assert "It is farther from its class than constant:" in true["text"]
    # Narrow but for strays: the variance gained is theirs.
    junk = advice(0.72, 6.0)
    assert (junk["schedule"], junk["far"] >= 0.1) == (None, True)
    assert "it varies by leaving the class" in junk["text"]
    (verdict,) = [one for one in junk["verdicts"] if one["schedule"] == STEP]
    assert (verdict["diversity"], verdict["gain"], verdict["leaves_class"]) == ("gained", "gained", True)
