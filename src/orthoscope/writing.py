"""Every file the package writes: beside its place, forced to the disk, and then renamed into it.

Whatever happens, a kill and a power cut included, there is the old file or the new one, and never a part of either.
Only cells of a sweep and its log are written elsewhere (`sweeps`), and not forced to the disk.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

from orthoscope import locking
from orthoscope.errors import unwritable

CREATOR = "Orthoscope"  # in the head of every figure
Content = bytes | bytearray | memoryview


def write(path: Path, content: str | Content) -> Path:
    """Write a whole file; the path.

    Links are followed, permissions of a file that was there are kept, and missing folders are made. What is no file, a
    pipe or a terminal, is written to as it is, and so is a file that is standard output now.

    Raises:
        ConfigError: if it cannot be written; then the file that was there is as it was.
        LostFolderError: if a run folder that this process holds is no longer in its place.
    """
    locking.check()
    data = content.encode() if isinstance(content, str) else content
    try:
        before = _stat(path)
        if (stream := _stream(path, before)) is not None:
            with os.fdopen(stream, "wb") as file:
                file.write(data)
        else:
            _replace(Path(os.path.realpath(path)), data, before)
    except OSError as error:
        raise unwritable(path, error) from error
    return path


def is_stream(path: Path) -> bool:
    """Whether a path is written to as it is: a pipe, a terminal, or standard output by its name."""
    before = _stat(path)
    if before is None or stat.S_ISDIR(before.st_mode):
        return False
    return not stat.S_ISREG(before.st_mode) or _shared(before) is not None


def is_foreign(path: Path) -> bool:
    """Whether a file is there and no figure that the package drew."""
    if not path.is_file():
        return path.exists()
    with path.open("rb") as file:
        return CREATOR.encode() not in file.read(4096)


def _stat(path: Path) -> os.stat_result | None:
    with suppress(FileNotFoundError):
        return path.stat()
    return None


def _shared(before: os.stat_result) -> int | None:
    """The standard stream that a file is already."""
    for stream in (1, 2):
        with suppress(OSError):
            if os.path.samestat(os.fstat(stream), before):
                return stream
    return None


def _stream(path: Path, before: os.stat_result | None) -> int | None:
    """A descriptor to write to what cannot be replaced; None for a file."""
    if before is None or stat.S_ISDIR(before.st_mode):
        return None
    if (shared := _shared(before)) is not None:
        for own in (sys.stdout, sys.stderr):
            own.flush()
        return os.dup(shared)
    if stat.S_ISREG(before.st_mode):
        return None
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)  # a pipe that nobody reads is refused, not waited for
    os.set_blocking(descriptor, True)
    return descriptor


def _replace(path: Path, data: Content, before: os.stat_result | None) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if before and not os.access(path, os.W_OK):  # renaming alone would not mind
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    path.parent.mkdir(parents=True, exist_ok=True)
    aside, descriptor = locking.aside(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if before:
                _keep(descriptor, before)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
            os.replace(aside, path)  # while it is held
    except BaseException:
        with suppress(OSError):
            aside.unlink()
        raise
    sync(path.parent)


def _keep(descriptor: int, before: os.stat_result) -> None:
    """Owner and permissions of the file that was there, as far as one may."""
    with suppress(OSError):
        os.fchown(descriptor, before.st_uid, before.st_gid)
    with suppress(OSError):
        os.fchmod(descriptor, stat.S_IMODE(before.st_mode))


def sync(path: Path) -> None:
    """Force a file, or the names in a folder, to the disk, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
