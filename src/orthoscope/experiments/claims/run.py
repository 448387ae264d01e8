"""Many claims on any number of workers; finished rows outlive an interruption in a folder.

A row kept is used again only by the same effort and the same code. What it took in seconds is no part of its identity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

from orthoscope.experiments import claims
from orthoscope.experiments.claims.claim import Effort, examine
from orthoscope.locking import locked
from orthoscope.serialize import content_hash
from orthoscope.sweeps.cells import Cells, Finished, complete, fingerprint
from orthoscope.sweeps.execute import Executor
from orthoscope.threads import one_thread

FOLDER = "cells"  # of the rows, in the run folder


class _FailedRow(Exception):
    """A claim that was checked and failed."""


def run_claims(
    names: Sequence[str],
    effort: Effort,
    *,
    kept: Path | None = None,
    workers: int = 1,
    scheduler: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Rows of the table as they are done, those found in the folder `kept` first.

    Raises:
        ConfigError: if the cluster cannot be reached, or the folder is in use or cannot be written.
    """
    with ExitStack() as stack:
        if kept is not None:
            stack.enter_context(locked(kept, "claims", [FOLDER]))
        cells = None if kept is None else Cells(kept / FOLDER)
        missing = {}
        for name in names:
            key = content_hash({"claim": name, "effort": effort, "code": fingerprint()})
            found = None if cells is None else cells.find(key)
            if found is None:
                missing[key] = name
            else:
                yield dict(found.about)
        executor = stack.enter_context(Executor(workers=workers, scheduler=scheduler))
        outcomes = stack.enter_context(closing(complete(cells, missing, partial(check, effort), executor)))
        for _, outcome in outcomes:
            match outcome:
                case Finished(about=row):
                    yield dict(row)
                case _FailedRow(args=(row,)):
                    yield row
                case error:
                    raise error


def check(effort: Effort, name: str) -> Finished:
    """Check the claim of this name on one thread."""
    row = next(row for row in claims.CLAIMS if row.name == name)
    with one_thread():
        examined = examine(row, effort)
    if examined["verdict"] == "fails":
        raise _FailedRow(examined)
    return Finished({}, examined)
