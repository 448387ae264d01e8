"""What is saved by not reading modes that cannot matter: committed rows (SDE), active sets (ODE), and where it fails.

Every case is run three times on the same start and noise: full scans, committed rows, an active set. Printed are modes
read and seconds in units of the full run, and how far samples end from its samples.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from orthoscope import rng
from orthoscope.denoise import Denoiser, ExactDenoiser, FixedLabel
from orthoscope.denoise.active import Active
from orthoscope.denoise.committed import Committed
from orthoscope.guidance.guided import Guided
from orthoscope.guidance.schedules import Constant
from orthoscope.process import VarianceExploding
from orthoscope.sampling import BrownianPath, Exponential, Grid, Run, geometric, sample
from orthoscope.targets import Mixture, mixture
from orthoscope.targets.bundled import bundled_digits
from orthoscope.targets.ensembles import random_mixture
from orthoscope.theory.odds import stopping_odds

T_MAX, STEPS, TOLERANCE = 50.0, 24, 1e-3  # the tolerance is a share of the length of a centroid


@dataclass(frozen=True, eq=False, kw_only=True)
class Case:
    """One target, sampler and strength.

    Attributes:
        name: What is difficult about it.
        target: With its width.
        label: Class asked for, or one per row.
        lam: 1 for the reverse SDE, 0 for the probability-flow ODE.
        w: Strength.
        x: Starting states.
    """

    name: str
    target: Mixture
    label: int | Tensor
    lam: float
    w: float
    x: Tensor

    @property
    def length(self) -> float:
        """Root mean square length of a centroid, from the center."""
        return float(self.target.table[:, : self.target.dim].square().sum(1).mean().sqrt())

    def odds(self) -> float:
        """Odds for the tolerance: on the mean overlap if the class has one mode, else on the distance of laws."""
        one = self.label if isinstance(self.label, int) else int(self.label[0])
        own = self.target.conditional(one).centroids
        if len(own) > 1:
            return stopping_odds(TOLERANCE, self.w)
        radius = float((self.target.centroids - own).norm(dim=1).max())
        return stopping_odds(TOLERANCE * self.length, self.w, radius=radius)


def cases(*, quick: bool) -> Iterator[Case]:
    """Exponentially many classes, then what should be hard."""
    dim, rows = (40, 32) if quick else (64, 48)
    many = random_mixture(dim, std=0.5, rate=0.2, stream=rng.stream(0, "modes"))
    x = start(many, rows)
    for lam in (1.0, 0.0):
        for w in (1.0, 3.0, -0.7):
            yield Case(name=f"d = {dim}, {many.size} classes", target=many, label=0, lam=lam, w=w, x=x)
        labels = torch.arange(rows)
        yield Case(name="every row another class", target=many, label=labels, lam=lam, w=1.0, x=x)
    twins = many.centroids[:20_000].clone()
    twins[1] = twins[0] + 0.1
    near = mixture(twins, std=0.5)
    digits = bundled_digits().standardized().mixture().to(dtype=torch.float32)
    for lam in (1.0, 0.0):
        yield Case(name="own mode has a twin", target=near, label=0, lam=lam, w=1.0, x=start(near, rows))
        yield Case(name="digits, ten classes", target=digits, label=3, lam=lam, w=1.0, x=start(digits, rows))


def start(target: Mixture, rows: int) -> Tensor:
    """States at T_MAX, drawn from the prior."""
    normal = torch.from_numpy(rng.stream(0, "start", target.dim).standard_normal((rows, target.dim)))
    spread = math.sqrt(T_MAX + float(target.moments()[1].trace()) / target.dim)
    return target.center + (spread * normal).to(target.dtype)


def measure(case: Case) -> dict[str, Any]:
    """The three runs compared."""
    narrow, offset = case.target.absorbed()
    assert isinstance(narrow, Mixture)
    levels = geometric(VarianceExploding(offset=offset), T_MAX, STEPS)
    exact, odds = ExactDenoiser(narrow), case.odds()
    tolerance = TOLERANCE * case.length
    references: dict[str, Denoiser] = {
        "committed": Committed(narrow, case.label, odds=odds),
        "active": FixedLabel(Active(narrow, tolerance=tolerance)),
    }
    full = run(case, levels, exact, FixedLabel(exact))
    row: dict[str, Any] = {"case": case.name, "lam": case.lam, "w": case.w, "odds": odds, "seconds": full.seconds}
    for name, reference in references.items():
        found = run(case, levels, exact, reference)
        moved = (found.x - full.x).double().norm(dim=1) / case.length
        row[name] = {
            "read": found.modes_read / full.modes_read,
            "seconds": found.seconds / full.seconds,
            "moved": float(moved.mean()),
            "most": float(moved.max()),
            "half": first_below_half(found, full.modes_read / STEPS),
        }
    return row


def run(case: Case, levels: Grid, main: Denoiser, reference: Denoiser) -> Run:
    """One guided run; modes read so far are observed at every level."""
    variances = [float(level.variance) for level in levels.levels]
    noise = BrownianPath(1, *case.x.shape, variances, dtype=case.x.dtype) if case.lam else None
    return sample(
        Guided(main=main, reference=reference, schedule=Constant(value=case.w)),
        case.x,
        levels,
        step=Exponential(lam=case.lam),
        noise=noise,
        label=case.label,
        observe=lambda state: state.modes_read,
    )


def first_below_half(found: Run, per_step: float) -> float | None:
    """Share of the steps before the first that reads less than half of what a full one does."""
    reads = np.diff(found.observed) / per_step
    below = np.flatnonzero(reads < 0.5)
    return float(below[0] / len(reads)) if len(below) else None


def table(result: list[dict[str, Any]]) -> str:
    """The result as text, one line per case and way of stopping."""
    head = f"{'case':<28}{'':>4}{'w':>6}  {'stop':<10}{'read':>6}{'time':>6}{'half from':>10}{'moved':>9}{'most':>9}"
    lines = [f"tolerance {TOLERANCE:g} of a centroid's length; read and time in units of full scans", head]
    for row in result:
        for name in ("committed", "active"):
            part = row[name]
            half = "never" if part["half"] is None else f"{part['half']:.0%}"
            lines.append(
                f"{row['case']:<28}{'SDE' if row['lam'] else 'ODE':>4}{row['w']:>6g}  {name:<10}{part['read']:>6.2f}"
                f"{part['seconds']:>6.2f}{half:>10}{part['moved']:>9.0e}{part['most']:>9.0e}"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stopping", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, for a first look")
    options = parser.parse_args()
    torch.set_num_threads(1)
    begin = time.perf_counter()
    print(table([measure(case) for case in cases(quick=options.quick)]))
    print(f"\n{time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
