"""Images of a host in batches that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from orthoscope.errors import StoppedError
from orthoscope.integrations.host import is_out_of_memory
from orthoscope.progress import Remark

T = TypeVar("T")


@dataclass(slots=True, kw_only=True, eq=False)
class Batches:
    """Sizes of batches, found once for all that is asked of a host.

    Attributes:
        remark: Called with a line where the batch had to shrink.
        size: Images at once; None until memory did not suffice.
    """

    remark: Remark
    size: int | None = None

    def of(self, seeds: Sequence[int], make: Callable[[Sequence[int]], T]) -> list[T]:
        """What is made of some seeds, in halves where memory does not suffice for all at once.

        Raises:
            StoppedError: if not even one image fits into memory.
        """
        size = min(self.size or len(seeds), len(seeds))
        try:
            return [make(seeds[at : at + size]) for at in range(0, len(seeds), size)]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if size == 1:
                raise StoppedError("out of memory with one image at a time; choose `device` cpu") from error
        self.size = size // 2
        self.remark(f"out of memory: going on with {self.size} images at once")
        return self.of(seeds, make)
