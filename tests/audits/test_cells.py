"""Cells on disk: whole or not there, named by what determines them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orthoscope.audits.cells import Cell, Cells
from orthoscope.errors import ConfigError, StoppedError

SPEC, PROMPT = "constant:3", "a cat"
SETTING: dict[str, Any] = {"host": {"weights": "ab"}, "seed": 0, "steps": 30, "images": 4}


@pytest.fixture
def cell(seed: int) -> Cell:
    rng = np.random.default_rng(seed)
    return Cell(
        features=rng.normal(size=(5, 4)).astype(np.float32).T,  # not contiguous
        thumbnails=rng.integers(0, 256, (4, 8, 8, 1), dtype=np.uint8),
        log={"sigma": np.array([2.0, 1.0]), "pair_cosine": np.array([np.nan, 1.0])},
        cost={"network_calls": 16, "seconds": 0.1, "memory": 2.0**33},
        probabilities=rng.dirichlet(np.ones(3), 4),
    )


@pytest.fixture
def cells(tmp_path: Path) -> Cells:
    return Cells(folder=tmp_path / "cells", setting=SETTING)


def only_file(cells: Cells) -> Path:
    (path,) = cells.folder.iterdir()
    return path


def test_what_is_written_is_read(cells: Cells, cell: Cell) -> None:
    assert not cells.has(SPEC, PROMPT)
    cells.write(SPEC, PROMPT, cell)
    assert cells.has(SPEC, PROMPT)
    assert not cells.has(SPEC, "a dog")
    np.testing.assert_array_equal(cells.features(SPEC, PROMPT), cell.features)
    np.testing.assert_array_equal(cells.thumbnails(SPEC, PROMPT), cell.thumbnails)
    np.testing.assert_array_equal(cells.probabilities(SPEC, PROMPT), cell.probabilities)
    assert cells.cost(SPEC, PROMPT) == cell.cost
    log = cells.log(SPEC, PROMPT)
    assert log.keys() == cell.log.keys()
    for name, values in cell.log.items():
        np.testing.assert_array_equal(log[name], values)


def test_without_a_judge_there_are_no_probabilities(cells: Cells, cell: Cell) -> None:
    cells.write(SPEC, PROMPT, Cell(features=cell.features, thumbnails=cell.thumbnails, log={}, cost={}))
    assert cells.probabilities(SPEC, PROMPT) is None
    assert cells.log(SPEC, PROMPT) == {}


def test_a_truncated_file_is_no_cell(cells: Cells, cell: Cell) -> None:
    cells.write(SPEC, PROMPT, cell)
    path = only_file(cells)
    whole = path.read_bytes()
    for kept in {0, 1, 7, 8, 9, len(whole) // 2, len(whole) - 1}:
        path.write_bytes(whole[:kept])
        assert not cells.has(SPEC, PROMPT), kept
    path.write_bytes(whole)
    assert cells.has(SPEC, PROMPT)


def test_a_damaged_byte_is_noticed_wherever_it_is(cells: Cells, cell: Cell) -> None:
    cells.write(SPEC, PROMPT, cell)
    path = only_file(cells)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for at in range(header, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert not cells.has(SPEC, PROMPT), at


def test_a_file_of_something_else_is_no_cell(cells: Cells, cell: Cell) -> None:
    cells.write(SPEC, PROMPT, cell)
    only_file(cells).write_bytes(b"\x80\x04\x95 a pickle, say")
    assert not cells.has(SPEC, PROMPT)
    with pytest.raises(StoppedError, match="the same command makes it again"):
        cells.features(SPEC, PROMPT)


def test_a_folder_that_cannot_be_written(tmp_path: Path, cell: Cell) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="choose another --out"):
        Cells(folder=tmp_path / "file", setting=SETTING).write(SPEC, PROMPT, cell)


def test_everything_that_determines_a_cell_is_in_its_name(cells: Cells) -> None:
    changes: list[dict[str, Any]] = [{"host": {"weights": "ac"}}, {"seed": 1}, {"steps": 31}, {"images": 5}]
    keys = [Cells(folder=cells.folder, setting=SETTING | change).key(SPEC, PROMPT) for change in changes]
    keys += [cells.key(SPEC, PROMPT), cells.key("constant:4", PROMPT), cells.key(SPEC, "a dog")]
    assert len(set(keys)) == len(keys)
    reordered = dict(reversed(SETTING.items()))
    assert Cells(folder=cells.folder, setting=reordered).key(SPEC, PROMPT) == cells.key(SPEC, PROMPT)


def test_the_name_is_the_same_in_every_process(cells: Cells) -> None:
    assert cells.key(SPEC, PROMPT) == "8c0c0c3512a99ac9"
