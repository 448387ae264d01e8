from __future__ import annotations

import json
import math
from collections.abc import Iterable

import numpy as np
import pytest
import xarray as xr

from orthoscope import metrics
from orthoscope.audits import compare
from orthoscope.audits.compare import Compared
from orthoscope.audits.contribute import Material
from orthoscope.audits.line import Knot, line
from orthoscope.audits.measure import measured
from orthoscope.errors import ConfigError, ShapeError
from orthoscope.guidance.schedules import Constant
from orthoscope.metrics.contributions import Contributions, combination
from tests.audits.cells import GaussianCells, named, parsed
from tests.stat.expect import expect_estimate, expect_rate

# Constant strengths shrink as they shift. A copy of one is a window by name only; a better one keeps more variance.
TOY = {
    "constant:0": (0.0, 1.0),
    "constant:1": (0.1, 0.9),
    "constant:3": (0.3, 0.8),
    "step:early=1,late=1,switch=0.5,clock=step": (0.1, 0.9),
    "step:early=3,late=-1,switch=0.5,clock=step": (0.2, 1.0),
}
COPY, BETTER = list(TOY)[3:]
CELLS = GaussianCells(toy=TOY, images=40, apart=4.0)
JUDGED = GaussianCells(toy=TOY, images=40, apart=4.0, confidence={spec: 0.9 - 0.1 * (spec == BETTER) for spec in TOY})
LABELS = (0, 1, 2, 3)
CLASSES = dict(zip(JUDGED.prompts, LABELS, strict=True))


def numbers(cells: GaussianCells, spec: str) -> tuple[float, float]:
    """Variance ratio and mean shift, directly."""
    groups = np.repeat(LABELS, cells.images)
    x, y = (np.concatenate([cells.features(s, p) for p in cells.prompts]) for s in (spec, "constant:0"))
    ratio = metrics.variance_within(x, groups).value / metrics.variance_within(y, groups).value
    return ratio, metrics.mean_shift_from(x, y, groups).value


def material(cells: GaussianCells, labels: dict[str, int] | None = None) -> Material:
    return Material(cells=cells, prompts=cells.prompts, labels=labels)


def gains(cells: GaussianCells, specs: Iterable[str]) -> dict[str, Compared]:
    return {named(schedule): one for schedule, one in compare.gains(material(cells), parsed(specs)).items()}


def test_what_was_measured_is_compared_without_reading_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh, known = material(JUDGED, CLASSES), material(JUDGED, CLASSES)
    schedules = list(parsed(TOY))
    measured(known, dict.fromkeys(schedules, "constant"), JUDGED.prompts)
    assert list(known.traits) == schedules
    found = compare.gains(fresh, schedules)
    monkeypatch.delattr(Material, "read")
    assert compare.gains(known, schedules) == found


# Sums of measures


def test_a_sum_of_measures_has_the_sum_of_their_values(seed: int) -> None:
    draws, groups = np.random.default_rng(seed), np.repeat([0, 1], 3)
    parts = [Contributions(values=draws.standard_normal(6), groups=groups, grain=0.1) for _ in range(3)]
    found = combination([2.0, -1.0, 0.5], parts)
    assert found.value == pytest.approx(2 * parts[0].value - parts[1].value + parts[2].value / 2, abs=1e-12)
    assert found.grain == pytest.approx(0.35)
    np.testing.assert_allclose(combination([1, -1], parts[:2]).values, parts[0].minus(parts[1]).values)
    with pytest.raises(ShapeError, match="one weight for each measure, got 2 for 3"):
        combination([1, 2], parts)
    with pytest.raises(ConfigError, match="at least one measure"):
        combination([], [])
    with pytest.raises(ShapeError, match="paired runs"):
        combination([1, 1], [parts[0], Contributions(values=np.ones(6), groups=groups[::-1])])


# The line


def of_value(value: float, spread: float = 0.0, seed: int = 0) -> Contributions:
    noise = np.random.default_rng(seed).standard_normal(30)
    return Contributions(values=value + spread * (noise - noise.mean()), groups=np.zeros(30, dtype=int))


def knots(*points: tuple[float, float, float]) -> list[Knot]:
    return [Knot(w, of_value(v), of_value(m)) for w, m, v in points]


def test_the_gain_is_the_height_above_the_line() -> None:
    constants = knots((0, 0.0, 1.0), (1, 0.1, 0.9), (3, 0.3, 0.8))
    for shift, below, strength, extended in (
        (0.05, 0.95, 0.5, False),
        (0.2, 0.85, 2.0, False),
        (0.3, 0.8, 3.0, False),
        (0.5, 0.7, 5.0, True),
        (-0.1, 1.1, -1.0, True),
    ):
        found = line(constants, of_value(0.97), of_value(shift), over="images")
        assert found.gain.value == pytest.approx(0.97 - below, abs=1e-12)
        assert found.equal_strength == pytest.approx(strength, abs=1e-9)
        assert found.extended == extended


def test_contributions_are_first_order_changes_of_the_gain(seed: int) -> None:
    pieces = [of_value(v, 0.05, seed + i) for i, v in enumerate((0.95, 0.2, 1.0, 0.0, 0.8, 0.3))]
    variance, shift, v1, m1, v2, m2 = pieces
    found = line([Knot(0, v1, m1), Knot(3, v2, m2)], variance, shift, over="images").gain
    step, change = 1e-6, np.random.default_rng(seed).standard_normal(30)
    change -= change.mean()
    moved = [part.values @ (1 + step * change) / 30 for part in pieces]
    share = (moved[1] - moved[3]) / (moved[5] - moved[3])
    height = moved[0] - (1 - share) * moved[2] - share * moved[4]
    assert (height - found.value) / step == pytest.approx(found.values @ change / 30, rel=1e-3, abs=1e-6)


def test_knots_too_near_each_other_are_passed_over() -> None:
    # The slope between 0.2 and 0.2001 is noise: the line through 0.2 and 0.4 is read instead.
    near = [
        *knots((0, 0.0, 1.0), (2, 0.2, 0.8)),
        Knot(2.1, of_value(0.7), of_value(0.2001, 0.01)),
        *knots((4, 0.4, 0.6)),
    ]
    found = line(near, of_value(0.8), of_value(0.20002), over="images")
    assert found.gain.value == pytest.approx(0.8 - (0.8 - 0.00002), abs=1e-9)
    flat = Knot(0, of_value(1.0), of_value(0.0)), Knot(1, of_value(0.9), of_value(0.01, 0.1))
    with pytest.raises(ConfigError, match="do not differ in mean shift beyond error; give one further from 0"):
        line(flat, of_value(0.9), of_value(0.1), over="images")


@pytest.mark.slow
def test_intervals_of_gains_hold_the_truth_as_often_as_they_say(seed: int) -> None:
    # Four groups of 30 images; the line falls from 1 to 0.6 over shifts of 0.1 to 0.3, so the gain at 0.2 is 0.1.
    draws, groups, hits, blind = np.random.default_rng(seed), np.repeat(LABELS, 30), [], []
    for _ in range(400):
        common = draws.standard_normal(len(groups))

        def part(mean: float, spread: float, common: np.ndarray = common) -> Contributions:
            return Contributions(values=mean + spread * (common + draws.standard_normal(len(groups))), groups=groups)

        one, two = Knot(1, part(1.0, 0.1), part(0.1, 0.15)), Knot(3, part(0.6, 0.1), part(0.3, 0.15))
        variance, shift = part(0.9, 0.1), part(0.2, 0.15)
        gain = line([one, two], variance, shift, over="images").gain
        hits.append(gain.measure(draws, over="images", resamples=100).holds(0.1))
        # The negative control knows where to read the line.
        share = (shift.value - one.mean_shift.value) / (two.mean_shift.value - one.mean_shift.value)
        sure = combination([1, share - 1, -share], [variance, one.variance_ratio, two.variance_ratio])
        blind.append(sure.measure(draws, over="images", resamples=100).holds(0.1))
    expect_rate(hits, 0.945, detect=0.16)
    with pytest.raises(AssertionError, match="is not a rate"):
        expect_rate(blind, 0.945, detect=0.16)


# Schedules


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    roles = dict(zip(parsed(TOY), ("reference", "constant", "constant", "window", "searched"), strict=True))
    judged = material(JUDGED, CLASSES)
    plain = measured(judged, roles, JUDGED.prompts)
    return compare.compared(judged, plain, list(roles), current=Constant(value=3))


@pytest.fixture(scope="module")
def found() -> dict[str, Compared]:
    return gains(CELLS, TOY)


def test_gains_are_read_off_directly_measured_points(found: dict[str, Compared]) -> None:
    points = sorted(numbers(CELLS, f"constant:{w}")[::-1] for w in (0, 1, 3))
    for spec in TOY:
        ratio, shift = numbers(CELLS, spec)
        assert found[spec].variance_ratio.value == pytest.approx(ratio, rel=1e-9)
        assert found[spec].mean_shift.value == pytest.approx(shift, abs=1e-9)
        if spec in (COPY, BETTER):
            expected = ratio - np.interp(shift, *zip(*points, strict=True))
            assert found[spec].gain.value == pytest.approx(expected, abs=1e-9)
        else:
            assert found[spec].gain is None
    assert found[BETTER].equal_strength == pytest.approx(2.0, abs=0.3)
    assert not found[BETTER].extended


def test_a_copy_of_a_constant_gains_nothing_and_more_variance_is_found(found: dict[str, Compared]) -> None:
    assert abs(found[COPY].gain.value) <= 4.9 * found[COPY].gain.stderr
    # The line runs from 0.81 at a shift of 0.1 to 0.64 at 0.3.
    better = found[BETTER].gain
    expect_estimate(better.value, better.stderr, 1 - 0.725, detect=0.25)
    assert better.low > 0.1
    # On fully common noise a copy is its constant strength image by image, and the error is none.
    same = gains(GaussianCells(toy=TOY, own=0.0), TOY)[COPY].gain
    assert (same.value, same.stderr) == (pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-12))


def test_the_reference_is_on_the_line_whether_compared_or_not() -> None:
    some = gains(CELLS, ["constant:3", BETTER])
    assert list(some) == ["constant:3", BETTER]
    _, shift = numbers(CELLS, BETTER)
    top, end = numbers(CELLS, "constant:3")
    assert some[BETTER].gain.value == pytest.approx(numbers(CELLS, BETTER)[0] - 1 - (top - 1) * shift / end, abs=1e-9)


def test_changes_are_paired_differences_to_the_schedule_in_use(ds: xr.Dataset) -> None:
    assert (ds.current, ds.candidates) == ("constant:3", 4)
    change = ds.diversity_change.sel(schedule=BETTER)
    ratios = ds.variance_ratio.sel(schedule=[BETTER, "constant:3"]).values
    assert float(change) == pytest.approx(ratios[0] - ratios[1], abs=1e-12)
    posteriors = ds.class_posterior.sel(schedule=[BETTER, "constant:3"]).values
    assert float(ds.adherence_change.sel(schedule=BETTER)) == pytest.approx(posteriors[0] - posteriors[1], abs=1e-12)
    assert np.isnan(ds.diversity_change.sel(schedule="constant:3"))
    # Common noise cancels.
    errors = ds.variance_ratio_stderr.sel(schedule=[BETTER, "constant:3"]).values
    assert float(ds.diversity_change_stderr.sel(schedule=BETTER)) < math.hypot(*errors)


def test_the_shared_level_reaches_further_down(ds: xr.Dataset) -> None:
    for name in ("gain", "diversity_change"):
        at = ds.sel(schedule=BETTER)
        ratio = float((at[name] - at[f"{name}_least"]) / (at[name] - at[f"{name}_low"]))
        # Quantiles of the normal law at 0.05/4 and 0.05, up to skewness and the noise of resampling.
        assert 1.1 < ratio < 1.5


def test_constants_have_no_gain(ds: xr.Dataset) -> None:
    assert np.isnan(ds.gain.values).tolist() == [True, True, True, False, False]
    assert np.isnan(ds.equal_strength.values).tolist() == [True, True, True, False, False]
    assert ds.gain.long_name
    assert ds.equal_strength.long_name


# What cannot be compared


def test_without_another_constant_there_is_no_line() -> None:
    toy = {"constant:0": (0.0, 1.0), BETTER: (0.2, 1.0)}
    cells = GaussianCells(toy=toy, images=8)
    coords = {"schedule": list(toy), "role": ("schedule", ["reference", "window"]), "prompt": list(cells.prompts)}
    plain = xr.Dataset(coords=coords, attrs={"notes": json.dumps(["an earlier note"])})
    found = compare.compared(material(cells), plain, parsed(toy), current=Constant(value=0))
    assert "gain" not in found
    assert np.isnan(found.gain_least).all()
    earlier, note = json.loads(found.notes)
    assert earlier == "an earlier note"
    assert note.startswith("gain: give a constant strength other than 0")
    assert float(found.diversity_change.sel(schedule=BETTER)) != 0


def test_a_line_extended_is_noted() -> None:
    toy = {"constant:0": (0.0, 1.0), "constant:1": (0.1, 0.9), BETTER: (0.4, 1.0)}
    cells = GaussianCells(toy=toy, images=8, apart=4.0)
    assert gains(cells, toy)[BETTER].extended


def test_one_prompt_has_no_mean_shift_and_no_gain() -> None:
    one = GaussianCells(toy=TOY, prompts=("0",), images=8)
    found = gains(one, TOY)[BETTER]
    assert found.variance_ratio is not None
    assert (found.mean_shift, found.gain, found.adherence) == (None, None, None)
    assert math.isnan(found.equal_strength)
