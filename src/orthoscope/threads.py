"""How many threads work gets: small work gains nothing from more than one, and equal numbers give equal bits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

SMALL = 2e8  # numbers read per evaluation, up to which threads cost more than they gain where others want the cores


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch and linear algebra on one thread inside the context."""
    import torch  # slow to import

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _libraries().limit(limits=1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


def threads_for(numbers: float) -> AbstractContextManager[None]:
    """One thread for work that reads so few numbers at a time that more would not pay; else all that there are."""
    return one_thread() if numbers <= SMALL else nullcontext()


@cache
def _libraries() -> ThreadpoolController:
    """The libraries of linear algebra in this process; found once, which takes milliseconds."""
    return ThreadpoolController()
