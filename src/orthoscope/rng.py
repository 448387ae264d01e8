"""Random streams: a root seed and a stable name give a stream, on any machine, in any order.

The generator is Philox, which is counter-based: a stream is a key and a position, so one stream per trajectory costs
nothing to make and never depends on how trajectories are batched or spread over workers. No global state is read or
written anywhere in the package.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

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
    philox_key = key(seed, *name)
    return [np.random.Generator(np.random.Philox(key=philox_key, counter=row << 192)) for row in rows]
