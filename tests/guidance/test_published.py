"""Published schedules: the areas, ends and step indices that their papers state."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthoscope.errors import ConfigError
from orthoscope.guidance.grammar import format_schedule, parse_schedule
from orthoscope.guidance.published import (
    PUBLISHED,
    SHAPES,
    edm_interval,
    edm_sigmas,
    exponential,
    power_cosine,
    shaped,
    steps_of_edm,
    time_rescaled,
    tv_interval,
    tv_step,
    tv_triangle,
)
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.process import NoiseLevel

SCALES = st.floats(1.0, 12.0)
FINE = 400  # steps of a run in which averages are taken


def scales(schedule: GuidanceSchedule, steps: int = FINE) -> np.ndarray:
    """The scale in the middle of every step of a run."""
    level = [NoiseLevel(time=1.0, step=2 * k + 1, steps=2 * steps) for k in range(steps)]
    return np.array([1 + schedule.strength(one) for one in level])


def at(schedule: GuidanceSchedule, progress: float) -> float:
    """The scale at a progress."""
    return 1 + float(schedule.strength(NoiseLevel(time=1.0, step=round(progress * 1000), steps=1000)))


@pytest.mark.parametrize("name", [name for name in PUBLISHED if PUBLISHED[name](2.0).clock == "step"])
@given(mean=SCALES)
def test_the_mean_scale_over_the_steps_is_the_one_asked_for(name: str, mean: float) -> None:
    assert scales(PUBLISHED[name](mean), 100).mean() == pytest.approx(mean, rel=2e-3)


@pytest.mark.parametrize(
    ("name", "start", "middle", "end"),
    [
        ("linear", 0.0, 1.0, 2.0),
        ("cosine", 0.0, 1.0, 2.0),
        ("inverse-linear", 2.0, 1.0, 0.0),
        ("sine", 2.0, 1.0, 0.0),
        ("lambda", 0.0, 2.0, 0.0),
        ("v", 2.0, 0.0, 2.0),
    ],
)
def test_shapes_have_their_published_ends(name: str, start: float, middle: float, end: float) -> None:
    found = [at(shaped(name, 7.5), progress) for progress in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(found, 7.5 * np.array([start, middle, end]), atol=1e-12)


def test_the_two_readings_differ_by_what_vanishing_means() -> None:
    assert at(shaped("linear", 5.0), 0.0) == 0.0
    assert at(shaped("linear", 5.0, reading="strength"), 0.0) == 1.0
    for reading in ("scale", "strength"):
        assert scales(shaped("cosine", 5.0, reading=reading)).mean() == pytest.approx(5.0, rel=1e-4)


@given(mean=SCALES, least=st.floats(0.1, 8.0))
def test_a_clamp_is_the_pointwise_maximum(mean: float, least: float) -> None:
    for name in SHAPES:
        plain, clamped = scales(shaped(name, mean), 40), scales(shaped(name, mean, least=least), 40)
        np.testing.assert_allclose(clamped, np.maximum(plain, least), atol=2e-4 * mean)


def test_curved_shapes_are_tabulated_finely_enough() -> None:
    progress = np.linspace(0, 1, 201)
    found = np.array([at(shaped("cosine", 10.0), p) for p in progress])
    assert np.abs(found - 10 * (1 - np.cos(np.pi * progress))).max() < 2e-4 * 10


@given(power=st.floats(0.2, 6.0))
def test_power_cosine_rises_from_nothing_to_its_scale(power: float) -> None:
    schedule = power_cosine(6.0, power)
    assert at(schedule, 0.0) == 0.0
    assert at(schedule, 1.0) == pytest.approx(6.0)
    assert (np.diff(scales(schedule, 100)) >= 0).all()


def test_a_larger_power_rises_later() -> None:
    assert at(power_cosine(6.0, 4.0), 0.5) < at(power_cosine(6.0, 1.0), 0.5) == pytest.approx(3.0)


def test_the_triangle_has_its_published_ends_and_peak() -> None:
    assert [at(tv_triangle(4.0), p) for p in (0.0, 0.25, 0.5, 1.0)] == [1.0, 4.0, 7.0, 1.0]


def test_the_interval_variant_guides_between_its_model_times() -> None:
    # Model time runs from 1 at the noise side to 0.
    inside = [at(tv_interval(3.0), 1 - t) for t in (0.77, 0.5, 0.16)]
    assert inside == pytest.approx([1 + 2 / 0.63] * 3)
    assert [at(tv_interval(3.0), 1 - t) for t in (0.79, 0.95, 0.14, 0.0)] == [1.0] * 4


def test_step_variants_mirror_each_other() -> None:
    up, down = tv_step(3.0, up=True), tv_step(3.0, up=False)
    assert (1 + up.late) / (1 + up.early) == pytest.approx((1 + down.early) / (1 + down.late)) == pytest.approx(5.0)
    assert at(up, 0.24) < at(up, 0.26)
    assert at(down, 0.24) > at(down, 0.26)
    with pytest.raises(ConfigError, match="no positive mean"):
        tv_step(0.1, up=True, low=-5.0, high=0.0)


def test_the_exponential_schedule_doubles_the_scale_at_growth_log_2() -> None:
    schedule = exponential(1.0, float(np.log(2)))
    assert at(schedule, 0.0) == 1.0
    assert at(schedule, 1.0) == pytest.approx(2.0, rel=1e-14)
    assert at(schedule, 0.5) == pytest.approx(np.sqrt(2), rel=1e-5)
    assert (np.diff(scales(schedule, 100)) > 0).all()


def test_edm_steps_17_to_22_of_32_are_the_published_noise_levels() -> None:
    np.testing.assert_allclose(
        edm_sigmas(32)[17:23], [1.6086, 1.1743, 0.8446, 0.5977, 0.4154, 0.2830], atol=5e-5
    )  # source: the sampler's own grid, sigma from 80 to 0.002 with power 7
    schedule = steps_of_edm(17, 22, 2.0, steps=32)
    guided = [k for k, sigma in enumerate(edm_sigmas(32)) if schedule.strength(NoiseLevel(time=sigma**2)) != 0]
    assert guided == list(range(17, 23))
    assert schedule.inside == 1.0
    assert (round(schedule.low, 2), round(schedule.high, 2)) == (0.19, 1.61)


def test_the_edm_interval_spreads_its_mean_over_all_steps() -> None:
    schedule = edm_interval(1.25)
    run = [1 + schedule.strength(NoiseLevel(time=sigma**2)) for sigma in edm_sigmas(32)]
    assert np.mean(run) == pytest.approx(1.25)


def test_an_impossible_range_of_steps_is_refused() -> None:
    for first, last in ((5, 4), (-1, 3), (3, 32)):
        with pytest.raises(ConfigError, match="0 <= first <= last < 32"):
            steps_of_edm(first, last, 2.0, steps=32)


def test_the_rescaled_schedule_keeps_its_mean_over_the_thousand_steps() -> None:
    # Noise schedule restated: betas linear in their square root.
    beta = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    kept = np.cumprod(1 - beta)
    found = 1 + time_rescaled(7.5).at_time((1 - kept) / kept)
    assert found.mean() == pytest.approx(7.5, rel=1e-3)
    weight = (1 - kept) * np.sqrt(kept) / beta
    np.testing.assert_allclose(found - 1, 6.5 * weight / weight.mean(), rtol=2e-3, atol=2e-3)


def test_scale_1_is_no_guidance_where_papers_scale_the_strength() -> None:
    for name in (
        "constant",
        "tv-triangle",
        "tv-interval",
        "tv-step-up",
        "tv-step-down",
        "time-rescaled",
        "edm-interval",
    ):
        schedule = PUBLISHED[name](1.0)
        assert np.abs(scales(schedule, 50) - 1).max() < 1e-12


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_schedule_survives_the_grammar(name: str) -> None:
    schedule = PUBLISHED[name](3.0)
    assert parse_schedule(format_schedule(schedule)) == schedule


def test_an_unknown_shape_or_reading_names_the_nearest(unchecked: None) -> None:
    with pytest.raises(ConfigError, match="cosine"):
        shaped("cosin", 2.0)
    with pytest.raises(ConfigError, match="reading"):
        power_cosine(2.0, 1.0, reading="scales")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="power"):
        power_cosine(2.0, 0.0)


def test_published_schedules_need_no_torch() -> None:
    code = "import sys, orthoscope.guidance.published; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
