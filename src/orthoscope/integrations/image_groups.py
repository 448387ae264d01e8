"""Which group every image of a folder belongs to, and under which condition it was made: by subfolders, or by a table.

Groups (prompts, classes, sets of seeds) are what diversity is measured within; conditions (schedules, models) are
compared, each with the same groups.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from orthoscope.errors import ConfigError, in_one_line
from orthoscope.reading import read_text

ALL = "all"  # the one group, or condition, where there are no others
SUBFOLDER = "subfolder"
_COLUMNS = ("file", "group", "condition")
_NAMED = 3  # files of a mistake that are named


class Placed(NamedTuple):
    """An image file with its group and condition."""

    file: Path
    group: str = ALL
    condition: str = ALL


def placed(folder: Path, files: Sequence[Path], group_by: str | None) -> list[Placed]:
    """Every image of a folder with its group, in order of conditions, groups and names.

    Args:
        folder: Where they are.
        files: All that there are.
        group_by: `subfolder`, for GROUP/image or CONDITION/GROUP/image; a CSV file with columns file, group and perhaps
            condition, files relative to the folder; None for one group. Images that a table does not name are left out.

    Raises:
        ConfigError: if images are at different depths, or the table does not fit.
    """
    if group_by is None:
        return [Placed(file) for file in files]
    if group_by != SUBFOLDER:
        return sorted(_by_table(folder, files, Path(group_by)), key=lambda one: (one.condition, one.group, one.file))
    places = {file: file.relative_to(folder).parts[:-1] for file in files}
    depths = {len(parts): file for file, parts in places.items()}
    if not depths.keys() <= {1} and not depths.keys() <= {2}:
        found = "; ".join(f"{depths[depth].relative_to(folder)}" for depth in sorted(depths))
        raise ConfigError(
            "`group_by` subfolder expects GROUP/image everywhere, or CONDITION/GROUP/image everywhere, got such as "
            f"{found}; move them, or name groups in a CSV file",
            field="group_by",
        )
    return [Placed(file, *map(_readable, reversed(parts))) for file, parts in sorted(places.items())]


def _readable(name: str) -> str:
    """A name of the system as text, whatever bytes it has."""
    return os.fsencode(name).decode(errors="replace")


def _by_table(folder: Path, files: Sequence[Path], table: Path) -> list[Placed]:
    rows = _rows(table)
    known, found = {file.relative_to(folder).as_posix(): file for file in files}, {}
    missing = []
    for line, row in rows:
        name, group, condition = (str(row.get(column) or "").strip() for column in _COLUMNS)
        path = Path(os.path.normpath(name)).as_posix() if name else ""
        if not name or not group or (not condition and "condition" in row):
            raise ConfigError(f"{table}, line {line}: expected a file and its group, got {name!r}, {group!r}")
        if path not in known:
            missing.append(name)
        elif path in found:
            raise ConfigError(f"{table}, line {line}: {name} is there a second time; name every file once")
        else:
            found[path] = Placed(known[path], group, condition or ALL)
    if missing:
        named = ", ".join(missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
        raise ConfigError(f"{table} names {len(missing)} files that are no images in {folder}: {named}")
    if not found:
        raise ConfigError(f"{table} names no images; expected lines of file,group")
    return list(found.values())


def _rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows of a table, each with its line."""
    if not table.exists():
        raise ConfigError(f"`group_by` is subfolder or a CSV file; there is no file {table}", field="group_by")
    lines = read_text(table, "a CSV file").splitlines(keepends=True)
    reader = csv.DictReader(lines, skipinitialspace=True, strict=True)
    try:
        if missing := [name for name in _COLUMNS[:2] if name not in (reader.fieldnames or ())]:
            raise ConfigError(
                f"{table} has no column {' and no column '.join(missing)}; its first line must be file,group or "
                "file,group,condition"
            )
        return [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise ConfigError(f"cannot read {table}: {in_one_line(error)}") from error
