"""Work on many items through Dask: in this process, on a local cluster of processes, or on an existing cluster.

Results come as they finish. What an item raises is its result, so one bad item never stops the others. Only a few
items per worker are in flight, so a study may have any number of them.
"""

from __future__ import annotations

import logging
import multiprocessing.forkserver
import pickle
import platform
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from typing import Any, TypeVar

import dask
from dask.local import get_sync
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from orthoscope.errors import ConfigError, OrthoscopeError, StoppedError

T = TypeVar("T")
R = TypeVar("R")

IN_FLIGHT = 4  # items per worker thread
WORKER_DEATHS = 20  # that an item may see; one more, and it is taken for their cause
_PRELOADED = ["distributed", "orthoscope.sweeps.run"]  # so that a new worker does not import them again
_CONNECT = 10.0  # seconds
_DEAF_TO_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"  # the parent ends its workers itself
_SETTINGS = {
    "distributed.worker.multiprocessing-method": "forkserver",  # a killed worker is back within a moment
    "distributed.scheduler.allowed-failures": WORKER_DEATHS,
}
_DECISIVE = ("orthoscope", "numpy", "scipy", "torch")  # packages whose versions decide the bits of a result


class ClusterLostError(StoppedError):
    """The cluster went away while it was working."""


class _OtherVersionsError(ConfigError):
    """A worker whose results would not be the same bit for bit."""


class _Raised:
    """An exception on its way back from a worker, as a value."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def execute(
    work: Callable[[T], R], items: Sequence[T], *, workers: int = 1, scheduler: str | None = None
) -> Generator[tuple[int, R | Exception], None, None]:
    """Work on every item, and yield its index with its result, or with what it raised, as items finish.

    Args:
        work: A function that can be pickled; its result should depend on its item only.
        items: Values that can be pickled.
        workers: 1 for this process, more for as many processes on this machine, of one thread each.
        scheduler: Address of a running Dask scheduler, used instead.

    Raises:
        ConfigError: if there are fewer workers than one, or more beside a scheduler, no scheduler answers, or a worker
            has other versions.
        ClusterLostError: if the scheduler goes away; close the iterator, or leave it, to end what is running.
    """
    if workers < 1:
        raise ConfigError(f"expected at least 1 worker, got {workers}")
    if scheduler is not None and workers > 1:
        raise ConfigError(f"the cluster at {scheduler} has workers of its own: leave out `workers` {workers}")
    if not items:
        return
    if scheduler is None and workers == 1:
        with threadpool_limits(1, user_api="blas"):
            for index, item in enumerate(items):
                yield index, _unpack(get_sync({"item": (partial(_attempt, work, item),)}, "item"))
        return
    with _cluster(workers, scheduler) as client:
        yield from _distribute(client, work, items)


def _attempt(work: Callable[[T], R], item: T) -> R | _Raised:
    try:
        return work(item)
    except Exception as error:
        return _Raised(error)


def _portable(error: Exception) -> Exception:
    """The error, or its text alone if it would not survive pickling."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return OrthoscopeError(f"{type(error).__name__}: {error}")
    return error


def _unpack(result: Any) -> Any:
    """A result, or the exception that came in its place.

    Raises:
        ConfigError: if that says that its worker cannot be used.
    """
    if not isinstance(result, _Raised):
        return result
    if isinstance(result.error, _OtherVersionsError):
        raise result.error
    return result.error


# On a cluster


def versions() -> dict[str, str]:
    """Versions of Python and of every package that decides the bits of a result, in this process."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in _DECISIVE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


@cache
def _settle(expected: tuple[tuple[str, str], ...]) -> str:
    """Once per worker: one thread for linear algebra; what is wrong with its versions, if anything."""
    threadpool_limits(1, user_api="blas")
    here = versions()
    other = [f"{name} {here[name]} instead of {wanted}" for name, wanted in expected if here[name] != wanted]
    cure = "equal results need equal versions: install the same on all machines"
    return f"a worker on {platform.node()} has {', '.join(other)}; {cure}" if other else ""


def _attempt_on_worker(expected: tuple[tuple[str, str], ...], work: Callable[[T], R], item: T) -> R | _Raised:
    if problem := _settle(expected):
        return _Raised(_OtherVersionsError(problem))
    result = _attempt(work, item)
    return _Raised(_portable(result.error)) if isinstance(result, _Raised) else result


@contextmanager
def _cluster(workers: int, scheduler: str | None) -> Iterator[Any]:
    """A client of the cluster; it and a cluster of our own end with the block."""
    import distributed
    from distributed.utils import silence_logging_cmgr

    with ExitStack() as stack:
        stack.enter_context(silence_logging_cmgr(logging.CRITICAL))
        stack.enter_context(dask.config.set(_SETTINGS))
        try:
            with _ctrl_c_later():  # a cluster half started cannot be ended
                cluster = scheduler or stack.enter_context(_local_cluster(workers))
        except OSError as error:
            raise ConfigError(f"cannot start {workers} workers: {error}; use `workers` 1") from error
        try:
            client = distributed.Client(cluster, timeout=_CONNECT, set_as_default=False)  # type: ignore[no-untyped-call]
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"no Dask scheduler answers at {scheduler} ({error}); start one with 'dask scheduler', and workers "
                "with 'dask worker ADDRESS --nthreads 1'"
            ) from error
        yield stack.enter_context(client)


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


def _start_fork_server() -> None:
    """Start the process that workers come from, deaf to Ctrl-C as they will be then from their first moment on."""
    from distributed.utils import get_mp_context

    context = get_mp_context()  # type: ignore[no-untyped-call]
    context.set_forkserver_preload(_PRELOADED)
    if threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            multiprocessing.forkserver.ensure_running()
        finally:
            signal.signal(signal.SIGINT, before)


def _local_cluster(workers: int) -> Any:
    from distributed import LocalCluster

    _start_fork_server()
    return LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=workers,
        threads_per_worker=1,
        host="127.0.0.1",
        memory_limit=0,  # the machine's own; a worker out of memory is replaced
        scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        silence_logs=logging.CRITICAL,
        preload=[_DEAF_TO_CTRL_C],
    )


def _distribute(client: Any, work: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[int, R | Exception]]:
    from distributed import as_completed
    from distributed.client import ClosedClientError

    call = partial(_attempt_on_worker, tuple(versions().items()), work)
    waiting = iter(range(len(items)))
    running: dict[Any, int] = {}
    finished: Any = as_completed(loop=client.loop, with_results=True, raise_errors=False)  # type: ignore[no-untyped-call]
    window, looked = 0, -1.0

    def submit(indices: Iterable[int]) -> None:
        for index in indices:
            future = client.submit(partial(call, items[index]), pure=False)
            running[future.key] = index
            finished.add(future)

    try:
        while True:
            if time.monotonic() > looked + 1:  # workers come and go
                window, looked = IN_FLIGHT * max(1, sum(client.nthreads().values())), time.monotonic()
            submit(islice(waiting, max(0, window - len(running))))
            if not running:
                return
            future, result = next(finished)
            index, status = running.pop(future.key), future.status
            future.release()  # else it is computed again if its worker dies now
            if status == "finished":
                yield index, _unpack(result)
            elif status == "error":
                yield index, _fault(result[1])
            elif client.status == "running":  # its worker died with the result, before that came here
                submit([index])
            else:
                raise ConnectionError("lost while waiting")
    except (OSError, CancelledError, ClosedClientError) as error:
        raise ClusterLostError("the Dask scheduler went away") from error


def _fault(error: BaseException) -> Exception:
    """What it means for an item that a worker could not even begin or end its work.

    Raises:
        ConfigError: if that will be so for every item.
    """
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return OrthoscopeError(f"its workers died, {error.allowed_failures + 1} in a row; is there enough memory?")
    raise ConfigError(
        f"workers cannot run this ({type(error).__name__}: {error}); install the same orthoscope on all machines"
    ) from error
