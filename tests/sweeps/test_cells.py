"""Finished work on disk: whole or not there, whatever happens to its file; and what is missing, computed and kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from orthoscope.errors import ConfigError, StoppedError
from orthoscope.locking import locked
from orthoscope.serialize import dumps
from orthoscope.sweeps.cells import Cells, Finished, _digest, complete, fingerprint
from orthoscope.sweeps.execute import Executor

KEY = "8c0c0c3512a99ac9"


@pytest.fixture
def piece(seed: int) -> Finished:
    rng = np.random.default_rng(seed)
    arrays: dict[str, Any] = {
        "features": rng.normal(size=(5, 4)).astype(np.float32).T,  # not contiguous
        "images": rng.integers(0, 256, (4, 8, 8, 1), dtype=np.uint8),
        "log": np.array([np.nan, 1.0]),
    }
    return Finished(
        arrays=arrays, about={"name": "a cat", "cost": {"seconds": 0.1, "memory": 2.0**33}}, beside=object()
    )


@pytest.fixture
def cells(tmp_path: Path) -> Cells:
    return Cells(tmp_path / "cells")


def square(number: int) -> Finished:
    if number == 3:
        raise ValueError("three")
    return Finished(arrays={"square": np.array([number**2])}, about={"process": os.getpid()}, beside=number)


def test_what_is_written_is_read(cells: Cells, piece: Finished) -> None:
    assert KEY not in cells
    cells.write(KEY, piece)
    assert KEY in cells
    assert "0" * 16 not in cells
    for found in (cells.find(KEY), cells.read(KEY)):
        assert found is not None
        assert found.about == piece.about
        assert found.beside is None
        assert found.arrays.keys() == piece.arrays.keys()
        for name, values in piece.arrays.items():
            np.testing.assert_array_equal(found.arrays[name], values)
    assert cells.read(KEY, names=("log", "no such")).arrays.keys() == {"log"}


def test_a_truncated_file_is_missing(cells: Cells, piece: Finished) -> None:
    cells.write(KEY, piece)
    path = cells.path(KEY)
    whole = path.read_bytes()
    for kept in {0, 1, 7, 8, 9, len(whole) // 2, len(whole) - 1}:
        path.write_bytes(whole[:kept])
        assert KEY not in cells, kept
    path.write_bytes(whole)
    assert KEY in cells


def test_a_damaged_byte_is_noticed_wherever_it_is(cells: Cells, piece: Finished) -> None:
    cells.write(KEY, piece)
    path = cells.path(KEY)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    about = whole.index(b"a cat")
    for at in (*range(about, about + 5), *range(header, len(whole), 7)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert KEY not in cells, at


def test_a_file_of_something_else_is_missing(cells: Cells, piece: Finished) -> None:
    cells.write(KEY, piece)
    for content in (b"\x80\x04\x95 a pickle, say", save({"x": np.ones(2)}), save({}, metadata={"orthoscope": "[]"})):
        cells.path(KEY).write_bytes(content)
        assert KEY not in cells
    cells.path(KEY).write_bytes(b"")
    with pytest.raises(StoppedError, match="the same command makes it again"):
        cells.read(KEY)


def test_files_of_the_release_before_are_good(cells: Cells, piece: Finished) -> None:
    arrays = {name: np.ascontiguousarray(values) for name, values in piece.arrays.items()}
    about = {**piece.about, "digest": _digest(arrays)}
    cells.folder.mkdir()
    cells.path(KEY).write_bytes(save(arrays, metadata={"orthoscope": dumps(about, indent=None)}))
    found = cells.find(KEY)
    assert found is not None
    assert found.about["cost"] == piece.about["cost"]
    about["digest"] = "0"
    cells.path(KEY).write_bytes(save(arrays, metadata={"orthoscope": dumps(about, indent=None)}))
    assert KEY not in cells


def test_a_folder_that_cannot_be_written(tmp_path: Path, piece: Finished) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="choose another `out`"):
        Cells(tmp_path / "file").write(KEY, piece)


# What is missing


def test_every_item_comes_back_and_what_is_finished_is_kept(cells: Cells) -> None:
    told: list[tuple[int, int]] = []
    with Executor() as executor:
        items = {str(number): number for number in range(6)}
        found = dict(
            complete(
                cells, items, square, executor, skip=lambda number: number == 4, progress=lambda *now: told.append(now)
            )
        )
    assert [str(found.pop(3)), sorted(found)] == ["three", [0, 1, 2, 5]]
    for number, made in found.items():
        assert isinstance(made, Finished)
        assert made.beside == number
        assert cells.read(str(number)).arrays["square"] == number**2
    assert ("3" in cells, "4" in cells) == (False, False)
    assert told == [(0, 6), (1, 6), (2, 6), (3, 6), (3, 5), (4, 4)]


def test_an_item_is_skipped_for_what_came_of_those_before(cells: Cells) -> None:
    failed: list[Exception] = []
    items = {str(number): number for number in range(6)}
    with Executor() as executor:
        outcomes = complete(cells, items, square, executor, skip=lambda number: bool(failed))
        failed.extend(made for _, made in outcomes if isinstance(made, Exception))
    assert [key for key in items if key in cells] == ["0", "1", "2"]


def test_without_a_folder_nothing_is_kept() -> None:
    with Executor() as executor:
        assert [number for number, _ in complete(None, {"1": 1, "2": 2}, square, executor)] == [1, 2]


@pytest.mark.slow
def test_workers_stay_from_one_call_to_the_next(cells: Cells) -> None:
    processes = []
    with Executor(workers=2) as executor:
        for first in (4, 40):
            found = dict(complete(cells, {str(n): n for n in range(first, first + 20)}, square, executor))
            assert sorted(found) == list(range(first, first + 20))
            processes.append({made.about["process"] for made in found.values() if isinstance(made, Finished)})
    assert processes[0] | processes[1] == processes[0]
    assert os.getpid() not in processes[0]


# A process of its own that is killed

_WRITES = """
import sys
from pathlib import Path
import numpy as np
from orthoscope.sweeps.cells import Cells, Finished
from orthoscope.locking import locked
folder = Path(sys.argv[1])
with locked(folder, "test"):
    for number in range(10**6):
        Cells(folder).write(str(number % 50), Finished({"x": np.full(200_000, number, dtype=np.float32)}, {}))
"""


def writer(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _WRITES, str(folder)], stderr=subprocess.DEVNULL)


def wait_for(folder: Path, number: int) -> None:
    deadline = time.monotonic() + 60
    while len(list(folder.glob("[0-9]*.safetensors"))) < number:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_a_killed_write_leaves_no_half_file(tmp_path: Path) -> None:
    cells = Cells(tmp_path)
    for kept in (3, 6, 12):
        process = writer(tmp_path)
        try:
            wait_for(tmp_path, kept)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        files = list(tmp_path.glob("[0-9]*.safetensors"))
        assert len(files) >= kept
        assert all(file.stem in cells for file in files)
    with locked(tmp_path, "test"):
        assert {file.name.partition(".")[2] for file in tmp_path.iterdir()} <= {"safetensors", ""}


@pytest.mark.slow
def test_two_processes_are_not_in_one_folder(tmp_path: Path) -> None:
    process = writer(tmp_path)
    try:
        wait_for(tmp_path, 1)
        with pytest.raises(ConfigError, match=f"in use by process {process.pid}"), locked(tmp_path, "test"):
            pass
    finally:
        process.kill()
        process.wait()


def test_a_damaged_piece_is_computed_again(cells: Cells) -> None:
    items = {str(number): number for number in range(3)}
    with Executor() as executor:
        list(complete(cells, items, square, executor))
        cells.path("1").write_bytes(cells.path("1").read_bytes()[:-1])
        missing = {key: number for key, number in items.items() if key not in cells}
        assert missing == {"1": 1}
        list(complete(cells, missing, square, executor))
    assert all(key in cells for key in items)
    assert cells.read("1").arrays["square"] == 1


def test_other_code_and_other_packages_have_another_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = fingerprint()
    assert fingerprint.__wrapped__() == here
    with monkeypatch.context() as other:
        other.setattr("orthoscope.sweeps.cells.versions", lambda: {"numpy": "0"})
        assert fingerprint.__wrapped__() != here
    (tmp_path / "module.py").write_text("x = 1\n")
    monkeypatch.setattr("orthoscope.__file__", str(tmp_path / "__init__.py"))
    one = fingerprint.__wrapped__()
    (tmp_path / "module.py").write_text("x = 2\n")
    assert len({here, one, fingerprint.__wrapped__()}) == 3
