"""Every file that comes from elsewhere: one function for each format, with limits on size, depth and digits.

Only files are read: a pipe or a device may never end. Nothing is unpickled, nothing is decompressed before its head
says that it is of use, and whatever a damaged file makes its parser raise is told in one line. Images have a reader of
their own (`integrations.images`), and so have results in NetCDF (`datasets`); both open files here.
"""

from __future__ import annotations

import json
import math
import re
import stat
import tomllib
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from orthoscope.errors import ConfigError, OrthoscopeError, in_one_line

MOST_NUMBERS = 50_000_000  # of an array that is held in memory
_MOST_BYTES = 64 << 20  # of a text: a matrix of a thousand rows fits
_MOST_TOML = 1 << 20  # of a file that people write
_DEEPEST = 64  # lists and objects within each other
_DIGITS = 300  # of a whole number, so that it is a number for everything else, too
_CONFIGS = ("config.json", "model_index.json")
_NUMERIC = "biuf"  # kinds of numbers
_DOTTED = re.compile(rf"""(?<![\w-])(?:(?:"[^"\n]*"|'[^'\n]*'|[\w-]+)[ \t]*\.[ \t]*){{{_DEEPEST}}}""")
_KINDS = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISREG, "a file"))


@contextmanager
def opened(path: Path, expected: str = "a file") -> Iterator[BinaryIO]:
    """A file, open for reading; whatever goes wrong while it is, is told with its name.

    Args:
        path: The file.
        expected: What it should hold, for messages.

    Raises:
        ConfigError: if it is missing, no file, or cannot be read or understood.
    """
    try:
        check_file(path, expected)
        with path.open("rb") as stream:
            yield stream
    except OrthoscopeError:
        raise
    except FileNotFoundError as error:
        raise ConfigError(f"no such file: {path}; expected {expected}") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}; expected {expected}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text in UTF-8; expected {expected}") from error
    except Exception as error:  # whatever a damaged file makes a parser raise
        raise ConfigError(f"cannot read {path}: {in_one_line(error)}; expected {expected}") from error


def check_file(path: Path, expected: str = "a file") -> None:
    """Refuse what is there and no file.

    Raises:
        ConfigError: saying what it is.
        OSError: if nothing is there, or it cannot be told.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = next((name for is_such, name in _KINDS if is_such(mode)), "a device")
        raise ConfigError(f"{path} is {kind}; expected {expected}: write it to a file first")


def check_folder(folder: Path) -> None:
    """Refuse a folder in which something is no file, or a configuration cannot be read; libraries may read it then.

    Raises:
        ConfigError: naming the first.
    """
    for path in sorted(folder.rglob("*")):
        if not path.is_dir():
            with opened(path):
                if path.name.endswith(_CONFIGS):
                    read_json(path)


def read_text(path: Path, expected: str = "text", most: int = _MOST_BYTES) -> str:
    """A text in UTF-8, with or without a mark of it at the beginning.

    Raises:
        ConfigError: if it cannot be read, or is too large.
    """
    with opened(path, expected) as stream:
        content = stream.read(most + 1)
        if len(content) > most:
            raise ConfigError(f"{path} is larger than {most >> 20} MiB; expected {expected}")
        return content.decode("utf-8-sig").replace("\r\n", "\n")


def read_json(path: Path) -> Any:
    """The parsed content of a JSON file.

    Raises:
        ConfigError: if the file is missing, unreadable or not JSON, with the line of the mistake.
    """
    return parse_json(read_text(path, "JSON"), str(path))


def parse_json(text: str, where: str) -> Any:
    """What a JSON text holds.

    Args:
        text: The text.
        where: Where it is from, for messages.

    Raises:
        ConfigError: if it is not JSON, too deep, or has a whole number that is too long.
    """
    try:
        found = json.loads(text, parse_int=partial(_whole, where))
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{where} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        ) from error
    except RecursionError as error:
        raise _too_deep(where) from error
    _check_depth(found, where)
    return found


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """What a TOML text holds.

    Args:
        text: The text.
        where: Where it is from, for messages.

    Raises:
        ConfigError: if it is too deep, or has a whole number that is too long.
        TOMLDecodeError: if it is not TOML.
    """
    if _DOTTED.search(text):  # its parser would take hours
        raise _too_deep(where)
    try:
        found = tomllib.loads(text)
    except RecursionError as error:
        raise _too_deep(where) from error
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:  # of Python, from too many digits
        raise _too_long(where) from error
    _check_depth(found, where)
    return found


def read_toml(path: Path, expected: str) -> str:
    """The text of a TOML file."""
    return read_text(path, expected, _MOST_TOML)


def read_arrays(path: Path, *choices: Sequence[str], expected: str) -> list[NDArray[Any]]:
    """Arrays of numbers in an .npz file, each by the first of its names that is there, in lower case or not.

    Raises:
        ConfigError: if the file cannot be read, lacks one, or holds something else under its name.
    """
    with opened(path, expected) as stream, ZipFile(stream) as archive:
        members = {one.filename.removesuffix(".npy").lower(): one for one in archive.infolist()}
        found = [next((members[name] for name in names if name in members), None) for names in choices]
        chosen = [one for one in found if one is not None]
        if len(chosen) < len(choices):
            raise ConfigError(f"{path}: expected {expected}, got {', '.join(list(members)[:6]) or 'none'}")
        return [_array(archive, one, f"{path}: {one.filename}", expected) for one in chosen]


def _array(archive: ZipFile, member: ZipInfo, where: str, expected: str) -> NDArray[Any]:
    if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise ConfigError(f"{where} is compressed in an unusual way; expected {expected}: save it with numpy.savez")
    with archive.open(member) as stream:
        shape, _, dtype = _head(stream)
    if dtype.kind not in _NUMERIC:
        raise ConfigError(f"{where}: expected {expected}, got {dtype} {shape}")
    if (size := math.prod(shape)) > MOST_NUMBERS:
        raise ConfigError(f"{where} holds {size:.3g} numbers; take a subset of at most {MOST_NUMBERS:.0e}")
    with archive.open(member) as stream:
        return np.asarray(npy.read_array(stream, allow_pickle=False))


def _head(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of an array in NumPy's format."""
    version = npy.read_magic(stream)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"format version {version} is none of arrays of numbers")
    shape, order, dtype = read(stream)
    if any(length < 0 for length in shape) or math.prod(shape) > 2**60:
        raise ValueError(f"an array of shape {shape}")
    return shape, order, dtype


def map_array(path: Path | str, expected: str) -> NDArray[Any]:
    """An array of numbers in an .npy file, which stays on the disk.

    Raises:
        ConfigError: if the file cannot be read, or holds something else.
    """
    with opened(Path(path), expected) as stream:
        shape, is_fortran, dtype = _head(stream)
        if dtype.kind not in _NUMERIC:
            raise ConfigError(f"expected {expected} in {path}, got {dtype}")
        if not math.prod(shape):
            return np.empty(shape, dtype)
        order = "F" if is_fortran else "C"
        return np.asarray(np.memmap(stream, dtype, mode="r", offset=stream.tell(), shape=shape, order=order))  # type: ignore[call-overload]


def read_table(path: Path, expected: str) -> NDArray[np.float64]:
    """The numbers of a .csv file, row by row, below a line of names if there is one.

    Raises:
        ConfigError: if the file cannot be read, or holds anything but numbers.
    """
    with opened(path, expected) as content, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a file without rows
        stream = TextIOWrapper(content, encoding="utf-8-sig")
        first = next((line for line in iter(partial(stream.readline, _MOST_BYTES), "") if line.strip()), "")
        cells = first.split(",")
        if _is_number(cells[0]):
            stream.seek(0)
        rows = MOST_NUMBERS // len(cells) + 1
        found = np.loadtxt(stream, delimiter=",", quotechar='"', comments=None, ndmin=2, max_rows=rows)
        if not found.size:
            raise ConfigError(f"{path} holds no rows; expected {expected}")
        return found


def read_tensors(
    path: Path, key: str, *, framework: str = "np", names: Collection[str] | None = None
) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """What is said of a safetensors file, under a key of its metadata as a JSON object, all metadata, and its tensors.

    Args:
        path: The file.
        key: Of the metadata.
        framework: `np` or `pt`: arrays of numpy or tensors of torch.
        names: Only these tensors; all if None.

    Raises:
        ConfigError: if the file cannot be read.
    """
    from safetensors import safe_open

    with opened(path, "safetensors") as _, safe_open(path, framework=framework) as file:
        metadata = dict(file.metadata() or {})
        about = parse_json(metadata.get(key, "{}"), str(path))
        if not isinstance(about, dict):
            raise ConfigError(f"{path}: expected a JSON object under {key} in its metadata")
        tensors = {name: file.get_tensor(name) for name in file.keys() if names is None or name in names}
        return about, metadata, tensors


def _is_number(text: str) -> bool:
    try:
        float(text.strip('" \t\n'))
    except ValueError:
        return False
    return True


def _whole(where: str, digits: str) -> int:
    if len(digits) > _DIGITS:
        raise _too_long(where)
    return int(digits)


def _check_depth(found: Any, where: str) -> None:
    """Refuse what is nested so deeply that what goes through it step by step would not come back."""
    level = [found]
    for _ in range(_DEEPEST):
        lists = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [part for parts in lists for part in parts]
    if level:
        raise _too_deep(where)


def _too_deep(where: str) -> ConfigError:
    return ConfigError(f"{where} is nested more than {_DEEPEST} levels deep, which nothing here is; write it anew")


def _too_long(where: str) -> ConfigError:
    return ConfigError(f"{where} holds a whole number of more than {_DIGITS} digits; write it with an exponent")
