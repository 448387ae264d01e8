from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthoscope.errors import ConfigError
from orthoscope.process import NoiseLevel
from orthoscope.sampling import BrownianPath, Exponential

UNIT = torch.ones(1, 1, dtype=torch.float64)
variances = st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3, unique=True).map(lambda v: sorted(v)[::-1])


def coefficients(step: Exponential, v: float, v_next: float) -> tuple[float, float, float]:
    """Weights of state, denoised mean and noise in one step."""
    zero, level, next_level = torch.zeros_like(UNIT), NoiseLevel(time=v), NoiseLevel(time=v_next)
    return tuple(
        float(step(x, level, next_level, d, z))
        for x, d, z in ((UNIT, zero, zero), (zero, UNIT, zero), (zero, zero, UNIT))
    )


@given(v=variances, lam=st.floats(0, 1))
def test_two_steps_with_a_frozen_mean_are_one(v: list[float], lam: float) -> None:
    step = Exponential(lam=lam)
    (a, b, c), (a2, b2, c2) = coefficients(step, v[0], v[1]), coefficients(step, v[1], v[2])
    a1, b1, c1 = coefficients(step, v[0], v[2])
    assert a2 * a == pytest.approx(a1, rel=1e-12)
    assert a2 * b + b2 == pytest.approx(b1, rel=1e-12)
    assert (a2 * c) ** 2 + c2**2 == pytest.approx(c1**2, rel=1e-9, abs=1e-15)


@given(v=variances, lam=st.floats(0, 1))
def test_the_conditional_law_moves_to_the_conditional_law(v: list[float], lam: float) -> None:
    # N(D, v) is the noised law of the point D: every noise content must carry it to N(D, v').
    a, b, c = coefficients(Exponential(lam=lam), v[0], v[1])
    assert a**2 * v[0] + c**2 == pytest.approx(v[1], rel=1e-12)
    assert a + b == pytest.approx(1, rel=1e-12)


def test_a_step_to_clean_data_ends_on_the_mean() -> None:
    assert coefficients(Exponential(lam=0.7), 2.0, 0.0) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize("lam", [0.3, 1.0])
def test_one_brownian_path_gives_two_steps_and_one_step_the_same_end(lam: float, seed: int) -> None:
    levels = [NoiseLevel(time=v - 0.25, offset=0.25) for v in (9.0, 1.7, 0.25)]
    path = BrownianPath(seed=seed, rows=3, dim=2, variances=[level.variance for level in levels], lam=lam)
    x, mean = torch.full((3, 2), 4.0, dtype=torch.float64), torch.full((3, 2), -1.0, dtype=torch.float64)
    step = Exponential(lam=lam)
    middle = step(x, levels[0], levels[1], mean, path(levels[0], levels[1]))
    twice = step(middle, levels[1], levels[2], mean, path(levels[1], levels[2]))
    once = step(x, levels[0], levels[2], mean, path(levels[0], levels[2]))
    torch.testing.assert_close(twice, once, rtol=1e-12, atol=1e-12)


def test_noise_cannot_be_forgotten() -> None:
    level, next_level = NoiseLevel(time=2.0), NoiseLevel(time=1.0)
    with pytest.raises(ConfigError, match="lam = 1 needs noise"):
        Exponential()(UNIT, level, next_level, UNIT, None)
    assert float(Exponential(lam=0)(2 * UNIT, level, next_level, UNIT, None)) == pytest.approx(1 + math.sqrt(0.5))


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"lam": 1.5}, "lam must lie"), ({"lam": math.nan}, "lam must lie"), ({"order": 3}, "order must be")],
)
def test_nonsense_is_refused(setting: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Exponential(**setting)
