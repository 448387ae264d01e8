"""Power laws and extrapolation: exact on exact data, honest errors on noisy data, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthoscope.errors import ConfigError
from orthoscope.metrics.scaling import extrapolate, power_law
from orthoscope.quantities import Estimate
from tests.stat.expect import expect_rate

DIMS = np.array([32, 64, 128, 256, 512, 1024], dtype=float)


def exact(values: np.ndarray, error: float | np.ndarray) -> list[Estimate]:
    errors = np.broadcast_to(error, values.shape)
    return [Estimate(value=float(v), stderr=float(e), n=100) for v, e in zip(values, errors, strict=True)]


@given(
    exponent=st.floats(0.3, 2.5),
    amplitude=st.sampled_from([0.02, 3.0, -0.5]),
    bend=st.floats(-5.0, 20.0),
)
def test_an_exact_power_law_is_found(exponent: float, amplitude: float, bend: float) -> None:
    values = amplitude * DIMS**-exponent * (1 + bend / DIMS)
    law = power_law(DIMS.tolist(), exact(values, 1e-3 * np.abs(values)))
    assert law.exponent.value == pytest.approx(exponent, abs=1e-4)
    assert law.amplitude == pytest.approx(amplitude, rel=1e-3)
    assert law.at(100.0) == pytest.approx(amplitude * 100**-exponent * (1 + bend / 100), rel=1e-4)
    assert law.goodness > 0.999


def test_intervals_cover_the_true_exponent_as_often_as_they_say(seed: int) -> None:
    """Also with points whose noise exceeds their value; 300 fits to independent noise."""
    stream = np.random.default_rng(seed)
    truth, error = 2.0 / DIMS, 0.004
    covered = []
    for _ in range(300):
        law = power_law(
            DIMS.tolist(), exact(truth + error * stream.standard_normal(DIMS.size), error), correction=False
        )
        low, high = law.interval()
        covered.append(low <= 1.0 <= high)
    expect_rate(np.array(covered), 0.95, detect=0.2)


def test_a_wrong_power_law_shows() -> None:
    values = 1 / DIMS + 0.01
    assert power_law(DIMS.tolist(), exact(values, 1e-5), correction=False).goodness < 1e-6
    good = power_law(DIMS.tolist(), exact(1 / DIMS, 1e-5), correction=False)
    assert good.goodness > 0.999


def test_a_poor_fit_widens_its_error() -> None:
    values = 1 / DIMS + 1e-4 * np.array([1, -1, 1, -1, 1, -1])
    law = power_law(DIMS.tolist(), exact(values, 1e-5), correction=False)
    assert law.exponent.dof == DIMS.size - 2
    assert law.exponent.stderr > 5 * power_law(DIMS.tolist(), exact(1 / DIMS, 1e-5), correction=False).exponent.stderr


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_polynomial_in_the_inverse_dimension_is_extrapolated_exactly(order: int) -> None:
    values = sum(c * DIMS**-k for k, c in zip(range(order + 1), (0.7, -3.0, 40.0), strict=False))
    found = extrapolate(DIMS.tolist(), exact(values, 1e-3 / DIMS), order=order)
    assert found.limit.value == pytest.approx(0.7, abs=1e-9)
    assert found.slope == pytest.approx(-3.0 if order else 0.0, abs=1e-6)


def test_extrapolation_of_constants_is_their_weighted_mean() -> None:
    values, errors = np.array([1.0, 2.0]), np.array([1.0, 0.5])
    limit = extrapolate([10.0, 20.0], exact(values, errors), order=0).limit
    assert limit.value == pytest.approx(1.8)  # weights 1 and 4
    assert limit.stderr == pytest.approx(0.2**0.5)


def test_unusable_points_are_refused() -> None:
    good = exact(1 / DIMS, 1e-4)
    with pytest.raises(ConfigError, match="at least 3"):
        power_law([1.0, 2.0], good[:2])
    with pytest.raises(ConfigError, match="one dimension per estimate"):
        extrapolate([1.0], good)
    with pytest.raises(ConfigError, match="positive standard errors"):
        extrapolate(DIMS.tolist(), exact(1 / DIMS, 0.0))
    with pytest.raises(ConfigError, match="no power law"):
        power_law(DIMS.tolist(), exact(0 * DIMS, 1.0))
