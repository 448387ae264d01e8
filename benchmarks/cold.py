"""What a command costs before it has computed anything: `predict` against the bare imports that it cannot do without.

    python -m benchmarks.cold

Both are started afresh, in turns, once their modules are compiled; ratios are medians of pairs. On a busy machine the
times of the processor are the ones to read.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from orthoscope.serialize import dumps

BARE = [sys.executable, "-c", "import numpy, scipy.special, typer, rich.console, rich.table, rich.text"]
PREDICT = "predict --rate 0.2 --std 0.5 --strength 1 --json"
ROUNDS = 15


def seconds(command: list[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Wall time of one fresh process, and what it took of the processor."""
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - begin, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def run() -> dict[str, float]:
    """Medians of both, and of their ratios."""
    predict = [str(Path(sys.executable).with_name("orthoscope")), *PREDICT.split()]
    with tempfile.TemporaryDirectory() as folder:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = folder  # compiled by a first start, as it is on any machine
        pairs = [[seconds(command, environment) for command in (BARE, predict)] for _ in range(ROUNDS + 1)][1:]
    found = {}
    for k, kind in enumerate(("", "_cpu")):
        bare, whole = ([one[k] for one in ones] for ones in zip(*pairs, strict=True))
        found |= {
            f"bare{kind}_seconds": statistics.median(bare),
            f"predict{kind}_seconds": statistics.median(whole),
            f"ratio{kind}": statistics.median(b / a for a, b in zip(bare, whole, strict=True)),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    found = run()
    if parser.parse_args().json:
        print(dumps(found))
    else:
        print(", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in found.items()))


if __name__ == "__main__":
    main()
