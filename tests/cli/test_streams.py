"""Standard streams that are full, closed, unread or of few letters: a result, a status, and at most one line."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orthoscope.cli.main import _VERBS, main
from orthoscope.cli.output import emit
from orthoscope.progress import LOG
from tests.conftest import Finished

Run = Callable[..., Finished]
PREDICT = ("predict", "--rate", "0.2", "--std", "0.5", "--strength", "1")
DESIGN = ("design", "--cond-var", "0.5", "--uncond-var", "2", "--maximize", "mean-shift", "--no-simulate", "--quiet")
SAYING = {"help": ("--help",), "version": ("--version",), "table": PREDICT, "JSON": (*PREDICT, "--json")} | {
    verb: (verb, "--help") for verb in _VERBS
}


class Broken(io.RawIOBase):
    """A stream that takes nothing."""

    def __init__(self, error: OSError) -> None:
        self._error = error
        self._descriptor = os.open(os.devnull, os.O_WRONLY)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: Any) -> int:
        raise self._error


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[OSError], None]]:
    made: list[io.TextIOWrapper] = []

    def put(error: OSError) -> None:
        made.append(io.TextIOWrapper(io.BufferedWriter(Broken(error), 16), "utf-8", write_through=True))
        monkeypatch.setattr(sys, "stdout", made[-1])

    yield put
    for stream in made:
        raw = stream.detach().detach()
        os.close(raw.fileno())


@pytest.mark.parametrize("words", SAYING.values(), ids=SAYING)
def test_a_reader_that_quits_ends_every_verb_without_a_word(
    words: tuple[str, ...], broken: Callable[[OSError], None], capsys: pytest.CaptureFixture[str]
) -> None:
    broken(BrokenPipeError(32, "Broken pipe"))
    assert main(list(words)) == 141
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("words", [*SAYING.values()][:4], ids=[*SAYING][:4])
def test_a_full_disk_behind_standard_output_is_one_line(
    words: tuple[str, ...], broken: Callable[[OSError], None], capsys: pytest.CaptureFixture[str]
) -> None:
    broken(OSError(28, "No space left on device"))
    assert main(list(words)) == 2
    assert capsys.readouterr().err == "error: cannot write standard output: No space left on device; make room\n"


def program(redirected: str, *words: str, **streams: Any) -> subprocess.CompletedProcess[str]:
    """`python -m orthoscope WORDS`, its streams redirected as the shell has it."""
    command = ["sh", "-c", f'exec "$0" "$@" {redirected}', sys.executable, "-m", "orthoscope", *words]
    return subprocess.run(command, text=True, capture_output=not streams, check=False, **streams)


def test_programs_end_alike() -> None:
    """Really, and not only within this process; `python -m orthoscope` is the command line, too."""
    reading, writing = os.pipe()
    os.close(reading)
    unread = program("", *PREDICT, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (unread.returncode, unread.stderr) == (141, "")

    closed = program("<&- >&-", *PREDICT)
    assert closed.returncode == 2
    assert closed.stderr.startswith("error: cannot write standard output: Bad file descriptor; it is closed")
    assert len(closed.stderr.splitlines()) == 1

    unheard = program("2>&-", "predict", "--rate", "x")
    assert (unheard.returncode, unheard.stdout) == (2, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_a_full_standard_error_stops_nothing() -> None:
    found = program("2>/dev/full", "predict", "--rate", "x")
    assert (found.returncode, found.stdout) == (2, "")


def test_a_stream_of_few_letters_spells_the_others(
    run_cli: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = io.BytesIO()
    stream = io.TextIOWrapper(held, "ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["predict", "--help"]) == 0  # which lets it spell
    emit({"shift": {"value": float("inf"), "stderr": 0.5, "n": 3}, "of": "3 → ∞"}, as_json=False, title="±")
    stream.flush()
    assert b"3 \\u2192 \\u221e" in held.getvalue()


SHORT = (
    PREDICT,
    ("simulate", "--dim", "4", "--classes", "3", "--std", "0.5", "--strength", "1", "--samples", "8", "--draws", "1",
     "--steps", "3"),
    ("phase", "window", "--rate", "0.9", "--std", "0.5", "--t-max", "10", "--w0=-1:0:2", "--slope", "0:1:2"),
    DESIGN,
)  # fmt: skip


@pytest.mark.parametrize("words", SHORT, ids=[words[0] for words in SHORT])
def test_numbers_are_told_where_a_disk_is_full(
    words: tuple[str, ...], run_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *content: object) -> object:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("orthoscope.writing._replace", full)
    place = tmp_path / {"phase": "plane.nc", "design": "schedule.json"}.get(words[0], "run")
    found = run_cli(*words, "--out", place, "--json")
    assert found.status == 2
    assert isinstance(json.loads(found.out), dict)
    assert re.fullmatch(
        r"error: cannot write .*: No space left on device; make room, or choose another --out\n", found.err
    )


# The environment


@pytest.mark.parametrize("columns", ["0", "1", "-5", "x"])
def test_no_width_of_a_terminal_costs_a_number(columns: str, run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert "0.03562" in " ".join(run_cli(*PREDICT).out.split())


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("MPLBACKEND", "nonsense", ValueError("Key backend: 'nonsense' is not a valid value")),
        ("_ORTHOSCOPE_COMPLETE", "complete_bash", KeyError("COMP_WORDS")),
        ("SOURCE_DATE_EPOCH", "99999999999999999", OSError(75, "Value too large for defined data type")),
    ],
)
def test_a_variable_that_a_library_complains_of_is_named(
    name: str, value: str, error: Exception, run_cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def complain(*args: object, **options: object) -> None:
        monkeypatch.setenv(name, value)
        raise error

    monkeypatch.setattr("orthoscope.designs.study.DesignStudy.report", complain)
    found = run_cli(*DESIGN)
    assert (found.status, found.out) == (2, "")
    assert re.fullmatch(rf"error: {name} in the environment is of no use \(.*\); unset it\n", found.err)


def test_a_folder_that_was_removed_below_one_is_told(
    run_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    found = run_cli(*PREDICT)
    told = "error: the current folder was removed; change to one that is there\n"
    assert (found.status, found.out, found.err) == (2, "", told)


# Notes


def test_quiet_leaves_errors_of_any_library(run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    other = logging.getLogger("other library")
    handler = logging.StreamHandler()
    monkeypatch.setattr(other, "handlers", [handler])

    def predicted(*args: object, **options: object) -> object:
        LOG.info("done")
        LOG.warning("a `t_max` that says little")
        LOG.error("error: of this")
        handler.stream = sys.stderr
        other.warning("deprecated")
        return real(*args, **options)

    from orthoscope.designs.study import DesignStudy

    real = DesignStudy.report
    monkeypatch.setattr(DesignStudy, "report", predicted)
    assert run_cli(*DESIGN).err == "error: of this\n"
    loud = run_cli(*DESIGN[:-1]).err.splitlines()
    assert loud[:4] == ["done", "a --t-max that says little", "error: of this", "deprecated"]
    assert not LOG.isEnabledFor(logging.INFO)  # all as it was
