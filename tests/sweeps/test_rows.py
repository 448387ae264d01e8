"""Rows through a file: what comes back is what went in, types included."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orthoscope.quantities import Estimate
from orthoscope.sweeps.cells import Cells
from orthoscope.sweeps.rows import pack, unpack

KEY = "8c0c0c3512a99ac9"
ESTIMATE = Estimate(value=0.1, stderr=math.nan, n=12, stderr_within=1 / 3, dof=7, weight=math.inf, spread=None)
ROWS: dict[str, Any] = {
    "plain": {"none": None, "true": True, "one": 1, "half": 0.5, "tiny": 5e-324, "zero": -0.0, "text": '\u03b2, "x"'},
    "large": 2**80,
    "not finite": [math.nan, math.inf, -math.inf],
    "sequences": ([1, (2, [])], ("time",), ()),
    "keys": {3: {"a": 1}, (0.5, "b"): 2, None: 3},
    "words": {"tuple": [1], "float": "nan", "array": ["0", 2], "mapping": []},
    "estimates": {"one": ESTIMATE, "many": [[ESTIMATE], [ESTIMATE]]},
    "arrays": {
        "matrix": np.arange(6, dtype=np.int16).reshape(2, 3).T,
        "logic": np.array([True, False]),
        "nothing": np.empty((0, 3), np.float32),
        "point": np.array(math.nan),
    },
    "scalars": [np.float32(0.1), np.float64(0.1), np.int64(3), np.bool_(True)],
}


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal with all their types, NaN equal to itself and -0 different from 0."""
    if type(one) is not type(other):
        return False
    match one:
        case np.ndarray() | np.generic():
            return bool(one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes())
        case dict():
            return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
        case list() | tuple():
            return len(one) == len(other) and all(map(same, one, other))
        case Estimate():
            return repr(one) == repr(other)
        case float():
            return repr(one) == repr(other)
    return bool(one == other)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_a_row_comes_back_from_a_file_as_it_was(row: Any, tmp_path: Path) -> None:
    cells = Cells(tmp_path)
    cells.write(KEY, pack(row))
    found = cells.find(KEY)
    assert found is not None
    assert same(unpack(found), row)
    assert same(unpack(pack(row)), row)


@pytest.mark.parametrize("value", [object(), {1, 2}, np.array(["a"]), np.array([None]), 1j])
def test_what_a_file_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="a row holds numbers"):
        pack({"value": [value]})
