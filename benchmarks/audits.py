"""What an audit costs beside the images it makes: own seconds by part, and their ratio to those of generating.

    python -m benchmarks.audits          # the audit of the README, of the digits model that ships
    python -m benchmarks.audits --quick

One process runs the command as it is, from nothing, with a clock around each part; parts within parts are counted
once. Loading code and opening the pipeline come once for any number of images and stand apart. Seconds of the
processor count, which others on the machine change little; those of the wall stand beside them.
"""

from __future__ import annotations

import argparse
import builtins
import math
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

LOADING, OPENING, GENERATING = "loading code", "opening the pipeline", "generating images"
# Where each part is called; what is in none of these places is told as the rest.
PARTS = {
    "orthoscope.integrations.host:Host.generate": GENERATING,
    "orthoscope.integrations.source:Source.host": OPENING,
    "orthoscope.integrations.judge:ShippedJudge.fitted": "fitting the judge",
    "orthoscope.audits.generate:_made": "features, judge, thumbnails",
    "orthoscope.audits.cells:ImageCells.key": "names of cells",
    "orthoscope.sweeps.cells:Cells.write": "cells on disk",
    "orthoscope.sweeps.cells:Cells.find": "cells on disk",
    "orthoscope.sweeps.cells:Cells.read": "cells on disk",
    "orthoscope.audits.run:measured": "measures with intervals",
    "orthoscope.audits.run:compared": "comparison",
    "orthoscope.audits.run:gains": "comparison",
    "orthoscope.audits.search:gains": "comparison",
    "orthoscope.audits.run:recommendation": "advice",
    "orthoscope.audits.result:AuditResult.write": "results.nc and spec.json",
    "orthoscope.report.audit:audit_sections": "figures and tables, drawn",
    "orthoscope.report.audit:save_figure": "figures, as files",
    "orthoscope.report.audit:audit_page": "page",
    "orthoscope.cli.audit:_print": "console",
}


class Clock:
    """Seconds by part, each moment counted for the innermost part alone."""

    def __init__(self) -> None:
        self.processor: dict[str, float] = defaultdict(float)
        self.wall: dict[str, float] = defaultdict(float)
        self._parts: list[str] = ["the rest"]
        self._last = time.process_time(), time.perf_counter()

    def turn(self) -> None:
        """Count the time since the last turn for the part that is on."""
        now, before, part = (time.process_time(), time.perf_counter()), self._last, self._parts[-1]
        self.processor[part] += now[0] - before[0]
        self.wall[part] += now[1] - before[1]
        self._last = now

    def timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, counted for a part."""

        @wraps(call)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if self._parts[-1] == part:
                return call(*args, **kwargs)
            self.turn()
            self._parts.append(part)
            try:
                return call(*args, **kwargs)
            finally:
                self.turn()
                self._parts.pop()

        return wrapper

    def watch(self, place: str, part: str) -> None:
        """Put a clock around a function, or a method of a class, by its place."""
        module, _, path = place.partition(":")
        *owners, name = path.split(".")
        owner: Any = import_module(module)
        for step in owners:
            owner = getattr(owner, step)
        setattr(owner, name, self.timed(part, getattr(owner, name)))


def run(arguments: list[str]) -> Clock:
    """An audit by its command, timed."""
    clock = Clock()
    builtins.__import__ = clock.timed(LOADING, builtins.__import__)
    from orthoscope.cli.main import main

    for place, part in PARTS.items():
        clock.watch(place, part)
    with tempfile.TemporaryDirectory() as out:
        sys.argv = ["orthoscope", "audit", "--quiet", "--out", out, *arguments]
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise
    clock.turn()
    return clock


def summary(clock: Clock) -> dict[str, Any]:
    """Seconds of generating, of its own work by part, and the ratio of both."""
    own = {part: s for part, s in clock.processor.items() if part not in (LOADING, OPENING, GENERATING)}
    return {
        "generating_seconds": clock.processor[GENERATING],
        "own_seconds": sum(own.values()),
        "ratio": sum(own.values()) / made if (made := clock.processor[GENERATING]) else math.inf,
        "loading_seconds": clock.processor[LOADING],
        "opening_seconds": clock.processor[OPENING],
        "parts": dict(sorted(own.items(), key=lambda item: -item[1])),
        "wall": dict(clock.wall),
    }


def table(found: dict[str, Any]) -> str:
    """The same as text."""
    wall = found["wall"]
    first = {GENERATING: found["generating_seconds"], LOADING: found["loading_seconds"]}
    rows = [*first.items(), (OPENING, found["opening_seconds"]), *found["parts"].items()]
    lines = [f"{'':30} {'processor, s':>12} {'wall, s':>9}"]
    lines += [f"{part:30} {seconds:12.2f} {wall.get(part, 0.0):9.2f}" for part, seconds in rows]
    own = f"own work {found['own_seconds']:.2f} s beside {found['generating_seconds']:.2f} s of generating"
    return "\n".join([*lines, f"{own}: {found['ratio']:.1%}"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audits", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    asked, arguments = parser.parse_known_args()  # all others are the audit's
    stdout, sys.stdout = sys.stdout, sys.stderr  # where the audit tells what it found
    found = summary(run(arguments))
    sys.stdout = stdout
    from orthoscope.serialize import dumps

    print(dumps(found) if asked.json else table(found))


if __name__ == "__main__":
    main()
