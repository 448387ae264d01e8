"""How many steps a given bias costs: textbook sampler, first and second order, and where the levels are placed.

Planted ensemble, constant strength. The bias of the mean shift is the mean difference between a coarse run and a fine
one on the same Brownian path, so that its error lies far below the threshold: the standard error that a simulation of
2,000 trajectories has anyway.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from orthoscope import rng
from orthoscope.bench.textbook import textbook_sample, textbook_times
from orthoscope.denoise import ExactDenoiser
from orthoscope.guidance.guided import classifier_free
from orthoscope.guidance.schedules import Constant
from orthoscope.metrics import mean_of
from orthoscope.process import NoiseLevel, VarianceExploding
from orthoscope.sampling import (
    BrownianPath,
    Exponential,
    Grid,
    equalized,
    geometric,
    posterior_variance,
    refined,
    sample,
)
from orthoscope.targets import Planted

RATE, STD, T_MAX, TRAJECTORIES = 0.2, 0.5, 50.0, 2000
WIDTHS = (1, 2, 4, 8, 16)
SIZES = {"textbook": (50, 100, 200, 400, 800), "1": (8, 15, 30, 60, 120, 240), "2": (6, 8, 10, 12, 15, 20, 30, 45, 60)}
FINE = 240
PROCESS = VarianceExploding(offset=STD**2)


def speciation_time(w: float) -> float:
    """Variance time at which a class is decided at constant strength, in infinite dimension from infinite noise."""

    def excess(u: float) -> float:
        return math.log(u) + 2 * w / (2 * w + 1) * (1 - u ** -(2 * w + 1)) - 2 * RATE

    u: float = brentq(excess, 1 + 1e-9, math.exp(2 * RATE))
    return 1 / (u - 1) - STD**2


@dataclass(frozen=True, eq=False)
class Setting:
    """One dimension and strength: a target, starting states and the two denoisers' scores."""

    dim: int
    w: float
    rows: int

    @property
    def target(self) -> Planted:
        """The planted ensemble of a centroid of typical length."""
        m = rng.stream(0, "centroid", self.dim).standard_normal(self.dim)
        m *= math.sqrt(self.dim) / np.linalg.norm(m)
        return Planted(centroid=torch.from_numpy(m), std=STD, log_classes=RATE * self.dim)

    @property
    def start(self) -> Tensor:
        """States at t_max, drawn from the prior."""
        normal = rng.stream(0, "start", self.dim).standard_normal((self.rows, self.dim))
        return math.sqrt(T_MAX + STD**2 + 1) * torch.from_numpy(normal)

    def shift(self, x: Tensor) -> Tensor:
        """Mean shift of each row."""
        m = self.target.centroid
        return x @ m / (m @ m) - 1

    def run(self, levels: Grid, path: BrownianPath, order: int) -> Tensor:
        narrow, _ = self.target.absorbed()
        denoiser = classifier_free(ExactDenoiser(narrow), Constant(value=self.w))
        return self.shift(sample(denoiser, self.start, levels, step=Exponential(order=order), noise=path, label=0).x)

    def textbook(self, times: list[float], path: BrownianPath) -> Tensor:
        target, law = self.target, self.target.conditional(0)
        end = textbook_sample(
            self.start,
            lambda x, t: law.score(x, NoiseLevel(time=t)),
            lambda x, t: target.score(x, NoiseLevel(time=t)),
            strength=self.w,
            times=times,
            normal=lambda t, t_next: path(PROCESS.at(t), PROCESS.at(t_next)),
        )
        return self.shift(end)

    def path(self, several: Sequence[Sequence[float]]) -> BrownianPath:
        """A path that can be queried at all these times."""
        times = sorted({t for times in several for t in times}, reverse=True)
        variances = [t + STD**2 for t in times]
        return BrownianPath(seed=1, rows=self.rows, dim=self.dim, variances=variances)


def families(setting: Setting) -> dict[str, Callable[[int], Grid]]:
    """Ways to place a number of levels."""
    center = speciation_time(setting.w)
    left = posterior_variance(setting.target.absorbed()[0])
    found: dict[str, Callable[[int], Grid]] = {
        "geometric": lambda n: geometric(PROCESS, T_MAX, n),
        "equalized": lambda n: equalized(PROCESS, T_MAX, n, posterior_variance=left),
    }
    for c in WIDTHS:
        width = c / math.sqrt(setting.dim)
        found[f"refined {c}"] = lambda n, width=width: refined(PROCESS, T_MAX, n, center=center, width=width)
    return found


def measure(setting: Setting, *, quick: bool) -> list[dict[str, Any]]:
    """One row per sampler and grid: bias with its error for each number of steps."""
    fine = refined(PROCESS, T_MAX, FINE, center=speciation_time(setting.w), width=8 / math.sqrt(setting.dim))
    rows = []
    for name, family in {"textbook": None, **families(setting)}.items():
        orders = ("textbook",) if family is None else ("1", "2") if name in ("geometric", "refined 8") else ("2",)
        for order in orders:
            sizes = SIZES[order][:: 2 if quick else 1]
            print(f"d = {setting.dim}, w = {setting.w:g}: {name}, {order}", file=sys.stderr)
            visited = [textbook_times(T_MAX, n) if family is None else list(family(n).times) for n in sizes]
            path = setting.path([fine.times, *visited])
            exact = setting.run(fine, path, 2)
            threshold = mean_of(exact.numpy()).stderr * math.sqrt(setting.rows / TRAJECTORIES)
            bias = {}
            for n, times in zip(sizes, visited, strict=True):
                end = setting.textbook(times, path) if family is None else setting.run(family(n), path, int(order))
                estimate = mean_of((end - exact).numpy())
                bias[n] = (estimate.value, estimate.stderr)
            rows.append(
                {"grid": name, "order": order, "bias": bias, "steps": needed(bias, threshold), "threshold": threshold}
            )
    return rows


def needed(bias: dict[int, tuple[float, float]], threshold: float) -> int | None:
    """The smallest number of steps from which on the bias stays below the threshold."""
    enough = None
    for n in sorted(bias, reverse=True):
        if abs(bias[n][0]) >= threshold:
            break
        enough = n
    return enough


def run(*, quick: bool = False) -> list[dict[str, Any]]:
    """All dimensions and strengths."""
    torch.set_num_threads(1)  # the arrays are small, and threads that wait for each other cost more than they bring
    sizes = ((64, 100),) if quick else ((64, 200), (256, 200), (1024, 40))
    return [
        {"dim": dim, "w": w, "trajectories": rows, "samplers": measure(Setting.of(dim, w, rows), quick=quick)}
        for dim, rows in sizes
        for w in (1.0, 3.0)
    ]


def table(result: list[dict[str, Any]]) -> str:
    """The result as text, one block per dimension and strength."""
    lines = []
    for block in result:
        threshold = block["samplers"][0]["threshold"]
        lines.append(
            f"\nd = {block['dim']}, w = {block['w']:g}: bias of the mean shift in 1e-4 (error), "
            f"{block['trajectories']} coupled trajectories; threshold {1e4 * threshold:.1f}"
        )
        for row in block["samplers"]:
            cells = "  ".join(f"{n}: {1e4 * b:.1f}({1e4 * e:.1f})" for n, (b, e) in row["bias"].items())
            name = row["grid"] if row["grid"] == "textbook" else f"{row['grid']}, order {row['order']}"
            enough = f"{row['steps']} steps" if row["steps"] else "more"
            lines.append(f"  {name:<20} {enough:>10}   {cells}")
    return "\n".join(lines)
