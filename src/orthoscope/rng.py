"""Random streams: a root seed and a stable name give a stream, on any machine, in any order.

The generator is Philox, which is counter-based: a stream is a key and a position, so one stream per trajectory costs
nothing to make and never depends on how trajectories are batched or spread over workers. No global state is read or
written anywhere in the package.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence

from orthoscope.checks import whole


def key(seed: int, *name: str | int) -> int:
    """The 128-bit Philox key of a named stream; equal names give equal keys on every platform."""
    # Whole numbers of numpy and torch are those of Python: a label of either names the same stream.
    parts = [part if isinstance(part, str) else whole("name", part) for part in name]
    text = "\x1f".join([str(whole("seed", seed)), *(f"{type(part).__name__}:{part}" for part in parts)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")


def stream(seed: int, *name: str | int) -> np.random.Generator:
    """The random stream of one name under a root seed."""
    return np.random.Generator(np.random.Philox(key=key(seed, *name)))


def row_streams(seed: int, *name: str | int, rows: Iterable[int]) -> list[np.random.Generator]:
    """One independent stream per row (trajectory) under one name.

    The row number is the top word of the counter, so streams cannot overlap before 2^192 draws.
    """
    known, counter = _Known(key(seed, *name)), np.zeros(4, dtype=np.uint64)
    streams = []
    for counter[-1] in rows:
        bits = np.random.Philox(known, counter=counter)  # type: ignore[arg-type] # any such sequence will do
        streams.append(np.random.Generator(bits))
    return streams


class _Known(ISeedSequence):
    """Hands a Philox its key: given as a number, numpy would gather entropy for every stream, and not use it."""

    def __init__(self, key: int) -> None:
        self._words = np.array([key & (1 << 64) - 1, key >> 64], dtype=np.uint64)

    def generate_state(self, n_words: int, dtype: Any = np.uint64) -> Any:
        """The key, as the two words that Philox asks for."""
        return self._words
