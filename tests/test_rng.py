from __future__ import annotations

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from orthoscope.rng import key, row_streams, stream

GOLDEN_KEY = 164326547450884705215276170109260734268
GOLDEN_WORDS = (10447023498253440005, 232678772850941561)
GOLDEN_ROW = 1978848799458820410


def words(generator: np.random.Generator, n: int = 2) -> tuple[int, ...]:
    """Raw output of the bit generator: what later versions of NumPy may not change."""
    return tuple(int(word) for word in generator.bit_generator.random_raw(n))


def test_streams_are_the_same_for_ever() -> None:
    assert key(7, "modes", 3) == GOLDEN_KEY
    assert words(stream(7, "modes", 3)) == GOLDEN_WORDS
    assert words(row_streams(7, "modes", rows=[5])[0])[0] == GOLDEN_ROW


def test_streams_are_the_same_in_every_process() -> None:
    code = "from orthoscope.rng import stream; print(*stream(7, 'modes', 3).bit_generator.random_raw(2))"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "5"}
    )
    assert tuple(map(int, run.stdout.split())) == words(stream(7, "modes", 3))


names = st.lists(st.one_of(st.integers(), st.text(max_size=4)), max_size=3).map(tuple)


@given(first=st.tuples(st.integers(), names), second=st.tuples(st.integers(), names))
def test_different_names_are_different_streams(first: tuple, second: tuple) -> None:
    assert (key(first[0], *first[1]) == key(second[0], *second[1])) == (first == second)


def test_a_number_is_not_its_text() -> None:
    assert len({key(0, 1), key(0, "1"), key(0), key(1), key(0, "1", ""), key(0, "", "1")}) == 6


@given(rows=st.lists(st.integers(0, 2**40), min_size=1, max_size=5, unique=True))
def test_a_row_has_its_own_stream_whatever_its_company(rows: list[int]) -> None:
    together = [words(generator) for generator in row_streams(3, "x", rows=rows)]
    assert together == [words(row_streams(3, "x", rows=[row])[0]) for row in rows]
    assert len(set(together)) == len(rows)


def test_a_stream_of_a_row_is_philox_of_the_key_at_its_counter() -> None:
    plain = np.random.Philox(key=key(3, "x"), counter=7 << 192)
    (one,) = row_streams(3, "x", rows=[7])
    assert str(one.bit_generator.state) == str(plain.state)
