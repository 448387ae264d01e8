"""Workers to compute with: processes of this machine, started for the purpose, or a Dask cluster that is there."""

from __future__ import annotations

import gc
import logging
import multiprocessing.forkserver
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import dask

from orthoscope.errors import ConfigError

WORKER_DEATHS = 20  # that an item may see; one more, and it is suspected to be their cause
_CONNECT = 10.0  # seconds
_DEAF_TO_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"  # the parent ends its workers itself
_HUSHED = {"TRANSFORMERS_VERBOSITY": "error", "DIFFUSERS_VERBOSITY": "error"}  # which they read when imported
_SETTINGS = {
    "distributed.worker.multiprocessing-method": "forkserver",  # a killed worker is back within a moment
    "distributed.scheduler.allowed-failures": WORKER_DEATHS,
}


@contextmanager
def cluster(workers: int, scheduler: str | None, preload: tuple[str, ...]) -> Iterator[Any]:
    """A client of the cluster; it and a cluster of our own end with the block.

    Args:
        workers: Processes to start on this machine.
        scheduler: Address of a running scheduler, used instead.
        preload: Modules that processes started here import once, all together.

    Raises:
        ConfigError: if workers cannot be started, or no scheduler answers.
    """
    from distributed.utils import silence_logging_cmgr

    with ExitStack() as stack:
        stack.enter_context(silence_logging_cmgr(logging.CRITICAL))
        stack.enter_context(dask.config.set(_SETTINGS))
        try:
            with _ctrl_c_later():  # a cluster half started cannot be ended
                address = scheduler or stack.enter_context(_local_cluster(workers, preload))
        except OSError as error:
            raise ConfigError(f"cannot start {workers} workers: {error}; use `workers` 1") from error
        yield stack.enter_context(_client(address))


def _client(address: Any) -> Any:
    from distributed import Client

    try:
        return Client(address, timeout=_CONNECT, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        why = str(error)
    gc.collect()  # a client half made ends as garbage; within the start of the next one, that would never return
    raise ConfigError(
        f"no Dask scheduler answers at {address} ({why}); start one with 'dask scheduler', and workers "
        "with 'dask worker ADDRESS --nthreads 1'"
    )


@contextmanager
def _ctrl_c_later() -> Iterator[None]:
    """Keep Ctrl-C until the end of the block; only the main thread can, and only it gets one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pressed:
            raise KeyboardInterrupt


def _start_fork_server(preload: tuple[str, ...]) -> None:
    """Start the process that workers come from, deaf to Ctrl-C as they will be then from their first moment on."""
    from distributed.utils import get_mp_context

    context = get_mp_context()  # type: ignore[no-untyped-call]
    context.set_forkserver_preload(["distributed", *preload])
    if threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with patch.dict(os.environ, _HUSHED if logging.root.manager.disable >= logging.WARNING else {}):
                multiprocessing.forkserver.ensure_running()
        finally:
            signal.signal(signal.SIGINT, before)


def _local_cluster(workers: int, preload: tuple[str, ...]) -> Any:
    from distributed import LocalCluster

    _start_fork_server(preload)
    return LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=workers,
        threads_per_worker=1,
        host="127.0.0.1",
        memory_limit=0,  # the machine's own; a worker out of memory is replaced
        scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        silence_logs=logging.CRITICAL,
        preload=[_DEAF_TO_CTRL_C, f"import logging; logging.disable({logging.root.manager.disable})"],
    )


def turn() -> int:
    """Number of the worker that this process is, for taking turns over devices; 0 in a process that is none.

    Workers of `workers` are numbered from 0. Those of a cluster have the number at the end of their names: what
    `dask worker `name`` gives, else the port, which spreads them evenly enough.
    """
    if (distributed := sys.modules.get("distributed")) is None:
        return 0
    try:
        name = str(distributed.get_worker().name)
    except ValueError:
        return 0
    return int(name[len(name.rstrip("0123456789")) :] or 0)
