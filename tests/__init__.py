"""Tests of Orthoscope, and their run-time type checker: beartype, but an int is a float and anything an ArrayLike.

NumPy's ArrayLike holds protocols that tuples, among others, do not satisfy at run time. Accepting anything in one place
of that union, `complex`, accepts anything for the whole of it.
"""

from __future__ import annotations

from beartype import BeartypeConf, FrozenDict, beartype

check = beartype(conf=BeartypeConf(hint_overrides=FrozenDict({complex: object, float: float | int})))
