"""Many claims on any number of workers; finished rows outlive an interruption in a folder.

A row kept is used again only by the same effort and the same code. What it took in seconds is no part of its identity.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from functools import cache, partial
from pathlib import Path
from typing import Any

import orthoscope
from orthoscope import writing
from orthoscope.experiments import claims
from orthoscope.experiments.claims.claim import Effort, examine
from orthoscope.locking import locked
from orthoscope.serialize import content_hash, dumps
from orthoscope.sweeps.execute import execute
from orthoscope.threads import one_thread


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
            stack.enter_context(locked(kept, "claims", [f"{row.name}.json" for row in claims.CLAIMS]))
        found = {name: _read(kept, name, effort) for name in names}
        yield from (row for row in found.values() if row is not None)
        open_names = [name for name, row in found.items() if row is None]
        outcomes = stack.enter_context(
            closing(execute(partial(check, effort), open_names, workers=workers, scheduler=scheduler))
        )
        for _, row in outcomes:
            if isinstance(row, Exception):
                raise row
            if kept is not None and row["verdict"] != "fails":  # a failed row is tried again
                _write(kept, row, effort)
            yield row


def check(effort: Effort, name: str) -> dict[str, Any]:
    """Check the claim of this name on one thread."""
    row = next(row for row in claims.CLAIMS if row.name == name)
    with one_thread():
        return examine(row, effort)


@cache
def _code() -> str:
    """A fingerprint of the package's source."""
    files = sorted(Path(orthoscope.__file__).parent.rglob("*.py"))
    return hashlib.blake2b(b"".join(path.read_bytes() for path in files), digest_size=8).hexdigest()


def _stamp(effort: Effort) -> str:
    return f"{content_hash(effort)}-{_code()}"


def _read(folder: Path | None, name: str, effort: Effort) -> dict[str, Any] | None:
    """A kept row; None if there is none, it is damaged, or made by another effort or code."""
    if folder is None:
        return None
    try:
        stored = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        return dict(stored["row"]) if stored["stamp"] == _stamp(effort) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(folder: Path, row: dict[str, Any], effort: Effort) -> None:
    writing.write(folder / f"{row['name']}.json", dumps({"stamp": _stamp(effort), "row": row}) + "\n")
