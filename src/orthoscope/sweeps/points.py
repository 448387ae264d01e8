"""Points of a study: parts of its work that do not depend on each other, done here or on workers, kept as they finish.

A study asks one object for what it needs, whoever runs it and wherever, and gets the same numbers to the last digit: a
point is worked on by one thread, and what is found of an earlier run is what this one would make.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import xarray as xr

from orthoscope.progress import Progress
from orthoscope.serialize import content_hash
from orthoscope.sweeps.cells import Cells, Finished, complete, fingerprint
from orthoscope.sweeps.execute import Executor
from orthoscope.sweeps.rows import pack, unpack
from orthoscope.threads import one_thread

FOLDER = "cells"  # of finished points, in a run folder
PRELOADED = ("orthoscope.sweeps.points", "orthoscope.simulation.simulate")  # by workers, once for all


@dataclass(slots=True, kw_only=True, eq=False)
class Points:
    """Where the points of one study are worked on, what is kept of them, and who is told.

    Attributes:
        executor: Where.
        store: Finished points; None to keep none.
        anew: Work on every point, those in the store included.
        progress: Called with points done and points in all, as far as known.
        done: Points that are done.
    """

    executor: Executor = field(default_factory=Executor)
    store: Cells | None = None
    anew: bool = False
    progress: Progress | None = None
    done: int = field(default=0, init=False)

    def kept(self, out: Path, *, anew: bool) -> Points:
        """The same with every point kept in a run folder, in `FOLDER`, and those there used unless all is made anew."""
        return replace(self, store=Cells(out / FOLDER), anew=anew)

    def each(
        self,
        work: Callable[..., Any],
        items: Iterable[tuple[Any, ...]],
        *,
        ahead: int = 0,
        beside: str | None = None,
    ) -> list[Any]:
        """What the work finds at each item, in the order of items; whatever it raises is raised.

        Args:
            work: A method of the study, whose fields and arguments determine what it finds: a row (`sweeps.rows`).
            items: Its arguments, once for every point.
            ahead: Points that the study will ask for later, for those who are told.
            beside: A part of the run folder for files of the work's own, on which what it finds does not depend: its
                path is the last argument, or None where no run folder is kept.

        Raises:
            ConfigError: if the workers cannot be had, or the folder cannot be written.
            StoppedError: if the cluster is lost, or the folder is.
        """
        keyed = [(_key(work, item), item) for item in items]
        found = {key: one for key, _ in keyed if (one := self._find(key)) is not None}
        missing = {key: (key, item) for key, item in keyed if key not in found}
        self.done += len(found)

        def tell(done: int, total: int) -> None:
            if self.progress is not None:
                self.progress(self.done + done, self.done + total + ahead)

        files = None if beside is None or self.store is None else self.store.folder.parent / beside
        doing = partial(_work, work if beside is None else _Beside(work, files))
        with closing(complete(self.store, missing, doing, self.executor, progress=tell)) as outcomes:
            for (key, _), outcome in outcomes:
                if isinstance(outcome, Exception):
                    raise outcome
                found[key] = outcome
        self.done += len(missing)
        return [unpack(found[key]) for key, _ in keyed]

    def _find(self, key: str) -> Finished | None:
        return None if self.store is None or self.anew else self.store.find(key)


HERE = Points()  # in this process, keeping nothing, telling nobody


@runtime_checkable
class Study(Protocol):
    """An experiment whose fields are its whole specification."""

    @property
    def name(self) -> str:
        """Name of its section, group and figures."""
        ...

    def run(self, points: Points = HERE) -> xr.Dataset:
        """Do it, and label the results."""
        ...


@runtime_checkable
class Summarizes(Protocol):
    """A study that says what it found in a few numbers."""

    def summarize(self, result: xr.Dataset, /) -> Mapping[str, Any]:
        """The numbers, from the dataset of its run."""
        ...


def _key(work: Any, item: tuple[Any, ...]) -> str:
    """A hash of all that determines what a method of a study finds."""
    about = {"study": work.__self__, "work": work.__name__, "item": item, "code": fingerprint()}
    return content_hash(about)


@dataclass(frozen=True, slots=True)
class _Beside:
    """Work that keeps files."""

    work: Callable[..., Any]
    folder: Path | None

    def __call__(self, *item: Any) -> Any:
        return self.work(*item, self.folder)


def _work(work: Callable[..., Any], keyed: tuple[str, tuple[Any, ...]]) -> Finished:
    """One point on one thread."""
    with one_thread():
        return pack(work(*keyed[1]))
