"""The read of many modes on an accelerator: time, share of the multiplication rate, memory, and agreement with a CPU.

`python -m benchmarks.gpu` prints a table, or one JSON object with --json. Without an accelerator it says so and exits
with status 2. float32 is float32: whatever reduced precision was allowed globally, the read does not use it, and the
rate it is compared with is measured without it, too.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from orthoscope import rng
from orthoscope.serialize import dumps
from orthoscope.targets.modes import mode_table, read

DIM, VARIANCE = 64, 1.25
SIZES = ((1 << 14, 1000), (1 << 17, 1000), (1 << 20, 1000), (1 << 20, 8192), (10_000_000, 1000))
COMPARED = 64  # rows that are read on the CPU, in float64
TYPES = (torch.float32, torch.float64, torch.bfloat16)


def seconds(call: Callable[[], Any], repeats: int = 5) -> float:
    """The fastest of several calls, each waited for; the first is not counted."""
    times = []
    for _ in range(repeats + 1):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        call()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return min(times[1:])


def multiply_rate(dtype: torch.dtype, device: str) -> float:
    """Floating-point operations per second of a large matrix product."""
    a = torch.ones(8192, 8192, dtype=dtype, device=device)
    return 2 * 8192**3 / seconds(lambda: a @ a)


def measure(modes: int, rows: int, dtype: torch.dtype, rate: float, device: str) -> dict[str, Any]:
    """One size: time, share of the rate, memory added and largest difference from float64 on the CPU."""
    stream = rng.stream(0, "gpu", modes)
    centroids = torch.from_numpy(stream.standard_normal((modes, DIM), dtype="float32"))
    x = centroids[torch.arange(rows) % modes]
    x = x + VARIANCE**0.5 * torch.from_numpy(stream.standard_normal((rows, DIM), dtype="float32"))
    exact = torch.promote_types(dtype, torch.float32)
    here, there = centroids.to(device, dtype), x.to(device, exact)
    table = mode_table(here, here.new_zeros(modes))
    found = read((table,), there, VARIANCE)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    best = seconds(lambda: read((table,), there, VARIANCE))
    added = torch.cuda.max_memory_allocated() - before
    expected = read((mode_table(centroids.double(), torch.zeros(modes).double()),), x[:COMPARED].double(), VARIANCE)
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "modes": modes,
        "rows": rows,
        "seconds": best,
        "share_of_multiply_rate": 4 * modes * rows * DIM / best / rate,
        "bytes_added": added,
        "bytes_of_all_logits": modes * rows * dtype.itemsize,
        "largest_difference_of_means": float((found.mean[:COMPARED].cpu().double() - expected.mean).abs().max()),
        "largest_difference_of_log_sums": float((found.log_sum[:COMPARED].cpu() - expected.log_sum).abs().max()),
    }


def table_of(rows: list[dict[str, Any]]) -> str:
    """The result as text."""
    lines = [
        f"{'type':>10}{'modes':>11}{'rows':>7}{'seconds':>11}{'share':>8}{'added':>11}{'all logits':>12}"
        f"{'mean off':>11}"
    ]
    lines += [
        f"{r['dtype']:>10}{r['modes']:>11}{r['rows']:>7}{r['seconds']:>11.5f}{r['share_of_multiply_rate']:>8.0%}"
        f"{r['bytes_added'] / 2**20:>7,.0f} MiB{r['bytes_of_all_logits'] / 2**20:>8,.0f} MiB"
        f"{r['largest_difference_of_means']:>11.1e}"
        for r in rows
    ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="torch device")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    options = parser.parse_args(argv)
    if not torch.cuda.is_available():
        print("no accelerator here: torch sees no CUDA device, nothing was measured", file=sys.stderr)
        return 2
    torch.set_float32_matmul_precision("highest")
    rates = {dtype: multiply_rate(dtype, options.device) for dtype in TYPES}
    rows = [measure(m, n, dtype, rates[dtype], options.device) for dtype in TYPES for m, n in SIZES]
    if options.json:
        named = {str(dtype).removeprefix("torch."): rate for dtype, rate in rates.items()}
        name = torch.cuda.get_device_name(options.device)
        print(dumps({"device": name, "torch": torch.__version__, "multiply_rates": named, "sizes": rows}))
    else:
        print(table_of(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
