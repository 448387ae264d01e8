"""A run folder has one writer and one job, whatever became of earlier ones, and its loss is noticed."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orthoscope import locking
from orthoscope.errors import ConfigError
from orthoscope.locking import LostFolderError, locked
from orthoscope.writing import write

HOLDER = """
import sys, time
from pathlib import Path
from orthoscope.locking import locked
with locked(Path(sys.argv[1]), "audit"):
    (Path(sys.argv[1]) / "cell").touch()
    print("ready", flush=True)
    time.sleep(600)
"""


def test_a_second_process_is_refused_until_the_first_is_gone_however_it_went(tmp_path: Path) -> None:
    out = tmp_path / "run"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(out)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        for _ in range(2):
            with pytest.raises(ConfigError, match=rf"in use by process {holder.pid} on .*; wait for it, or choose"):
                locked(out, "audit").__enter__()
    finally:
        holder.kill()
        holder.communicate()
    with locked(out, "audit"):
        assert (out / "lock").read_text().startswith(f"audit: process {os.getpid()} on ")


def test_a_thread_holds_a_folder_once_by_any_of_its_names(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with locked(tmp_path / "run", "demo") as first, locked(tmp_path / "link", "demo") as second:
        assert first is second
    with locked(tmp_path / "run", "demo") as third:
        assert third is not first


def test_a_folder_belongs_to_one_job(tmp_path: Path) -> None:
    with locked(tmp_path, "demo", ("results.nc",)):
        write(tmp_path / "results.nc", "numbers")
    for _ in range(2):  # the next of its own goes on
        with locked(tmp_path, "demo", ("results.nc",)):
            pass
        with pytest.raises(ConfigError, match="belongs to `orthoscope demo`, not to audit; choose another `out`"):
            locked(tmp_path, "audit", ("results.nc",)).__enter__()
    with locked(tmp_path / "audit", "audit", ("results.nc",)):  # below it there is room for others
        pass


def test_files_of_nobody_known_are_refused_unless_somebody_answers_for_them(tmp_path: Path) -> None:
    (tmp_path / "results.nc").write_text("of another")
    (tmp_path / "notes").touch()
    with pytest.raises(ConfigError, match=rf"holds results.nc already, .*: touch {tmp_path}/lock"):
        locked(tmp_path, "demo", ("results.nc", "spec.json")).__enter__()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes", "results.nc"]
    (tmp_path / "lock").touch()
    with locked(tmp_path, "demo", ("results.nc", "spec.json")):
        pass


@pytest.mark.parametrize("content", ["mine", "two\nlines\n"])
def test_a_file_named_lock_that_is_none_is_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / "lock").write_text(content)
    with pytest.raises(ConfigError, match="is no lock of orthoscope"):
        locked(tmp_path, "demo").__enter__()
    assert (tmp_path / "lock").read_text() == content


@pytest.mark.parametrize("how", ["link", "dangling link", "pipe", "folder"])
def test_what_is_no_file_is_no_lock(tmp_path: Path, how: str) -> None:
    run, victim = tmp_path / "run", tmp_path / "victim"
    run.mkdir()
    match how:
        case "link":
            victim.touch()
            (run / "lock").symlink_to(victim)
        case "dangling link":
            (run / "lock").symlink_to(victim)
        case "pipe":
            os.mkfifo(run / "lock")
        case "folder":
            (run / "lock").mkdir()
    with pytest.raises(ConfigError, match="is there already and is no lock of orthoscope; choose another `out`"):
        locked(run, "demo").__enter__()
    assert os.path.lexists(run / "lock")
    assert victim.exists() == (how == "link")
    assert how != "link" or victim.read_text() == ""


def test_a_folder_in_which_nothing_was_written_is_as_before(tmp_path: Path) -> None:
    with locked(tmp_path / "run", "demo"):
        assert (tmp_path / "run" / "lock").exists()
    assert not (tmp_path / "run").exists()
    with locked(tmp_path, "demo"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*args: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with pytest.raises(ConfigError, match=r"Operation not supported; it has no locks \(flock\): choose another"):
        locked(tmp_path / "run", "demo").__enter__()
    assert list(tmp_path.iterdir()) == []


def _remove(run: Path) -> None:
    for path in (run / "file", run / "lock"):
        path.unlink()
    run.rmdir()


def _replace(run: Path) -> None:
    run.rename(run.with_name("moved"))
    run.mkdir()
    (run / "lock").touch()


DISTURBANCES: dict[str, Callable[[Path], None]] = {
    "removed": _remove,
    "moved": lambda run: run.rename(run.with_name("moved")) and None,
    "replaced": _replace,
    "removed and made": lambda run: (_remove(run), run.mkdir(), (run / "lock").touch()) and None,
    "unlocked": lambda run: (run / "lock").unlink(),
    "emptied below": lambda run: (run / "below").rmdir(),
}


@pytest.mark.parametrize("name", DISTURBANCES)
def test_a_lost_folder_is_noticed_and_nothing_is_written_in_its_place(tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    below = run / "below"

    def use() -> None:
        with locked(run, "demo"):
            write(run / "file", "old")
            if name == "emptied below":
                below.mkdir()
                locking.watch(below)
            write(run / "file", "new")
            DISTURBANCES[name](run)
            write(run / "file", "lost")

    with pytest.raises(LostFolderError, match=r"(run|below).* removed, moved or replaced .*; start again"):
        use()
    assert [path.read_text() for path in tmp_path.rglob("file")] in ([], ["new"])
    locking.check()  # it is held no more


def test_what_killed_writes_left_is_removed_but_not_from_a_run_below(tmp_path: Path) -> None:
    rests = []
    for place in (".", "cells", "other"):
        (tmp_path / place).mkdir(exist_ok=True)
        path, descriptor = locking.aside(tmp_path / place / "file")
        os.close(descriptor)
        rests.append(path)
    (tmp_path / "other" / "lock").touch()
    (tmp_path / ".mine.unfinished").touch()
    with locked(tmp_path, "demo"):
        pass
    assert [path.exists() for path in rests] == [False, False, True]
    assert (tmp_path / ".mine.unfinished").exists()


def test_what_is_being_written_is_left_to_its_writer(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    path, descriptor = locking.aside(tmp_path / "below" / "file")
    with locked(tmp_path, "demo"):
        assert path.exists()
    os.close(descriptor)
    with locked(tmp_path, "demo"):
        assert not path.exists()
