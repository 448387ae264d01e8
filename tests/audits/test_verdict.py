"""What an interval shows, and how many images would show what it does not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from orthoscope.audits.verdict import Change
from orthoscope.metrics.bootstrap import interval, reach
from orthoscope.rng import stream
from tests.stat.expect import expect_rate

TOLERANCE = 0.01


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (-0.049, 0.016, "not shown"),  # no loss seen, and one five times the tolerance possible
        (-0.0101, 0.3, "not shown"),
        (-0.0099, 0.3, "kept"),
        (0.001, 0.003, "kept"),
        (-0.0099, -0.001, "kept"),  # a loss beyond doubt, which does not count
        (-0.03, -0.0099, "not shown"),
        (-0.03, -0.0101, "lost"),
    ],
)
def test_kept_is_what_the_whole_interval_says(low: float, high: float, shown: str) -> None:
    assert Change((low + high) / 2, low, high).verdict(-TOLERANCE) == shown
    assert Change(-(low + high) / 2, -high, -low).verdict(TOLERANCE) == {"kept": "lost", "lost": "kept"}.get(
        shown, shown
    )


def test_the_shared_level_decides_where_there_is_one() -> None:
    assert Change(0.03, 0.01, 0.05, least=-0.001).verdict() == "not shown"
    assert Change(0.03, 0.01, 0.05, least=0.001).verdict() == "kept"


def test_a_share_that_never_failed_needs_what_the_exact_bound_says() -> None:
    # None of 60 failed: the bound falls as 1/n, and 0.7 of the tolerance is wanted.
    change = Change(0.0, -reach(1 / 60), reach(1 / 60), stderr=0.0, grain=1 / 60)
    images = math.ceil(60 * change.times_needed(-TOLERANCE))
    assert images == math.ceil(reach(1.0) / (0.7 * TOLERANCE))
    for number, shown in ((images, "kept"), (images // 2, "not shown")):
        found = interval([np.zeros(number)], stream(0), grain=1 / number)
        assert Change(found.value, found.low, found.high).verdict(-TOLERANCE) == shown


@pytest.mark.parametrize(("truth", "shown"), [(0.0, "kept"), (0.004, "kept"), (-0.025, "lost")])
def test_four_of_five_audits_of_the_size_named_tell(truth: float, shown: str, seed: int) -> None:
    images, error = 100, 0.1
    half = 1.96 * error / math.sqrt(images)
    change = Change(truth, truth - half, truth + half, stderr=error / math.sqrt(images))
    assert change.verdict(-TOLERANCE) == "not shown"
    number = images * change.times_needed(-TOLERANCE)
    means = truth + error / math.sqrt(number) * np.random.default_rng(seed).standard_normal(1500)
    ends = 1.96 * error / math.sqrt(number)
    told = [Change(mean, mean - ends, mean + ends).verdict(-TOLERANCE) == shown for mean in means]
    expect_rate(told, 0.8, detect=0.12)


def test_what_is_at_the_border_within_error_asks_for_no_endless_audit() -> None:
    change = Change(-TOLERANCE, -0.04, 0.02, stderr=0.015)
    assert change.times_needed(-TOLERANCE) == pytest.approx((2 * 1.4286) ** 2, rel=0.01)
    assert Change(math.nan, math.nan, math.nan).times_needed() == 1
    assert Change(0.5, 0.4, 0.6).times_needed() == 1
