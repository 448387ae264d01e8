"""What every verb gives back: labelled numbers, a table, a picture, JSON, and a folder that holds them all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from orthoscope import datasets
from orthoscope.errors import ConfigError, unknown
from orthoscope.locking import locked
from orthoscope.report.tables import Table, as_text
from orthoscope.serialize import dumps


class Findings(ABC):
    """What something came to.

    Attributes:
        data: What was measured, along named dimensions.
    """

    files: Collection[str] = ()  # that `write` makes
    width = 80  # of the lines beside tables, where they are shown as text

    def __init__(self, data: xr.Dataset) -> None:
        """Keep the data."""
        self.data = data

    @property
    @abstractmethod
    def job(self) -> str:
        """What the lock of a folder says it is for."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What stands over the table."""

    @property
    @abstractmethod
    def numbers(self) -> Mapping[str, Any]:
        """What was found in plain numbers, texts and lists: the JSON object of the command."""

    @abstractmethod
    def tables(self) -> list[Table]:
        """What people read of it."""

    @abstractmethod
    def plot(self) -> Figure:
        """The picture."""

    @abstractmethod
    def write(self, out: Path, *, command: str | None = None) -> None:
        """Write the folder, which is held already.

        Raises:
            ConfigError: if it cannot be written.
        """

    def __getitem__(self, name: str) -> Any:
        """One quantity: an `Estimate`, a number or a text; an array where there are several.

        Raises:
            ConfigError: if there is none of this name, naming the nearest.
        """
        found, told = self.data.get(name), self.numbers.get(name)
        if found is not None and found.ndim == 0:
            return datasets.stored(self.data, name)[0] if f"{name}_stderr" in self.data else found.item()
        if found is not None and not isinstance(told, float | int | str):
            return found
        if name in self.numbers:
            return told
        raise unknown("quantity", name, sorted({*map(str, self.data.data_vars), *self.numbers}))

    def __iter__(self) -> Iterator[str]:
        """Names of what was measured, and of other numbers."""
        return iter([str(name) for name in self.data.data_vars if not str(name).endswith(tuple(datasets.SUFFIXES))])

    def __repr__(self) -> str:
        """The tables as text."""
        return as_text(self.tables(), self.title, width=self.width)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>"

    def to_json(self) -> str:
        """The JSON object of the command."""
        return dumps(self.numbers)

    def save(self, folder: Path | str, *, command: str | None = None) -> Path:
        """Write a run folder: results.nc, spec.json, figures and report.html.

        Args:
            folder: Where; results of the same kind are replaced.
            command: The command that the page shows; by default one that makes the same.

        Raises:
            ConfigError: if the folder is in use, belongs to another kind of job, or cannot be written.
        """
        out = as_path(folder)
        with locked(out, self.job, self.files):
            self.write(out, command=command)
        return out


def as_path(folder: Any) -> Path:
    """The folder that is meant.

    Raises:
        ConfigError: if it is none.
    """
    if not isinstance(folder, str | Path) or not str(folder) or "\0" in str(folder):
        raise ConfigError(f"expected a folder, as text or path, got {folder!r:.40}", field="folder")
    try:
        Path(folder).exists()
    except OSError as error:
        raise ConfigError(f"{str(folder)!r:.80} cannot be a folder: {error.strerror}", field="folder") from error
    return Path(folder)
