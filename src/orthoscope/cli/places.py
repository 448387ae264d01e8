"""Where a command writes: files that cannot be written are refused before anything is computed for them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from orthoscope import locking
from orthoscope.errors import ConfigError, unwritable
from orthoscope.writing import is_foreign, is_stream


def writable(path: Path, *, figures: bool = False) -> None:
    """Refuse a file that cannot be written, before anything is computed for it.

    Args:
        path: The file.
        figures: Whether figures are written beside it, whose names nobody gave: others' files must not be there.

    Raises:
        ConfigError: if a file cannot be made or written, or a figure is not the package's own.
    """
    beside = {path.with_suffix(end) for end in (".svg", ".png")} - {path} if figures else set()
    for file in (path, *sorted(beside)):
        try:
            needed = [file]
            if not is_stream(file):
                home = Path(os.path.realpath(file)).parent
                home.mkdir(parents=True, exist_ok=True)
                if file.is_dir():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                needed = [home, file] if file.exists() else [home]  # it is written beside its place, and renamed
            if not all(os.access(place, os.W_OK) for place in needed):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            if not is_stream(file):  # where nothing can be made in spite of the rights
                made, descriptor = locking.aside(file)
                os.close(descriptor)
                made.unlink()
            if file in beside and is_foreign(file):
                raise ConfigError(f"{file} is there already and no figure of orthoscope; choose another --out")
        except OSError as error:
            raise unwritable(file, error) from error
