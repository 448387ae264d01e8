"""Images done and images expected."""

from __future__ import annotations

from dataclasses import dataclass

from orthoscope.progress import Progress


@dataclass(slots=True)
class Tally:
    """Images done and images expected, told to whoever shows progress.

    Attributes:
        progress: Who shows it.
        done: Images made.
        expected: Images of what is being made.
        foreseen: Images of what comes after that, roughly.
    """

    progress: Progress | None = None
    done: int = 0
    expected: int = 0
    foreseen: int = 0

    def stage(self, images: int) -> Progress:
        """What counts the cells of what is made next, each of so many images."""
        done, expected = self.done, self.expected

        def advance(cells: int, of: int) -> None:
            told, self.done, self.expected = self.done, done + images * cells, expected + images * of
            if self.progress is not None and self.done > told:
                self.progress(self.done, self.expected + self.foreseen)

        return advance
