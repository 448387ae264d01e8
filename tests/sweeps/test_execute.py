"""Work through Dask: in this process, on processes of its own, on a cluster that is there, and when that goes away."""

from __future__ import annotations

import gc
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import chain, repeat
from pathlib import Path

import psutil
import pytest
import xarray as xr
from distributed import Client, Future, LocalCluster

from orthoscope.errors import ConfigError, DivergenceError, OrthoscopeError
from orthoscope.sweeps import cluster
from orthoscope.sweeps import execute as module
from orthoscope.sweeps.execute import ClusterLostError, execute, versions
from orthoscope.sweeps.run import SweepStoppedError, run_sweep
from tests.sweeps import dummy
from tests.sweeps.dummy import bits, deadly, listening, make_plan, many, picky, stored, touch, work


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of two threads that is there before the work."""
    with LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        processes=False,
        protocol="tcp",
        dashboard_address=None,
        scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(params=["here", "processes", "cluster"])
def where(request: pytest.FixtureRequest) -> dict[str, object]:
    """The three ways to work."""
    if request.param == "cluster":
        return {"scheduler": request.getfixturevalue("address")}
    return {"workers": 2 if request.param == "processes" else 1}


def test_every_item_once_and_what_it_raises_is_its_result(where: dict[str, object]) -> None:
    found = dict(execute(picky, list(range(40)), **where))
    assert sorted(found) == list(range(40))
    for index, result in found.items():
        if index == 7:
            assert isinstance(result, DivergenceError | OrthoscopeError)
            assert "lost at step 3" in str(result)
        elif index == 9:
            assert type(result) is ZeroDivisionError
        else:
            assert result == index**2


@pytest.mark.parametrize("item", [("tuple", 1), "item", {"a": [1]}, [sum, 2], None, 0])
def test_items_reach_the_work_as_they_are(item: object) -> None:
    assert list(execute(repr, [item])) == [(0, repr(item))]


def test_few_items_are_in_flight(tmp_path: Path, address: str) -> None:
    record = tmp_path / "record"
    with closing(execute(partial(touch, str(record)), range(1000), scheduler=address)) as found:
        next(found)
        time.sleep(0.3)
        assert record.stat().st_size <= 12  # of 1000, with two threads
    time.sleep(0.1)
    begun = record.stat().st_size
    time.sleep(0.3)
    assert record.stat().st_size == begun  # leaving the iterator ends the work


@pytest.mark.slow
def test_an_item_that_kills_its_workers_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cluster._SETTINGS, "distributed.scheduler.allowed-failures", 1)
    found = dict(execute(deadly, range(6), workers=2))
    assert "its workers died, 2 in a row; is there enough memory?" in str(found.pop(3))
    assert found == {k: k for k in (0, 1, 2, 4, 5)}  # also what died beside it


def written(item: int) -> int:
    """The length of a NetCDF file in memory."""
    return len(bytes(xr.Dataset({"x": ("at", [item])}).to_netcdf(engine="h5netcdf")))


@pytest.mark.slow
def test_work_may_write_files_of_its_own() -> None:
    assert len(set(dict(execute(written, range(4), workers=2)).values())) == 1


@pytest.mark.slow
def test_workers_have_numbers_to_take_turns_by() -> None:
    assert cluster.turn() == 0  # in a process that is no worker
    assert {number for _, number in execute(dummy.my_turn, range(40), workers=2)} == {0, 1}


def test_no_items_start_nothing() -> None:
    assert list(execute(picky, [], scheduler="tcp://127.0.0.1:1")) == []


def test_bad_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_CONNECT", 0.5)
    with pytest.raises(ConfigError, match=r"must be at least 1, got 0"):
        list(execute(picky, [1], workers=0))
    with pytest.raises(ConfigError, match=r"workers of its own: leave out `workers` 2"):
        list(execute(picky, [1], workers=2, scheduler="tcp://127.0.0.1:1"))
    for nowhere in (f"tcp://127.0.0.1:{free_port()}", "nowhere://at:all", "what?"):
        with pytest.raises(ConfigError, match=rf"no Dask scheduler answers at {re.escape(nowhere)}.*'dask scheduler'"):
            list(execute(picky, [1], scheduler=nowhere))
    # A client left half made would end within the start of another one, and both would wait for ever.
    assert not [made for made in gc.get_objects() if type(made) is Client and made.status == "connecting"]


def test_a_worker_of_other_versions_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = versions()
    # Asked here first, then on the worker's threads, which share this process.
    answers = chain([ours | {"numpy": "1.0.0"}], repeat(ours))
    monkeypatch.setattr(module, "versions", lambda: next(answers))
    with pytest.raises(ConfigError, match=r"a worker on .* has numpy .* instead of 1\.0\.0; equal results need equal"):
        list(execute(picky, [1, 2, 3], scheduler=address))


def test_a_result_that_is_lost_on_its_way_is_computed_again(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    submit, lost = Client.submit, []

    def submit_and_lose(client: Client, *args: object, **kwargs: object) -> Future:
        future = submit(client, *args, **kwargs)
        if len(lost) < 5:
            lost.append(future)
            future.cancel(force=True)
        return future

    monkeypatch.setattr(Client, "submit", submit_and_lose)
    found = dict(execute(abs, range(20), scheduler=address))
    assert len(lost) == 5
    assert found == {k: k for k in range(20)}


def test_a_cluster_of_its_own_listens_to_this_machine_only_and_leaves_nothing() -> None:
    with closing(execute(listening, [None] * 8, workers=2)) as found:
        seen = [next(found)[1], listening(os.getpid()), *(result for _, result in found)]
    assert set().union(*(addresses for _, addresses in seen)) == {"127.0.0.1"}
    workers = {pid for pid, _ in seen} - {os.getpid()}
    assert len(workers) == 2
    assert not [pid for pid in workers if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def dask(*arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "dask", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_a_lost_scheduler_stops_with_one_line_and_what_is_done_stays(tmp_path: Path) -> None:
    address, out, plan = f"tcp://127.0.0.1:{free_port()}", tmp_path / "out", make_plan(many())
    host, port = address.removeprefix("tcp://").split(":")
    with dask("scheduler", "--host", host, "--port", port, "--no-dashboard") as scheduler:
        with dask("worker", address, "--nthreads", 1, "--no-nanny", "--no-dashboard", "--preload", dummy.__name__):

            def lose_it(done: int, total: int) -> None:
                if done == 30:
                    scheduler.kill()

            with pytest.raises(SweepStoppedError, match=r"scheduler went away; \d+ of 200 cells are stored in") as stop:
                run_sweep(plan, out, scheduler=address, progress=lose_it, work=partial(work, nap=0.01))
    assert "\n" not in str(stop.value)
    assert isinstance(stop.value.__cause__, ClusterLostError)
    kept = len(stored(out))
    assert 30 <= kept < 200
    assert run_sweep(plan, out, work=work).reused == kept
    run_sweep(plan, tmp_path / "undisturbed", work=work)
    assert bits(out) == bits(tmp_path / "undisturbed")


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_sent_is_refused_before_workers_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cluster", None)  # nothing starts
    with pytest.raises(ConfigError, match=r"cannot be sent to other processes .*_thread.lock") as found:
        list(execute(partial(touch, Path()), [threading.Lock()], workers=2))
    assert found.value.fields == ("workers",)
    assert "\n" not in str(found.value)
