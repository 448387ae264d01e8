from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthoscope.errors import ConfigError
from orthoscope.process import EDM, NoiseLevel, OrnsteinUhlenbeck, Process, RectifiedFlow, VarianceExploding

Function = Callable[[float], float]
CHARTS = [VarianceExploding, OrnsteinUhlenbeck, EDM, RectifiedFlow]
every = pytest.mark.parametrize("chart", CHARTS)
times = st.floats(1e-6, 1e4)


@every
@given(time=times, offset=st.floats(0, 5))
def test_a_level_knows_its_time_and_its_offset(chart: type[Process], time: float, offset: float) -> None:
    process = chart(offset=offset)
    level = process.at(time)
    assert level.time == time
    assert level.variance == time + offset
    assert level.sigma == pytest.approx(math.sqrt(time + offset), rel=1e-15)
    assert process.time(level) == level.t
    assert process.level(level.t).time == pytest.approx(time, rel=1e-9)
    assert process.level(level.t).alpha == level.alpha


@every
@given(time=times, other=st.sampled_from(CHARTS))
def test_charts_translate_into_each_other(chart: type[Process], time: float, other: type[Process]) -> None:
    there = other().level(other().time(chart().at(time)))
    assert there.time == pytest.approx(time, rel=1e-9)


@every
def test_arrays_go_through_elementwise(chart: type[Process]) -> None:
    process, time = chart(), np.array([0.1, 1.0, 7.0])
    rows = process.at(time)
    for k, one in enumerate(time):
        alone = process.at(float(one))
        assert (rows.t[k], rows.alpha[k], rows.variance[k]) == pytest.approx((alone.t, alone.alpha, alone.variance))
    assert np.shape(rows.alpha) == (3,)


def test_variance_preserving_keeps_unit_variance() -> None:
    process = OrnsteinUhlenbeck()
    for t in (0.01, 0.5, 3.0):
        level = process.level(t)
        assert level.alpha**2 * (1 + level.time) == pytest.approx(1, rel=1e-14)


@pytest.mark.parametrize(
    ("process", "drift", "diffusion2"),
    [
        (VarianceExploding(), lambda t: 0.0, lambda t: 1.0),
        (OrnsteinUhlenbeck(), lambda t: -1.0, lambda t: 2.0),
        (EDM(), lambda t: 0.0, lambda t: 2 * t),
        (RectifiedFlow(), lambda t: -1 / (1 - t), lambda t: 2 * t / (1 - t)),
    ],
)
def test_charts_solve_their_equations(process: Process, drift: Function, diffusion2: Function) -> None:
    # Mean alpha x0 and variance alpha^2 time of dy = f y dt + g dB, by central differences.
    h = 1e-5
    for t in (0.2, 0.5, 0.8):
        up, here, down = (process.level(t + s * h) for s in (1, 0, -1))
        total = [level.alpha**2 * level.time for level in (up, here, down)]
        assert (up.alpha - down.alpha) / (2 * h) == pytest.approx(drift(t) * here.alpha, rel=1e-6, abs=1e-9)
        expected = 2 * drift(t) * total[1] + diffusion2(t)
        assert (total[0] - total[2]) / (2 * h) == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_the_straight_path_is_straight() -> None:
    level = RectifiedFlow().level(0.3)
    assert (level.alpha, level.alpha * math.sqrt(level.time)) == pytest.approx((0.7, 0.3))


@given(time=st.floats(0, 1e6), offset=st.floats(0, 3))
def test_the_noise_side_of_a_level_is_the_next_number(time: float, offset: float) -> None:
    level = NoiseLevel(time=time, offset=offset, step=4, steps=9)
    above = level.from_noise_side(3)
    assert above.time == math.nextafter(time, math.inf) > time
    assert (above.step, above.steps, above.offset) == (3, 9, offset)


def test_levels_of_some_rows() -> None:
    rows = OrnsteinUhlenbeck(offset=0.2).at(np.array([0.1, 1.0, 7.0]))
    some = rows.of_rows(np.array([True, False, True]))
    np.testing.assert_array_equal(some.time, [0.1, 7.0])
    np.testing.assert_array_equal(some.alpha, rows.alpha[[0, 2]])
    assert some.offset == 0.2
    one = NoiseLevel(time=1.0)
    assert one.of_rows(np.array([True])) is one


@every
@pytest.mark.parametrize("offset", [-0.1, math.nan, math.inf])
def test_an_impossible_offset_is_refused(chart: type[Process], offset: float) -> None:
    with pytest.raises(ConfigError, match="offset"):
        chart(offset=offset)


def test_levels_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        NoiseLevel(time=1.0).time = 2.0  # type: ignore[misc]


@pytest.mark.parametrize("time", [-1, -0.1, np.float64(-1.0)])
def test_a_level_is_no_negative_variance(time: Any) -> None:
    with pytest.raises(ConfigError, match=r"^`time` is the variance of the noise and must be >= 0, got "):
        NoiseLevel(time=time)
