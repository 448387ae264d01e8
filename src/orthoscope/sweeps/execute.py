"""Work on many items through Dask: in this process, on a local cluster of processes, or on an existing cluster.

Results come as they finish. What an item raises is its result, so one bad item never stops the others. Only a few
items per worker are in flight, so a study may have any number of them.
"""

from __future__ import annotations

import logging
import pickle
import platform
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from itertools import chain, islice
from typing import Any, TypeVar

import dask
from dask.local import get_sync
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from orthoscope.checks import check_memory, whole
from orthoscope.errors import ConfigError, OrthoscopeError, StoppedError, in_one_line
from orthoscope.sweeps.cluster import cluster

T = TypeVar("T")
R = TypeVar("R")

IN_FLIGHT = 4  # items per worker thread
PRELOADED = ("orthoscope.sweeps.run",)  # so that a new worker does not import it again
_PROCESS = 200 << 20  # bytes that a worker takes before it works
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
    work: Callable[[T], R], items: Iterable[T], *, workers: int = 1, scheduler: str | None = None
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
    with Executor(workers=workers, scheduler=scheduler) as executor:
        yield from executor.run(work, items)


class Executor:
    """Where work is done; a context. Workers start with the first work there is, and stay until the end of the block.

    Attributes:
        workers: 1 for this process, more for as many processes on this machine, of one thread each.
        scheduler: Address of a running Dask scheduler, used instead.
        preload: Modules that the work needs, imported once for all processes on this machine.
    """

    def __init__(self, *, workers: int = 1, scheduler: str | None = None, preload: tuple[str, ...] = PRELOADED) -> None:
        """Say where.

        Raises:
            ConfigError: if there are fewer workers than one, or more beside a scheduler.
        """
        workers = whole("workers", workers, 1)
        if workers > 1:
            check_memory(f"{workers} processes", float(workers) * _PROCESS, "workers")
        if scheduler is not None and workers > 1:
            raise ConfigError(f"the cluster at {scheduler} has workers of its own: leave out `workers` {workers}")
        self.workers, self.scheduler, self.preload = workers, scheduler, preload
        self._stack = ExitStack()
        self._client: Any = None

    @property
    def is_elsewhere(self) -> bool:
        """Whether work leaves this process."""
        return self.workers > 1 or self.scheduler is not None

    def run(self, work: Callable[[T], R], items: Iterable[T]) -> Generator[tuple[int, R | Exception], None, None]:
        """Work on every item, as `execute` does; each is taken only when it is about to be begun.

        Raises:
            ConfigError: if the work cannot be sent, no scheduler answers, or a worker has other versions.
            ClusterLostError: if the scheduler goes away.
        """
        waiting = iter(items)
        first = list(islice(waiting, 1))
        if not first:
            return
        waiting = chain(first, waiting)
        if not self.is_elsewhere:
            yield from _here(work, waiting)
            return
        if self._client is None:
            _check_portable(work, first[0])
            self._client = self._stack.enter_context(cluster(self.workers, self.scheduler, self.preload))
        yield from _distribute(self._client, work, waiting)

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *error: object) -> None:
        self._client = None
        self._stack.close()


def _here(work: Callable[[T], R], items: Iterable[T]) -> Generator[tuple[int, R | Exception], None, None]:
    with threadpool_limits(1, user_api="blas"):
        for index, item in enumerate(items):
            yield index, _unpack(get_sync({"item": (partial(_attempt, work, item),)}, "item"))


def _attempt(work: Callable[[T], R], item: T) -> R | _Raised:
    try:
        return work(item)
    except Exception as error:
        return _Raised(error)


def _check_portable(work: Any, item: Any) -> None:
    """Refuse what cannot be sent to other processes; functions without a place, such as lambdas, can.

    Raises:
        ConfigError: saying why.
    """
    from distributed.protocol.pickle import dumps

    logger = logging.getLogger("distributed.protocol.pickle")  # which would show the whole traceback
    before, logger.disabled = logger.disabled, True
    try:
        dumps((work, item))  # type: ignore[no-untyped-call]
    except Exception as error:
        raise ConfigError(
            f"what is worked on cannot be sent to other processes ({in_one_line(error)}): keep locks, open files and "
            "generators out of functions and objects of your own, or use `workers` 1",
            field="workers",
        ) from error
    finally:
        logger.disabled = before


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
    with dask.config.set(scheduler="synchronous"):  # what the work writes takes no lock of the whole cluster for it
        result = _attempt(work, item)
    return _Raised(_portable(result.error)) if isinstance(result, _Raised) else result


def _distribute(client: Any, work: Callable[[T], R], items: Iterator[T]) -> Iterator[tuple[int, R | Exception]]:
    from distributed import KilledWorker, as_completed
    from distributed.client import ClosedClientError

    call = partial(_attempt_on_worker, tuple(versions().items()), work)
    waiting = enumerate(items)
    suspects: deque[tuple[int, T]] = deque()  # of killing workers: each is tried again with nothing else in flight
    running: dict[Any, tuple[int, T]] = {}
    alone = False
    finished: Any = as_completed(loop=client.loop, with_results=True, raise_errors=False)  # type: ignore[no-untyped-call]
    window, looked = 0, -1.0

    def submit(numbered: Iterable[tuple[int, T]]) -> None:
        for index, item in numbered:
            try:
                future = client.submit(partial(call, item), pure=False)
            except TypeError:
                _check_portable(work, item)
                raise
            running[future.key] = index, item
            finished.add(future)

    try:
        while True:
            if time.monotonic() > looked + 1:  # workers come and go
                window, looked = IN_FLIGHT * max(1, sum(client.nthreads().values())), time.monotonic()
            alone = alone and bool(running)
            if suspects and not running:
                alone = True
                submit([suspects.popleft()])
            elif not suspects and not alone:
                submit(islice(waiting, max(0, window - len(running))))
            if not running:
                return
            future, result = next(finished)
            (index, item), status = running.pop(future.key), future.status
            future.release()  # else it is computed again if its worker dies now
            if status == "finished":
                yield index, _unpack(result)
            elif status == "error" and isinstance(result[1], KilledWorker) and not alone:
                suspects.append((index, item))
            elif status == "error":
                yield index, _fault(result[1])
            elif client.status == "running":  # its worker died with the result, before that came here
                submit([(index, item)])
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
