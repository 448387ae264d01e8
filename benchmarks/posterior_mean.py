"""One posterior-mean evaluation: a softmax over a rows-by-modes matrix, twice, against one attention read."""

from __future__ import annotations

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


def naive(x: Tensor, centroids: Tensor) -> Callable[[], Tensor]:
    """Softmax of the expanded squares, times the centroids."""
    squares = centroids.square().sum(1) / 2
    return lambda: torch.softmax((x @ centroids.T - squares) / VARIANCE, dim=1) @ centroids


def cdist(x: Tensor, centroids: Tensor) -> Callable[[], Tensor]:
    """Softmax of the squared distances, times the centroids."""
    return lambda: torch.softmax(torch.cdist(x, centroids) ** 2 / (-2 * VARIANCE), dim=1) @ centroids


def ours(x: Tensor, centroids: Tensor) -> Callable[[], Tensor]:
    """The attention read; the table is built once per target."""
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
        operations = 4 * ROWS * 2**power * DIM  # two matrix products
        rows.append(
            {
                "modes": 2**power,
                "seconds": timed,
                "fraction_of_multiply_rate": {name: operations / t / rate for name, t in timed.items()},
                "largest_difference": worst,
            }
        )
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
    return "\n".join(lines)
