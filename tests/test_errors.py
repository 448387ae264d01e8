from __future__ import annotations

import pytest

from orthoscope.errors import ConfigError, DivergenceError, OrthoscopeError, ShapeError, unknown


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("swich", "unknown key 'swich'; did you mean 'switch'?"),
        ("zzz", "unknown key 'zzz'; known: early, late, switch"),
    ],
)
def test_an_unknown_name_is_answered_with_a_known_one(name: str, message: str) -> None:
    assert str(unknown("key", name, ("switch", "early", "late"))) == message


def test_every_error_is_also_a_built_in_one() -> None:
    assert issubclass(ConfigError, ValueError)
    assert issubclass(ShapeError, ValueError)
    assert issubclass(DivergenceError, RuntimeError)
    assert all(issubclass(error, OrthoscopeError) for error in (ConfigError, ShapeError, DivergenceError))


def test_a_divergence_keeps_where_it_happened() -> None:
    error = DivergenceError("gone", step=3, time=0.5, last_good=[1.0])
    assert (str(error), error.step, error.time, error.last_good) == ("gone", 3, 0.5, [1.0])
