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

    def expect(self, images: int) -> None:
        """Expect more images, or fewer."""
        self.expected += images

    def advance(self, images: int) -> None:
        """Count images that are done."""
        self.done += images
        if self.progress is not None:
            self.progress(self.done, self.expected + self.foreseen)
