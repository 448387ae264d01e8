"""Everything Orthoscope raises on purpose, and nothing else.

A message says what was expected, what came and what to do. Users may catch `OrthoscopeError`;
Python programmers may catch the built-in class that each error also is.
"""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a full disk, a full quota, a limit on the size of files
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_MOST_SHOWN = 380  # characters of a message
_CURES = dict.fromkeys(NO_ROOM, "make room, or ") | dict.fromkeys(_NO_LOCKS, "it has no locks (flock): ")


def clean(text: object) -> str:
    """A text that can be shown anywhere: blanks for line breaks, and what controls a terminal spelled out."""
    return "".join(one if one.isprintable() else _spelled(one) for one in str(text))


def _spelled(character: str) -> str:
    return " " if character.isspace() else character.encode("unicode_escape").decode()


def one_line(text: object, most: int = _MOST_SHOWN) -> str:
    """A text on one line, cleaned; of a long one beginning and end, where a message says what to do."""
    line = clean(text)
    return line if len(line) <= most else f"{line[: most * 2 // 3]} ... {line[-most // 3 :]}"


class OrthoscopeError(Exception):
    """Any error that Orthoscope raises on purpose; as text it is one line, whatever names came into it."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class ConfigError(OrthoscopeError, ValueError):
    """A setting that cannot be used: unknown, out of range or contradictory.

    Messages name arguments in backticks, as Python has them: `t_max`. A command line or a file shows its own names.

    Attributes:
        fields: The arguments that it is about, the one to change first; none where there is none to name.
    """

    def __init__(self, message: str, *, field: str | Sequence[str] = ()) -> None:
        """Keep the fields beside the message."""
        super().__init__(message)
        self.fields = (field,) if isinstance(field, str) else tuple(field)


class CallError(ConfigError, TypeError):
    """A function that was called with arguments that it does not have, or without one that it needs."""


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


def named(message: str, show: Callable[[str], str]) -> str:
    """A message with every argument in backticks written as `show` has it."""
    return re.sub(r"`([a-z]\w*)`", lambda found: show(found[1]), message)


def unknown(what: str, name: Any, known: Iterable[str], *, field: str | Sequence[str] = ()) -> ConfigError:
    """The error for a name that is not among the known ones, with the nearest of them."""
    return ConfigError(f"unknown {what} {name!r:.80}; {nearest(name, known)}", field=field)


def nearest(name: Any, known: Iterable[str]) -> str:
    """What somebody may have meant by a name that is none: the nearest of the known ones, else all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5) if isinstance(name, str) else []
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"


def in_one_line(error: BaseException) -> str:
    """What somebody else's code raised: its type, and the beginning of its text without line breaks."""
    return f"{type(error).__name__}: {clean(' '.join(str(error).split())):.200}"


def unwritable(path: Path, error: OSError) -> ConfigError:
    """The error for a file or folder that could not be written: which, why, and what to do."""
    cure = _CURES.get(error.errno or 0, "")
    return ConfigError(f"cannot write {path}: {error.strerror or error}; {cure}choose another `out`")
