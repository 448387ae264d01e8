"""Print every measurement, or write them as one JSON object."""

from __future__ import annotations

import argparse
import time

import torch

from benchmarks import grids, posterior_mean
from orthoscope.serialize import dumps


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, for a first look")
    options = parser.parse_args()
    begin = time.perf_counter()
    speed = posterior_mean.run(quick=options.quick)
    if not options.json:
        print(posterior_mean.table(speed), flush=True)
    steps = grids.run(quick=options.quick)
    elapsed = time.perf_counter() - begin
    if options.json:
        print(dumps({"posterior_mean": speed, "grids": steps, "seconds": elapsed, "torch": torch.__version__}))
    else:
        print(grids.table(steps))
        print(f"\n{elapsed:.0f} s")


if __name__ == "__main__":
    main()
