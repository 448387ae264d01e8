"""What a piece of work found, into a file and back exactly: types, NaN and infinities included.

Rows are made of numbers, texts, None, estimates and arrays, in mappings, lists and tuples of any depth. Arrays and
scalars of numpy become arrays of the file; JSON holds the rest, and what it has no word for as an object of one entry.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orthoscope.quantities import Estimate
from orthoscope.sweeps.cells import Finished

_ROW = "row"
_KINDS = "biuf"  # of arrays: truth values, integers with and without sign, floating-point numbers


def pack(row: Any) -> Finished:
    """A row as a finished piece of work.

    Raises:
        TypeError: if something in it is none of what rows are made of.
    """
    arrays: dict[str, NDArray[Any]] = {}
    return Finished(arrays, {_ROW: _packed(row, arrays)})


def unpack(finished: Finished) -> Any:
    """The row that was packed."""
    return _unpacked(finished.about[_ROW], finished.arrays)


def _packed(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    match value:
        case np.ndarray() | np.generic() if value.dtype.kind in _KINDS:
            name = f"{len(arrays)}"
            arrays[name] = np.ravel(value)
            return {"array": [name, *value.shape]} if isinstance(value, np.ndarray) else {"scalar": name}
        case float() if not math.isfinite(value):
            return {"float": repr(value)}
        case None | bool() | int() | float() | str():
            return value
        case list():
            return [_packed(entry, arrays) for entry in value]
        case tuple():
            return {"tuple": [_packed(entry, arrays) for entry in value]}
        case Estimate():
            return {"estimate": [_packed(getattr(value, one.name), arrays) for one in fields(Estimate)]}
        case Mapping():
            return {"mapping": [[_packed(key, arrays), _packed(entry, arrays)] for key, entry in value.items()]}
    raise TypeError(f"a row holds numbers, texts, None, estimates and arrays of numbers, not {type(value).__name__}")


def _unpacked(value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    match value:
        case list():
            return [_unpacked(entry, arrays) for entry in value]
        case {"array": [name, *shape]}:
            return arrays[name].reshape(shape)
        case {"scalar": name}:
            return arrays[name][0]
        case {"float": text}:
            return float(text)
        case {"tuple": entries}:
            return tuple(_unpacked(entry, arrays) for entry in entries)
        case {"estimate": entries}:
            names = (one.name for one in fields(Estimate))
            return Estimate(**{name: _unpacked(entry, arrays) for name, entry in zip(names, entries, strict=True)})
        case {"mapping": pairs}:
            return {_unpacked(key, arrays): _unpacked(entry, arrays) for key, entry in pairs}
    return value
