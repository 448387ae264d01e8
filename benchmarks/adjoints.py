"""Written-out gradients of the moment equations against automatic differentiation of the same sum.

    python -m benchmarks.adjoints

Both are the exact gradient of the same number; what is compared is time, and whether they agree.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from orthoscope.designs.optimization.adjoint import linear_moments, linear_panels
from orthoscope.designs.optimization.parametrization import Panels, from_schedule
from orthoscope.guidance.schedules import Step
from orthoscope.numerics import unit_gauss, unit_integrals
from orthoscope.serialize import dumps
from orthoscope.theory.flow import NODES

SCHEDULE = Step(early=3.0, late=-1.0, switch=2.0)
T_MAX, REPEATS = 50.0, 200
Gradients = tuple[np.ndarray, np.ndarray, np.ndarray]


def by_hand(grid: Panels, cond: np.ndarray, gap: np.ndarray) -> tuple[np.ndarray, Gradients]:
    """Excess per direction, and its derivatives by strengths, positions and widths."""
    nothing = np.zeros_like(cond)
    _, excess, _, slopes = linear_moments(grid, cond, gap, 1.0, nothing, nothing)
    return excess, (slopes.strength, slopes.position, slopes.width)


def by_autograd(grid: Panels, cond: np.ndarray, gap: np.ndarray) -> tuple[np.ndarray, Gradients]:
    """The same by torch, every direction with leaves of its own."""
    copies = (cond.size, 1, 1)
    w, y = (torch.from_numpy(np.tile(a, copies)).requires_grad_() for a in (grid.strength, grid.position))
    width = torch.from_numpy(np.tile(grid.width, copies[:2])).requires_grad_()
    excess = _excess(w, y, width, torch.from_numpy(cond)[:, None, None], torch.from_numpy(gap)[:, None, None], grid)
    slopes = torch.autograd.grad(excess.sum(), (w, y, width))
    numbers: Any = tuple(slope.numpy() for slope in slopes)
    return excess.detach().numpy(), numbers


def _excess(w: Tensor, y: Tensor, width: Tensor, c: Tensor, gap: Tensor, grid: Panels) -> Tensor:
    weights = torch.from_numpy(np.array(unit_gauss(NODES)[1]))
    remaining = torch.from_numpy(unit_integrals(NODES)[-1] - unit_integrals(NODES)[:-1])
    above = y.exp()
    time = above - grid.pieces.base
    stretch, pull = above / (c + time), gap / (c + gap + time)
    growth, source = 2 * stretch * (1 + w * pull), -2 * w * above * pull
    totals = width * (growth @ weights)
    below = totals.flip(1).cumsum(1).flip(1) - totals
    decay = torch.exp(-(below[..., None] + width[..., None] * (growth @ remaining.T)))
    return (width[..., None] * weights * source * decay).sum((1, 2))


def seconds(work: Callable[[], object]) -> float:
    """Least time of one call, of several batches."""
    batches = []
    for _ in range(5):
        begin = time.perf_counter()
        for _ in range(REPEATS):
            work()
        batches.append((time.perf_counter() - begin) / REPEATS)
    return min(batches)


def run() -> list[dict[str, float]]:
    """One row per number of directions."""
    torch.set_num_threads(1)
    return [_row(directions) for directions in (1, 8, 64)]


def _row(directions: int) -> dict[str, float]:
    cond, gap = np.linspace(0.3, 0.8, directions), np.linspace(1.0, 1.5, directions)
    grid = linear_panels(from_schedule(SCHEDULE, base=0.3, t_max=T_MAX), 2.0)
    (ours, slopes), (its, others) = by_hand(grid, cond, gap), by_autograd(grid, cond, gap)
    pairs = zip((ours, *slopes), (its, *others), strict=True)
    hand, auto = seconds(lambda: by_hand(grid, cond, gap)), seconds(lambda: by_autograd(grid, cond, gap))
    return {
        "directions": directions,
        "by_hand_seconds": hand,
        "autograd_seconds": auto,
        "ratio": auto / hand,
        "largest_gap": max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adjoints", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    rows = run()
    if parser.parse_args().json:
        print(dumps(rows))
        return
    print("directions | both moments by hand, us | one of them by torch, us | ratio | largest gap")
    for row in rows:
        hand, auto = (1e6 * row[f"{name}_seconds"] for name in ("by_hand", "autograd"))
        print(f"{row['directions']:10d} | {hand:.0f} | {auto:.0f} | {row['ratio']:.2f} | {row['largest_gap']:.1e}")


if __name__ == "__main__":
    main()
