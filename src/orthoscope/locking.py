"""A run folder is written by one process at a time, and by one kind of job.

The file `lock` in the folder holds an advisory lock of the system's (flock), which ends with the process that took it,
however that ends; a lock file that is left over blocks nobody. Its one line says which job the folder belongs to, and
who is, or was, writing. While a run holds its folder, `check` tells whether it is still the one that was locked.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import stat
import threading
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from orthoscope.errors import ConfigError, StoppedError, unwritable

LOCK = "lock"
_LINE = re.compile(r"(?:(?P<job>[^:\n]+): )?(?P<owner>process \d+ on [^\n]*)\n?")
_UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.unfinished")  # a file that is still being written
_HELD: dict[Path, Held] = {}


class LostFolderError(StoppedError):
    """The folder of a run is no longer the one that the run began to fill."""


@dataclass(slots=True, kw_only=True, eq=False)
class Held:
    """A run folder that this process holds.

    Attributes:
        folder: The folder, as it was named.
        thread: Who took it: the same thread may take it again.
        open: Files and folders that must stay in place, kept open so that nothing new can look like them.
    """

    folder: Path
    thread: int = field(default_factory=threading.get_ident)
    open: dict[Path, int] = field(default_factory=dict)

    def watch(self, path: Path) -> None:
        """Check from now on that this stays what it is, too.

        Raises:
            LostFolderError: if it is not there.
        """
        if path not in self.open:
            try:
                self.open[path] = os.open(path, os.O_RDONLY)
            except OSError as error:
                raise self._lost(path) from error

    def check(self) -> None:
        """Make sure that everything watched is in its place.

        Raises:
            LostFolderError: if something is not.
        """
        for path, descriptor in tuple(self.open.items()):
            if not _is_at(path, descriptor):
                raise self._lost(path)

    def _lost(self, path: Path) -> LostFolderError:
        what = f"{self.folder} (or the lock in it)" if path.name == LOCK else str(path)
        return LostFolderError(
            f"{what} was removed, moved or replaced during the run, and what the run had stored there is lost unless "
            "you put it back; start again to compute what is missing"
        )


def aside(path: Path) -> tuple[Path, int]:
    """A new file beside another, for its content until that is whole, and its descriptor.

    Where the file system knows locks it is locked until that is closed: `locked` removes what a kill leaves of such
    files, and none that is being written.

    Raises:
        OSError: if it cannot be made.
    """
    while True:
        made = path.with_name(f".{uuid.uuid4().hex}.unfinished")
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with suppress(OSError):
            _flock(descriptor)
        if _is_at(made, descriptor):
            return made, descriptor
        os.close(descriptor)  # swept away as a leftover before it was locked


def watch(path: Path) -> None:
    """Let `check` look after something in a run folder that this process holds, too.

    Raises:
        LostFolderError: if it is not there.
    """
    for home, held in tuple(_HELD.items()):
        if Path(os.path.realpath(path)).is_relative_to(home):
            held.watch(path)


def check() -> None:
    """Make sure that every folder this process holds is still in its place.

    Raises:
        LostFolderError: if one is not.
    """
    for held in tuple(_HELD.values()):
        held.check()


@contextmanager
def locked(folder: Path, job: str, files: Collection[str] = ()) -> Iterator[Held]:
    """Be the only process that writes to a run folder, which is made if need be.

    What is held already by the same thread is held once. A folder in which nothing was written is left as it was.

    Args:
        folder: The folder.
        job: The command it is for; a folder belongs to one for good.
        files: Names that the job writes: none may be there in a folder that belongs to nobody yet.

    Raises:
        ConfigError: if another process is writing there, the folder belongs to another job or holds such files, or it
            cannot be made, written or locked.
        LostFolderError: at the end, if it is no longer in its place.
    """
    home, made, claimed = Path(os.path.realpath(folder)), False, False
    if (held := _HELD.get(home)) and held.thread == threading.get_ident():
        yield held
        return
    try:
        made = not home.exists()
        home.mkdir(parents=True, exist_ok=True)
        descriptor, is_new = _take(home)
    except OSError as error:
        with suppress(OSError):
            if made:
                home.rmdir()
        raise unwritable(folder, error) from error
    held = Held(folder=folder, open={Path(os.path.abspath(folder)) / LOCK: descriptor})
    try:
        _claim(folder, job, files if is_new else (), descriptor)
        claimed = True
        _sweep(home)
        _HELD[home] = held
        yield held
        held.check()
    finally:
        _HELD.pop(home, None)
        with suppress(OSError):  # nothing was written: the folder stays as it was
            unused = os.listdir(home) == [LOCK] if claimed else is_new
            if unused and _is_at(home / LOCK, descriptor):
                (home / LOCK).unlink()
            if made:
                home.rmdir()  # refused by the system unless it is empty
        for one in held.open.values():
            os.close(one)


def _take(home: Path) -> tuple[int, bool]:
    """A descriptor of the lock file, locked, and whether the file is new.

    Raises:
        ConfigError: if another process has it.
        OSError: if it cannot be opened, or the file system knows no locks.
    """
    path = home / LOCK
    while True:
        if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
            raise _no_lock(path)
        is_new = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            _flock(descriptor)
            if _is_at(path, descriptor):
                return descriptor, is_new
            os.close(descriptor)  # the one before took it away as it left
        except OSError as error:
            line = _LINE.fullmatch(_content(descriptor))
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                owner = line["owner"] if line else "another process"
                raise ConfigError(f"{home} is in use by {owner}; wait for it, or choose another `out`") from error
            if is_new:
                path.unlink()
            raise


def _flock(descriptor: int) -> None:
    """Take the system's lock of an open file, or raise."""
    import fcntl  # only POSIX systems have it

    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _no_lock(path: Path) -> ConfigError:
    return ConfigError(f"{path} is there already and is no lock of orthoscope; choose another `out`")


def _claim(folder: Path, job: str, files: Collection[str], descriptor: int) -> None:
    """Write down who has the folder, and for what, unless it is somebody else's."""
    text = _content(descriptor)
    line = _LINE.fullmatch(text)
    if text and line is None:
        raise _no_lock(folder / LOCK)
    if line and line["job"] and line["job"] != job:
        raise ConfigError(f"{folder} belongs to `orthoscope {line['job']}`, not to {job}; choose another `out`")
    if foreign := sorted(name for name in files if os.path.lexists(folder / name)):
        raise ConfigError(
            f"{folder} holds {', '.join(foreign)} already, not known to be of `orthoscope {job}`: choose another "
            f"`out`; or, if it is an earlier run without its lock file: touch {shlex.quote(str(folder / LOCK))}"
        )
    about = f"{job}: process {os.getpid()} on {platform.node()}\n".encode()
    try:  # over the line before: on a full disk, too, a folder keeps its owner
        os.pwrite(descriptor, about, 0)
        os.ftruncate(descriptor, len(about))
    except OSError as error:
        raise unwritable(folder, error) from error


def _sweep(home: Path) -> None:
    """Remove files that killed writes have left: those that nobody holds; runs below have locks of their own."""
    for place, folders, names in os.walk(home):
        folders[:] = [name for name in folders if not os.path.exists(os.path.join(place, name, LOCK))]
        for name in names:
            if _UNFINISHED.fullmatch(name):
                with suppress(OSError):
                    leftover = os.open(os.path.join(place, name), os.O_WRONLY)
                    try:
                        _flock(leftover)
                        os.unlink(os.path.join(place, name))
                    finally:
                        os.close(leftover)


def _content(descriptor: int) -> str:
    return os.pread(descriptor, 4096, 0).decode(errors="replace")


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except OSError:
        return False
