from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthoscope import process, serialize
from orthoscope.errors import ConfigError
from orthoscope.quantities import Estimate, Quantity
from orthoscope.serialize import content_hash, dumps, from_dict, plain, to_dict


@dataclass(frozen=True)
class Point:
    x: float
    names: tuple[str, ...] = ()


REGISTRY = {
    cls.__name__: cls
    for cls in (
        Point,
        Estimate,
        Quantity,
        process.VarianceExploding,
        process.OrnsteinUhlenbeck,
        process.EDM,
        process.RectifiedFlow,
    )
}
VALUES = [
    Point(1.5, ("a", "b")),
    Estimate(value=0.1, stderr=0.2, n=3),
    Quantity(name="a", symbol="b", unit="1", long_name="c"),
    *(cls(offset=0.25) for cls in list(REGISTRY.values())[3:]),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_round_trip(value: object) -> None:
    assert from_dict(to_dict(value), REGISTRY) == value
    assert from_dict(json.loads(dumps(value)), REGISTRY) == value


json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(value=json_like)
def test_plain_values_are_left_alone(value: object) -> None:
    assert plain(value) == value
    assert json.loads(dumps(value)) == value


def test_numpy_values_are_unwrapped_and_what_is_not_finite_is_null() -> None:
    value = {"a": np.float32(0.5), "b": np.arange(3), "c": np.array(2.0), "d": [math.nan, math.inf], "e": np.int64(3)}
    assert json.loads(dumps(value)) == {"a": 0.5, "b": [0, 1, 2], "c": 2.0, "d": [None, None], "e": 3}


@given(value=st.dictionaries(st.text(), st.floats(allow_nan=False) | st.integers(), max_size=5))
def test_equal_content_has_an_equal_fingerprint(value: dict[str, float]) -> None:
    backwards = dict(reversed(value.items()))
    assert content_hash(value) == content_hash(backwards)
    assert content_hash({**value, "one more": 1}) != content_hash(value)


def test_the_fingerprint_is_the_same_in_every_process() -> None:
    code = "from orthoscope.serialize import content_hash; print(content_hash({'b': {1: 2.5}, 'a': 'x'}))"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "9"}
    )
    assert run.stdout.strip() == content_hash({"a": "x", "b": {"1": 2.5}})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (3, "expected a JSON object with a 'type'"),
        ({"x": 1.0}, "expected a JSON object with a 'type'"),
        ({"type": "Pont", "x": 1.0}, "unknown type 'Pont'; did you mean 'Point'?"),
        ({"type": ["Point"], "x": 1.0}, "unknown type"),
        ({"type": "Point", "x": 1.0, "nmaes": []}, "unknown key of Point 'nmaes'; did you mean 'names'?"),
        ({"type": "Point"}, "keys not given: names, x"),
        ({"type": "Point", "x": 1.0, "version": 2}, "format version 2 is not supported; this release reads version 1"),
        ({"type": "Point", "x": 1.0, "version": True}, "format version True is not supported"),
    ],
)
def test_mistakes_are_named(data: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict(data, REGISTRY)
    assert message in str(caught.value)


def test_the_version_may_be_left_out() -> None:
    assert from_dict({"type": "Point", "x": 1.0}, REGISTRY) == Point(1.0)
    assert to_dict(Point(1.0))["version"] == serialize.VERSION


@dataclass(frozen=True)
class Lens:
    """Written by its power, read back from it."""

    length: float

    def to_spec(self) -> dict[str, object]:
        return {"type": "Lens", "version": 1, "power": 1 / self.length, "inner": Estimate(value=0.1, stderr=0.2, n=3)}

    @classmethod
    def from_spec(cls, power: float, inner: Estimate | None = None) -> Lens:
        return cls(length=1 / power)


def test_an_object_may_say_itself_what_stands_for_it() -> None:
    types = {"Lens": Lens, "Estimate": Estimate}
    data = json.loads(dumps({"of": Lens(length=4.0)}))["of"]
    assert (data["power"], data["inner"]["type"]) == (0.25, "Estimate")
    assert from_dict(data, types) == Lens(length=4.0)
    with pytest.raises(ConfigError, match="unknown key of Lens 'powder'; did you mean 'power'"):
        from_dict({"type": "Lens", "powder": 1}, types)
    with pytest.raises(ConfigError, match="keys not given: inner, power"):
        from_dict({"type": "Lens"}, types)
