"""All mistakes of a study file at once, each with its line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from orthoscope.errors import ConfigError, named, one_line
from orthoscope.sweeps.positions import Path


class StudyFileError(ConfigError):
    """A study file that cannot be used.

    Attributes:
        mistakes: One line each, `study.toml:7: what is wrong`.
    """

    def __init__(self, mistakes: tuple[str, ...]) -> None:
        """Keep the lines one by one."""
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes

    def __str__(self) -> str:
        return "\n".join(self.mistakes)


class Mistakes:
    """Collects what is wrong with a file and goes on."""

    def __init__(self, file: str, lines: dict[Path, int]) -> None:
        self._file, self._lines = file, lines
        self._found: dict[tuple[int, str], None] = {}  # in order, each once

    def add(self, where: Path, message: object) -> None:
        """Something is wrong at this key or element, or at the nearest thing around it that the file has."""
        line = next((self._lines[where[:k]] for k in range(len(where), 0, -1) if where[:k] in self._lines), 1)
        self._found[line, one_line(message)] = None

    @contextmanager
    def at(self, where: Path, prefix: str = "") -> Iterator[None]:
        """Note a ConfigError raised inside, and go on after the block."""
        try:
            yield
        except ConfigError as error:
            self.add(where, f"{prefix}{named(str(error), str)}")

    def raise_any(self) -> None:
        """Raise what was found, in the order of lines.

        Raises:
            StudyFileError: if anything was.
        """
        if self._found:
            raise StudyFileError(tuple(f"{self._file}:{line}: {text}" for line, text in sorted(self._found)))
