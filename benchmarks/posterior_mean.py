"""One posterior-mean evaluation: a softmax over a rows-by-modes matrix, twice, against one read in blocks.

Shares are of the rate of a large matrix product in the same type, measured in the same rounds as what it is compared
with; the two products of an evaluation count, padding and exponentials do not.
"""

from __future__ import annotations

import math
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orthoscope import rng
from orthoscope.targets.modes import mode_table, posterior_mean

DIM, ROWS, VARIANCE = 64, 1000, 1.25
SEVERAL_ROWS = (16, 64, 256, 1000, 4096)
VARIANCES = (0.25, 1.0, 4.0, 16.0, 64.0, 256.0)
TYPES = (torch.float32, torch.float64, torch.bfloat16)


def naive(x: Tensor, centroids: Tensor) -> Callable[[], Tensor]:
    """Softmax of the expanded squares, times the centroids."""
    squares = centroids.square().sum(1) / 2
    return lambda: torch.softmax((x @ centroids.T - squares) / VARIANCE, dim=1) @ centroids


def cdist(x: Tensor, centroids: Tensor) -> Callable[[], Tensor]:
    """Softmax of the squared distances, times the centroids."""
    return lambda: torch.softmax(torch.cdist(x, centroids) ** 2 / (-2 * VARIANCE), dim=1) @ centroids


def ours(x: Tensor, centroids: Tensor) -> Callable[[], Tensor]:
    """The read in blocks; the table is built once per target."""
    table = mode_table(centroids, torch.zeros(len(centroids)))
    return lambda: posterior_mean(table, x, VARIANCE)


METHODS = {"naive": naive, "cdist": cdist, "ours": ours}


def draw(modes: int) -> tuple[Tensor, Tensor]:
    stream = rng.stream(0, "benchmark", modes)
    centroids = torch.from_numpy(stream.standard_normal((modes, DIM), dtype="float32"))
    x = torch.from_numpy(stream.standard_normal((ROWS, DIM), dtype="float32"))
    return centroids[:ROWS] + VARIANCE**0.5 * x, centroids


def seconds(call: Callable[[], Any], repeats: int) -> float:
    """The fastest of several calls, the first not counted."""
    call()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)


def multiply_rate(repeats: int) -> float:
    """Floating-point operations per second of a large matrix product."""
    a = torch.ones(2048, 2048)
    return 2 * 2048**3 / seconds(lambda: a @ a, repeats)


def shares(*, quick: bool) -> list[dict[str, Any]]:
    """Share of the multiplication rate of the same type, by type and number of rows, at one number of modes."""
    modes, rounds = (1 << 13, 2) if quick else (1 << 15, 4)
    found = []
    for dtype in TYPES:
        square = torch.ones(2048, 2048, dtype=dtype)
        for rows in SEVERAL_ROWS:
            stream = rng.stream(0, "shares", rows)
            centroids = torch.from_numpy(stream.standard_normal((modes, DIM), dtype="float32")).to(dtype)
            normal = torch.from_numpy(stream.standard_normal((rows, DIM), dtype="float32"))
            x = (centroids[:rows] + VARIANCE**0.5 * normal).to(torch.promote_types(dtype, torch.float32))
            table = mode_table(centroids, torch.zeros(modes, dtype=dtype))
            best = {"read": math.inf, "multiply": math.inf}
            for _ in range(rounds):  # in turns, so that a busy spell of the machine meets both
                best["read"] = min(
                    best["read"], seconds(lambda table=table, x=x: posterior_mean(table, x, VARIANCE), 1)
                )
                best["multiply"] = min(best["multiply"], seconds(lambda square=square: square @ square, 1))
            share = 4 * rows * modes * DIM / best["read"] / (2 * 2048**3 / best["multiply"])
            name = str(dtype).removeprefix("torch.")
            found.append({"dtype": name, "rows": rows, "modes": modes, "seconds": best["read"], "share": share})
    return found


def errors() -> list[dict[str, Any]]:
    """Root mean square error of the mean relative to its size, for noised modes, by type and total variance."""
    stream = rng.stream(0, "errors")
    centroids = torch.from_numpy(stream.standard_normal((1 << 14, DIM), dtype="float32"))
    normal = torch.from_numpy(stream.standard_normal((ROWS, DIM), dtype="float32"))
    tables = {t: mode_table(centroids.to(t), torch.zeros(len(centroids), dtype=t)) for t in TYPES}
    found = []
    for v in VARIANCES:
        x = centroids[:ROWS] + v**0.5 * normal
        exact = posterior_mean(tables[torch.float64], x.double(), v)
        gaps = {t: posterior_mean(tables[t], x, v) - exact for t in (torch.float32, torch.bfloat16)}
        named = {str(t).removeprefix("torch."): float(gap.norm() / exact.norm()) for t, gap in gaps.items()}
        found.append({"variance": v, **named})
    return found


def high_water() -> float:
    """Most memory in bytes that this process ever held."""
    status = Path("/proc/self/status")
    if status.exists():  # resource counts what the parent held before the process became itself
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * float(line.split()[1])
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


def peak(method: str, modes: int) -> float:
    """Most memory in bytes that one evaluation adds; meant for a process of its own."""
    x, centroids = draw(modes)
    call = METHODS[method](x, centroids)
    METHODS[method](x[:8], centroids[:64])()  # load what a first call loads
    before = high_water()
    call()
    return high_water() - before


def run(*, quick: bool = False) -> dict[str, Any]:
    """Seconds per method and number of modes, the multiplication rate, and memory at the largest number."""
    powers, repeats = ((14, 15), 2) if quick else ((14, 15, 16, 17), 3)
    rate, rows = multiply_rate(5), []
    for power in powers:
        x, centroids = draw(2**power)
        calls = {name: method(x, centroids) for name, method in METHODS.items()}
        worst = max(float((call() - calls["naive"]()).abs().max()) for call in calls.values())
        timed = {name: seconds(call, repeats) for name, call in calls.items()}
        rate = max(rate, multiply_rate(2))  # again and again: a busy machine is slower, never faster
        rows.append(
            {
                "modes": 2**power,
                "seconds": timed,
                "largest_difference": worst,
            }
        )
    for row in rows:
        operations = 4 * ROWS * row["modes"] * DIM  # two matrix products
        row["fraction_of_multiply_rate"] = {name: operations / t / rate for name, t in row["seconds"].items()}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        memory = {name: pool.submit(peak, name, 2 ** powers[-1]).result() for name in METHODS}
    return {
        "dim": DIM,
        "rows": ROWS,
        "multiply_rate": rate,
        "threads": torch.get_num_threads(),
        "sizes": rows,
        "peak_bytes": memory,
        "shares": shares(quick=quick),
        "errors": errors(),
    }


def table(result: dict[str, Any]) -> str:
    """The result as text."""
    names = tuple(METHODS)
    lines = [
        f"Posterior mean of {result['rows']} rows in d = {result['dim']}, float32, {result['threads']} thread(s); "
        f"matrix multiply {result['multiply_rate'] / 1e9:.0f} GF/s",
        f"{'':>8} {'seconds':^26} {'times ours':^17} {'share of multiply rate':^24}",
        f"{'modes':>8} " + "".join(f"{n:>9}" for n in (*names, *names[:2])) + "".join(f"{n:>8}" for n in names),
    ]
    for row in result["sizes"]:
        s, share = row["seconds"], row["fraction_of_multiply_rate"]
        lines.append(
            f"{row['modes']:>8} "
            + "".join(f"{s[n]:>9.3f}" for n in names)
            + "".join(f"{s[n] / s['ours']:>9.1f}" for n in names[:2])
            + "".join(f"{share[n]:>8.0%}" for n in names)
        )
    memory = ", ".join(f"{name} {value / 2**20:,.0f} MiB" for name, value in result["peak_bytes"].items())
    lines.append(f"memory added by one evaluation at {result['sizes'][-1]['modes']} modes: {memory}")
    lines.append(f"share of the multiply rate of the same type, {result['shares'][0]['modes']} modes, by rows:")
    for dtype in dict.fromkeys(entry["dtype"] for entry in result["shares"]):
        of_type = [entry for entry in result["shares"] if entry["dtype"] == dtype]
        lines.append(f"{dtype:>10} " + "".join(f"{e['rows']:>8}: {e['share']:.0%}" for e in of_type))
    lines.append("relative error of the mean, by total variance:")
    for dtype in ("float32", "bfloat16"):
        lines.append(f"{dtype:>10} " + "".join(f"{e['variance']:>7g}: {e[dtype]:.1e}" for e in result["errors"]))
    return "\n".join(lines)
