"""Lines of keys and elements: the scanner finds exactly what the parser finds, where it stands."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from orthoscope.sweeps.positions import Path, positions

TEXT = '''# a comment with [brackets] and = signs
title = "a # b [c]"  # trailing

[study]
name = 'it is'

[axes]
rate = [0.1, # first
  0.2,

  0.3]
"quoted key" = """
several [lines]
""" # end
strength = { from = 0, to = 3, n = 4 }
a.b.c = 1
schedule = ["step:early=3,late=-1", "constant:1"]
nested = [[1, 2],
  [3]]
when = 2026-01-02 03:04:05
last = true
[ fixed . inner ]
x = 1
'''


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every key and element of parsed TOML."""
    if path:
        yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield from paths(inner, (*path, key))


def test_every_key_and_element_has_its_line() -> None:
    found = positions(TEXT)
    assert set(found) == set(paths(tomllib.loads(TEXT)))
    lines = TEXT.splitlines()
    for path, start in {
        ("title",): "title", ("study",): "[study]", ("axes", "rate"): "rate", ("axes", "rate", 1): "  0.2",
        ("axes", "rate", 2): "  0.3", ("axes", "quoted key"): '"quoted', ("axes", "strength", "n"): "strength",
        ("axes", "a", "b", "c"): "a.b.c", ("axes", "schedule", 1): "schedule", ("axes", "nested", 1, 0): "  [3]",
        ("axes", "last"): "last", ("fixed", "inner"): "[ fixed", ("fixed", "inner", "x"): "x = 1",
    }.items():  # fmt: skip
        assert lines[found[path] - 1].startswith(start), path


def test_no_text_and_comments_alone_have_no_positions() -> None:
    assert positions("") == {}
    assert positions("# nothing\n\n  # here") == {}


NAMES = st.text("abcdef-_1", min_size=1, max_size=6)
SCALARS = st.one_of(st.integers(-9, 9), st.booleans(), st.text(max_size=8), st.floats(allow_nan=False, width=16))
LISTS = st.lists(SCALARS, max_size=4)


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, SCALARS | LISTS, max_size=4), max_size=3), st.data())
def test_any_file_is_scanned_as_it_is_parsed(tables: dict[str, dict[str, Any]], data: st.DataObject) -> None:
    """Written with line breaks at random, whose lines are counted while writing."""
    text, expected = "", {}

    def mark(*path: str | int) -> None:
        expected[path] = text.count("\n") + 1

    for table, entries in tables.items():
        mark(table)
        text += f"[{table}]\n"
        for key, value in entries.items():
            mark(table, key)
            text += f"{key} = "
            if isinstance(value, list):
                text += "["
                for k, element in enumerate(value):
                    text += data.draw(st.sampled_from(["", " ", "\n", " # ], no\n"]))
                    mark(table, key, k)
                    text += toml(element) + ","
                text += "]"
            else:
                text += toml(value)
            text += data.draw(st.sampled_from(["\n", " # note = [\n", "\n\n"]))
    assert tomllib.loads(text).keys() == tables.keys()
    assert positions(text) == expected


def toml(value: Any) -> str:
    """A plain value as TOML: JSON but for infinity and the delete character."""
    return json.dumps(value, ensure_ascii=False).replace("Infinity", "inf").replace("\x7f", "\\u007f")
