"""Everything Orthoscope raises on purpose, and nothing else.

A message says what was expected, what came and what to do. Users may catch `OrthoscopeError`;
Python programmers may catch the built-in class that each error also is.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from pathlib import Path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a full disk, a full quota, a limit on the size of files
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_CURES = dict.fromkeys(NO_ROOM, "make room, or ") | dict.fromkeys(_NO_LOCKS, "it has no locks (flock): ")


class OrthoscopeError(Exception):
    """Any error that Orthoscope raises on purpose."""


class ConfigError(OrthoscopeError, ValueError):
    """A setting that cannot be used: unknown, out of range or contradictory."""


class ShapeError(OrthoscopeError, ValueError):
    """Arrays whose shapes do not fit each other."""


class StoppedError(OrthoscopeError, RuntimeError):
    """Work that could not go on; what was finished stays."""


class DivergenceError(StoppedError):
    """A run whose state stopped being finite.

    Attributes:
        step: Index of the step that failed.
        time: Variance time at which it started.
        last_good: The last finite state, in unscaled coordinates.
    """

    def __init__(self, message: str, *, step: int, time: float, last_good: object) -> None:
        """Keep where it happened beside the message."""
        super().__init__(message)
        self.step = step
        self.time = time
        self.last_good = last_good


def unknown(what: str, name: str, known: Iterable[str]) -> ConfigError:
    """The error for a name that is not among the known ones, with the nearest of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
    return ConfigError(f"unknown {what} {name!r}; {hint}")


def unwritable(path: Path, error: OSError) -> ConfigError:
    """The error for a file or folder that could not be written: which, why, and what to do."""
    cure = _CURES.get(error.errno or 0, "")
    return ConfigError(f"cannot write {path}: {error.strerror or error}; {cure}choose another --out")
