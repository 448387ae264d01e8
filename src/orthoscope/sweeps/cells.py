"""Cells: finished pieces of work on disk, one file each, whole or not there.

A file's name is a hash of everything that determines its content, so whatever is there is right, and a run that asks
for more finds what an earlier one made. It is written beside its place, forced to the disk and renamed; a checksum
covers all of it, and what is damaged counts as missing. Files are safetensors: named arrays and a JSON object, nothing
is unpickled. The folder is held by one process (`locking`); workers compute, that process writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

import orthoscope
from orthoscope import locking, writing
from orthoscope.errors import ConfigError, StoppedError
from orthoscope.progress import Progress
from orthoscope.reading import read_tensors
from orthoscope.serialize import dumps
from orthoscope.sweeps.execute import Executor, versions

T = TypeVar("T")
_ABOUT, _DIGEST = "orthoscope", "digest"


class Finished(NamedTuple):
    """A finished piece of work.

    Attributes:
        arrays: Its arrays, by name.
        about: What else there is to say of it, as JSON can hold it.
        beside: What comes with it and is not kept.
    """

    arrays: Mapping[str, NDArray[Any]]
    about: Mapping[str, Any]
    beside: Any = None


@dataclass(frozen=True, slots=True)
class Cells:
    """A folder of finished work, by the hash of what determines each piece.

    Attributes:
        folder: Where the files are.
    """

    folder: Path

    def path(self, key: str) -> Path:
        """Where a piece is, or would be."""
        return self.folder / f"{key}.safetensors"

    def find(self, key: str) -> Finished | None:
        """A piece, complete and undamaged; None if there is none such."""
        try:
            about, metadata, arrays = read_tensors(self.path(key), _ABOUT)
            text = metadata[_ABOUT]
            # Files of earlier releases have a digest of their arrays alone, within what is said of them.
            is_old = _DIGEST not in metadata
            is_whole = _digest(arrays, "" if is_old else text) == (about if is_old else metadata)[_DIGEST]
        except (ConfigError, KeyError):
            return None
        return Finished(arrays, about) if is_whole else None

    def __contains__(self, key: str) -> bool:
        return self.find(key) is not None

    def read(self, key: str, names: Collection[str] | None = None) -> Finished:
        """A piece that was found before, or of its arrays only those named; its checksum is not computed again.

        Raises:
            StoppedError: if it cannot be read.
        """
        try:
            about, _, arrays = read_tensors(self.path(key), _ABOUT, names=names)
        except ConfigError as error:
            raise StoppedError(f"{error}; the same command makes it again") from error
        return Finished(arrays, about)

    def write(self, key: str, finished: Finished) -> None:
        """Keep a piece.

        Raises:
            ConfigError: if the folder cannot be written.
            LostFolderError: if it is no longer in its place.
        """
        tensors = {name: np.ascontiguousarray(values) for name, values in finished.arrays.items()}
        text = dumps(finished.about, indent=None)
        writing.write(self.path(key), save(tensors, metadata={_ABOUT: text, _DIGEST: _digest(tensors, text)}))
        locking.watch(self.folder)


def complete(
    cells: Cells | None,
    missing: Mapping[str, T],
    work: Callable[[T], Finished],
    executor: Executor,
    *,
    skip: Callable[[T], bool] = lambda item: False,
    progress: Progress | None = None,
) -> Generator[tuple[T, Finished | Exception], None, None]:
    """Do the work that is missing, and keep each piece as it comes; every item with what came of it, or what it raised.

    What is begun when the iteration is left is lost, and what was finished stays.

    Args:
        cells: Where finished pieces are kept; None to keep none.
        missing: Items by key.
        work: What is done with each; to be sent to workers if the executor has any.
        executor: Where.
        skip: Asked before an item is begun: whether it is no longer wanted.
        progress: Told how many are kept, and how many there will be as far as known, first of all with none kept.

    Raises:
        ConfigError: if the workers cannot be had, or the folder cannot be written.
        StoppedError: if the cluster is lost, or the folder is.
    """
    tell = progress or (lambda done, total: None)
    begun: list[tuple[str, T]] = []
    done, total = 0, len(missing)

    def wanted() -> Iterator[T]:
        nonlocal total
        for key, item in missing.items():
            if skip(item):
                total -= 1
            else:
                begun.append((key, item))
                yield item

    tell(done, total)
    with closing(executor.run(work, wanted())) as outcomes:
        for number, outcome in outcomes:
            key, item = begun[number]
            if isinstance(outcome, Exception):
                total -= 1
            else:
                done += 1
                if cells is not None:
                    cells.write(key, outcome)
            yield item, outcome
            tell(done, total)


@cache
def fingerprint() -> str:
    """Of what determines a result beside its settings: the source of the package, and the versions of others."""
    sources = sorted(Path(orthoscope.__file__).parent.rglob("*.py"))
    found = hashlib.blake2b(dumps(versions()).encode(), digest_size=8)
    for path in sources:
        found.update(path.read_bytes())
    return found.hexdigest()


def _digest(arrays: Mapping[str, NDArray[Any]], text: str = "") -> str:
    """A checksum of names, types, shapes and values, and of a text."""
    found = hashlib.blake2b(digest_size=16)
    for name, values in sorted(arrays.items()):
        found.update(f"{name} {values.dtype} {values.shape}".encode())
        found.update(np.ascontiguousarray(values).tobytes())
    found.update(text.encode())
    return found.hexdigest()
