"""What a command costs before it has computed anything: `predict` against the bare imports that it cannot do without.

    python -m benchmarks.cold

Both are started afresh, in turns; the ratio is the median of pairs.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from orthoscope.serialize import dumps

BARE = [sys.executable, "-c", "import numpy, scipy.special, typer, rich.console, rich.table, rich.text"]
PREDICT = "predict --rate 0.2 --std 0.5 --strength 1 --json"
ROUNDS = 15


def seconds(command: list[str]) -> float:
    """Wall time of one fresh process."""
    begin = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def run() -> dict[str, float]:
    """Medians of both, and of their ratio."""
    predict = [str(Path(sys.executable).with_name("orthoscope")), *PREDICT.split()]
    pairs = [(seconds(BARE), seconds(predict)) for _ in range(ROUNDS)]
    return {
        "bare_seconds": statistics.median(bare for bare, _ in pairs),
        "predict_seconds": statistics.median(whole for _, whole in pairs),
        "ratio": statistics.median(whole / bare for bare, whole in pairs),
    }


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
