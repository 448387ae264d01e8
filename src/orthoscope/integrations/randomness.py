"""Noise that belongs to an image: one generator each, whatever pipeline and scheduler make of generators."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def own_randomness(scheduler: Any, generators: list[torch.Generator]) -> Iterator[None]:
    """Give the scheduler's step the generators of the images, also where the pipeline forgets to."""
    step = scheduler.step
    signature = inspect.signature(step)
    if "generator" not in signature.parameters:
        yield
        return

    @functools.wraps(step)
    def stepped(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs)
        rows = len(given.arguments["sample"])  # twice the images where both halves are stepped
        given.arguments["generator"] = generators * (rows // len(generators))
        return step(*given.args, **given.kwargs)

    with stepping_by(scheduler, stepped):
        yield


@contextmanager
def stepping_by(scheduler: Any, step: Callable[..., Any]) -> Iterator[None]:
    """Let another function be the scheduler's step until the end of the block."""
    own = vars(scheduler).get("step")
    scheduler.step = step
    try:
        yield
    finally:
        del scheduler.step
        if own is not None:
            scheduler.step = own


@contextmanager
def restored_randomness(seed: int) -> Iterator[None]:
    """Seed the global generators for whatever ignores the images' own, and put their states back afterwards."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed(seed)
        yield
