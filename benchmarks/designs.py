"""How long a design takes, and what an evaluation costs the search.

    python -m benchmarks.designs

The seconds are those of the command, start of Python and verification by sampling included, on one thread. The ratios
are taken within one run: the same schedules followed panel by panel, one after the other, as outcomes are
(`theory.moments.solve`), and in one pass together, as a search does (`designs.optimization.flights`).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from orthoscope.designs.optimization import Goal, MixtureLaw
from orthoscope.designs.optimization.parametrization import Pieces
from orthoscope.designs.optimization.search import Task
from orthoscope.serialize import dumps

COMMON = "--maximize mean-shift --variance-ratio 1 --high 5 --json"
EXAMPLES = {
    "readme": f"design --rate 0.7 --std 0.5 --t-max 10 {COMMON}",
    "front": f"design --rate 0.5 --std 0.5 --t-max 20 {COMMON} --front",
}
LAW = MixtureLaw(rate=0.7, std=0.5, t_max=10.0)
COUNTS, PIECES, REPEATS = (1, 8, 64), 3, 5


def command(options: str) -> float:
    """Seconds of one command on one thread."""
    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "orthoscope", *options.split()], check=True, capture_output=True, env=os.environ | one
    )
    return time.perf_counter() - begin


def schedules(count: int) -> list[Pieces]:
    """Schedules of a few pieces, free and frozen, captured and committed."""
    family, stream = Task.of(LAW, Goal(high=5.0)).family.resized(PIECES), np.random.default_rng(0)
    edges = -np.sort(-stream.random((count, family.positions)))
    return [family.pieces(point) for point in np.hstack([edges, stream.random((count, PIECES)) ** 2])]


def seconds(work: Callable[[], object]) -> float:
    """Least time of a call."""
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def evaluations() -> list[dict[str, float]]:
    """One row per number of schedules that are followed together: seconds per schedule, and their ratio."""
    rows = []
    every = schedules(max(COUNTS))
    tables = [pieces.schedule() for pieces in every]
    for count in COUNTS:
        loop = seconds(lambda: [LAW.solved(table) for table in tables]) / len(tables)
        parts = [every[i : i + count] for i in range(0, len(every), count)]
        together = seconds(lambda parts=parts: [LAW.sketches(part) for part in parts]) / len(every)  # type: ignore[misc]
        rows.append({"together": count, "loop_seconds": loop, "seconds": together, "ratio": loop / together})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.designs", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    options = parser.parse_args()
    rows = evaluations()
    took = {name: command(line) for name, line in EXAMPLES.items()}
    if options.json:
        print(dumps({"evaluations": rows, "seconds": took}))
        return
    print("schedules together | one by one, ms each | together, ms each | ratio")
    for row in rows:
        print(
            f"{row['together']:18d} | {1e3 * row['loop_seconds']:.2f} | {1e3 * row['seconds']:.3f} | {row['ratio']:.1f}"
        )
    for name, value in took.items():
        print(f"{name}: {value:.1f} s")


if __name__ == "__main__":
    main()
