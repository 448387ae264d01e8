"""A sweep is disturbed for real, and goes on: nothing finished is lost or computed twice, and every bit is the same.

A cell in flight when its process dies is computed again: it was not finished. Finished means stored.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

import psutil
import pytest

from orthoscope import rng
from orthoscope.errors import ConfigError, DivergenceError
from orthoscope.quantities import Estimate
from orthoscope.sweeps.plan import Cell, Plan
from orthoscope.sweeps.run import SweepStoppedError, run_sweep
from orthoscope.sweeps.store import SCHEMA, Store
from tests.sweeps import dummy
from tests.sweeps.dummy import begun, bits, make_plan, many, running, stored, work

KILLS = 20
A_MOMENT = 1.0  # seconds in which a scheduler on a busy machine hears that a result has arrived


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """A file in which every cell that is begun leaves a line."""
    return tmp_path / "record"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The numbers of `many()` cells that nothing has disturbed."""
    out = tmp_path_factory.mktemp("undisturbed")
    run_sweep(make_plan(many()), out, work=work)
    return bits(out)


class Witness:
    """Looks at a store between disturbances: finished cells must stay, and must not be begun again."""

    def __init__(self, out: Path, record: Path) -> None:
        self.out, self.record = out, record
        self.known: set[str] = set()
        self.offset = 0

    def assert_nothing_lost(self) -> None:
        again = self.known & set(begun(self.record, self.offset))
        assert not again
        now = stored(self.out)
        assert self.known <= now
        self.known = now
        self.offset = self.record.stat().st_size if self.record.exists() else 0

    def assert_finishes(self, expected: bytes) -> None:
        """One more run, by nobody disturbed."""
        result = run_sweep(make_plan(many(), record=str(self.record)), self.out, work=work)
        assert not result.failed
        assert result.reused == len(self.known)
        assert result.computed == result.cells - len(self.known)
        self.assert_nothing_lost()
        assert bits(self.out) == expected


def wait_for(condition: Callable[[], bool], what: str, *, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.005)


def has_begun(record: Path, cells: int) -> bool:
    return len(begun(record)) >= cells


# Kill -9


@pytest.mark.slow
def test_twenty_kills_of_the_process(tmp_path: Path, record: Path, undisturbed: bytes, seed: int) -> None:
    out, moments = tmp_path / "out", rng.stream(seed, "kills")
    witness = Witness(out, record)
    for k in range(KILLS):
        with running(make_plan(many(), record=str(record)), out, nap=0.02) as process:
            cells, nap = moments.integers(0, 4), moments.uniform(0, 0.3 if k % 4 == 0 else 0.02)
            if k % 4:  # every fourth is killed while it starts
                wait_for(partial(has_begun, record, len(begun(record)) + cells), "cells")
            time.sleep(nap)
            assert process.is_alive()
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            assert process.exitcode == -signal.SIGKILL
        witness.assert_nothing_lost()
    assert 0 < len(witness.known) < 200
    assert len(begun(record)) <= len(witness.known) + KILLS  # at most the one in flight is computed again
    witness.assert_finishes(undisturbed)


@pytest.mark.slow
def test_twenty_kills_of_workers(tmp_path: Path, record: Path, undisturbed: bytes, seed: int) -> None:
    out, moments = tmp_path / "out", rng.stream(seed, "kills")
    killed: list[int] = []
    over = threading.Event()

    def kill_now_and_then() -> None:
        while len(killed) < KILLS and not over.is_set():
            time.sleep(moments.uniform(0, 0.2))
            latest = int(record.read_text().split()[-1]) if record.exists() else 0
            if latest and psutil.pid_exists(latest) and latest not in killed:
                os.kill(latest, signal.SIGKILL)
                killed.append(latest)

    killer = threading.Thread(target=kill_now_and_then)
    killer.start()
    try:
        result = run_sweep(make_plan(many(), record=str(record)), out, workers=2, work=partial(work, nap=0.04))
    finally:
        over.set()
        killer.join()
    assert len(killed) == KILLS
    assert not result.failed
    assert result.computed == 200
    assert bits(out) == undisturbed
    events = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    when = {event["cell"]: datetime.fromisoformat(event["time"]) for event in events if event["event"] == "stored"}
    assert len(when) == 200
    for line in record.read_text().splitlines():
        cell, began, _ = line.split("\t")
        assert float(began) < when[cell].timestamp() + A_MOMENT


def spawn(out: Path, record: Path, workers: int) -> subprocess.Popen[bytes]:
    """The study as a program in a session of its own, which hears Ctrl-C even if this one was started deaf to it."""
    command = [sys.executable, "-m", "tests.sweeps.dummy", str(out), str(record), str(workers)]
    hear = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, preexec_fn=hear)


@pytest.mark.slow
def test_a_killed_parent_leaves_no_workers_and_no_lock(tmp_path: Path, record: Path, undisturbed: bytes) -> None:
    out = tmp_path / "out"
    witness = Witness(out, record)
    with spawn(out, record, 2) as process:
        wait_for(partial(has_begun, record, 20), "cells")
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 2
        process.kill()
    psutil.wait_procs(family, timeout=30)
    assert not [child for child in family if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    witness.assert_nothing_lost()
    witness.assert_finishes(undisturbed)


# Ctrl-C


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c(tmp_path: Path, record: Path, undisturbed: bytes, workers: int) -> None:
    out = tmp_path / "out"
    witness = Witness(out, record)
    with spawn(out, record, workers) as process:
        wait_for(lambda: has_begun(record, 5) and stored(out), "cells, one of them stored")
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: workers get it too
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"")
    witness.assert_nothing_lost()
    assert 0 < len(witness.known) < 200
    witness.assert_finishes(undisturbed)


@pytest.mark.slow
def test_ctrl_c_while_workers_start(tmp_path: Path, record: Path, undisturbed: bytes) -> None:
    out = tmp_path / "out"
    with spawn(out, record, 2) as process:
        family = psutil.Process(process.pid)
        wait_for(lambda: len(family.children(recursive=True)) >= 3, "the first worker beside its server and a tracker")
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"")
    assert run_sweep(make_plan(many(), record=str(record)), out, work=work).reused < 200
    assert bits(out) == undisturbed


# Full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, too small for the study."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=320k", "tmpfs", str(disk)], capture_output=True)
    if mount.returncode:
        pytest.skip(f"no file system can be mounted here: {mount.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk(small_disk: Path, record: Path, undisturbed: bytes) -> None:
    out = small_disk / "out"
    witness = Witness(out, record)
    for _ in range(2):  # still full the second time
        with pytest.raises(
            SweepStoppedError, match=r"cannot write: .*No space left.*make room, then start again"
        ) as stop:
            run_sweep(make_plan(many(), record=str(record)), out, work=work)
        assert "\n" not in str(stop.value)
        witness.assert_nothing_lost()
        assert f"{len(witness.known)} of 200 cells are stored" in str(stop.value)
    assert 0 < len(witness.known) < 200
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    witness.assert_finishes(undisturbed)


def test_a_disk_too_full_to_begin(small_disk: Path, undisturbed: bytes) -> None:
    (small_disk / "rest").write_bytes(b"x" * 300_000)
    out = small_disk / "out"
    with pytest.raises(ConfigError, match=r"cannot write .*make room"):
        run_sweep(make_plan(many()), out, work=work)
    (small_disk / "rest").unlink()
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    assert run_sweep(make_plan(many()), out, work=work).computed == 200
    assert bits(out) == undisturbed


def test_a_limit_on_the_size_of_files(tmp_path: Path, undisturbed: bytes) -> None:
    out = tmp_path / "out"
    here, there = dummy.context().Pipe(duplex=False)
    process = dummy.context().Process(target=dummy.run_out_of_space, args=(make_plan(many()), out, 50, there))
    process.start()
    assert here.poll(60)
    assert re.fullmatch(r"cannot write: .*File too large.*; 50 of 200 cells are stored in .*", here.recv())
    process.join()
    assert len(stored(out)) == 50
    result = run_sweep(make_plan(many()), out, work=work)
    assert (result.reused, result.computed) == (50, 150)
    assert bits(out) == undisturbed


# A store that goes away


def _replace(out: Path) -> None:
    (out / "results.zarr").rename(out / "other.zarr")
    shutil.copytree(out / "other.zarr", out / "results.zarr")


LOSSES: dict[str, Callable[[Path], object]] = {
    "folder removed": shutil.rmtree,
    "folder moved": lambda out: out.rename(out.with_name("moved")),
    "store removed": lambda out: shutil.rmtree(out / "results.zarr"),
    "store moved": lambda out: (out / "results.zarr").rename(out / "moved.zarr"),
    "store replaced": _replace,
    "layout removed": lambda out: (out / "results.zarr" / "estimates" / "zarr.json").unlink(),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_lost_store_stops_the_run_at_once(tmp_path: Path, loss: str) -> None:
    """Not after the last cell, and without a store in the place of the lost one."""
    out, told = tmp_path / "out", []

    def progress(done: int, total: int) -> None:
        told.append(done)
        if done == 20:
            LOSSES[loss](out)

    with pytest.raises(
        SweepStoppedError, match=r"was removed, moved or replaced .* start again .*20 of 200 cells"
    ) as stop:
        run_sweep(make_plan(many()), out, work=work, progress=progress)
    assert "\n" not in str(stop.value)
    assert told[-1] == 20
    assert not list(out.glob("results.zarr/estimates/c/1/*/0/0"))


def test_cells_that_vanish_are_told_and_computed_again(tmp_path: Path, undisturbed: bytes) -> None:
    out = tmp_path / "out"

    def progress(done: int, total: int) -> None:
        if done == 120:
            shutil.rmtree(out / "results.zarr" / "estimates" / "c" / "0")

    with pytest.raises(SweepStoppedError, match=r"^100 of 200 cells .* gone: .*; start again to compute them$"):
        run_sweep(make_plan(many()), out, work=work, progress=progress)
    result = run_sweep(make_plan(many()), out, work=work)
    assert (result.computed, result.reused) == (100, 100)
    assert bits(out) == undisturbed


def test_a_read_only_disk_is_named(small_disk: Path) -> None:
    run_sweep(make_plan(), small_disk / "out", work=work)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(ConfigError, match=r"^cannot write .*: Read-only file system; choose another `out`$"):
        run_sweep(make_plan(), small_disk / "out", work=work)


# Bad cells


def test_cells_that_raise_or_are_not_finite_stop_nobody_and_are_tried_again(tmp_path: Path, undisturbed: bytes) -> None:
    def troubled(plan: Plan, cell: Cell) -> dict[str, Estimate | float]:
        results = work(plan, cell)
        match cell.coords["dim"]:
            case 3:
                raise DivergenceError("state is not finite at step 4", step=4, time=0.1, last_good=None)
            case 4:
                raise ZeroDivisionError("division by zero")
            case 5:
                return results | {"mean_shift": replace(results["mean_shift"], value=math.nan)}
            case 6:
                return results | {"mean_shift": replace(results["mean_shift"], stderr=math.inf)}
            case 7:
                return {"mean_shift": results["mean_shift"]}
        return results

    out, plan = tmp_path / "out", make_plan(many())
    for reused in (0, 190):
        result = run_sweep(plan, out, work=troubled)
        assert (result.computed, result.reused, len(result.failed)) == (190 - reused, reused, 10)
        reasons = {failed.cell.coords["dim"]: failed.reason for failed in result.failed if failed.cell.index[0] == 1}
        value = work(plan, plan.cells()[105])["mean_shift"].value
        assert reasons == {
            3: "state is not finite at step 4",
            4: "ZeroDivisionError: division by zero",
            5: "mean_shift is nan with standard error 0.1",
            6: f"mean_shift is {value} with standard error inf",
            7: "no result for mean_shift_mean_field, speciation_time",
        }
    assert run_sweep(plan, out, work=work).computed == 10
    assert bits(out) == undisturbed


# Two processes


def test_a_second_process_is_refused_and_disturbs_nobody(tmp_path: Path, record: Path, undisturbed: bytes) -> None:
    out, plan = tmp_path / "out", make_plan(many(), record=str(record))
    with running(plan, out, nap=0.005) as process:
        wait_for(partial(has_begun, record, 2), "cells")
        for _ in range(5):
            with pytest.raises(ConfigError, match=rf"in use by process {process.pid} on .*; wait for it, or choose"):
                run_sweep(plan, out, work=work)
        process.join()
        assert process.exitcode == 0
    assert len(begun(record)) == 200
    assert bits(out) == undisturbed


# Damaged files


def chunk(out: Path, cell: Cell) -> Path:
    return out.joinpath("results.zarr", "estimates", "c", *map(str, cell.index), "0", "0")


@pytest.mark.parametrize("damage", ["truncated", "empty", "longer", "flipped"])
def test_a_damaged_chunk_is_noticed_and_only_its_cell_is_computed_again(tmp_path: Path, damage: str) -> None:
    out, plan = tmp_path / "out", make_plan()
    run_sweep(plan, out, work=work)
    before, cell = bits(out), plan.cells()[9]
    whole = chunk(out, cell).read_bytes()
    for place in range(0, len(whole), 7 if damage == "truncated" else len(whole)):
        flipped = bytes([whole[place] ^ 1]) + whole[place + 1 :]
        broken = {"truncated": whole[:place], "empty": b"", "longer": whole + b"\0", "flipped": whole[:place] + flipped}
        chunk(out, cell).write_bytes(broken[damage])
        result = run_sweep(plan, out, work=work)
        assert (result.damaged, result.computed, result.reused) == ((cell,), 1, 23)
        assert bits(out) == before
    assert run_sweep(plan, out, work=work).damaged == ()


def test_what_a_killed_write_leaves_behind_is_swept_up(tmp_path: Path) -> None:
    out, plan = tmp_path / "out", make_plan()
    run_sweep(plan, out, work=work)
    rest = chunk(out, plan.cells()[3]).with_suffix(".0123456789abcdef.partial")
    rest.write_bytes(b"half")
    assert run_sweep(plan, out, work=work).reused == 24
    assert not rest.exists()


# Another schema


def write_schema(out: Path, schema: int) -> None:
    """Make a store what an earlier release wrote: schema 1 has no checksums."""
    attributes = out / "results.zarr" / "zarr.json"
    group = json.loads(attributes.read_text())
    group["attributes"]["schema"] = schema
    attributes.write_text(json.dumps(group))
    array = out / "results.zarr" / "estimates"
    meta = json.loads((array / "zarr.json").read_text())
    meta["codecs"] = [codec for codec in meta["codecs"] if codec["name"] != "crc32c"]
    (array / "zarr.json").write_text(json.dumps(meta))
    for path in (array / "c").rglob("0"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-4])


def test_a_store_of_the_schema_before_is_brought_up_to_date(tmp_path: Path, record: Path, undisturbed: bytes) -> None:
    out, plan = tmp_path / "out", make_plan(many(), record=str(record))
    with running(plan, out, nap=0.001) as process:
        wait_for(partial(has_begun, record, 50), "cells")
        process.kill()
    write_schema(out, 1)
    witness = Witness(out, record)
    witness.assert_nothing_lost()
    assert 40 < len(witness.known) < 200
    witness.assert_finishes(undisturbed)
    assert Store(out / "results.zarr").schema == SCHEMA
    assert sorted(path.name for path in out.iterdir()) == ["lock", "log.jsonl", "results.zarr"]


@pytest.mark.parametrize("schema", [0, SCHEMA + 1])
def test_a_store_of_an_unknown_schema_is_refused_and_left_alone(tmp_path: Path, schema: int) -> None:
    out, plan = tmp_path / "out", make_plan()
    run_sweep(plan, out, work=work)
    write_schema(out, schema)
    files = {path: path.read_bytes() for path in (out / "results.zarr").rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=f"has schema {schema}, .* Nothing was changed: .*choose another `out`"):
        run_sweep(plan, out, work=work)
    assert files == {path: path.read_bytes() for path in (out / "results.zarr").rglob("*") if path.is_file()}
