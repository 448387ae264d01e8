"""What each lever of the engine is worth on the yardstick, and the whole comparison with the textbook."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from orthoscope import __version__
from orthoscope.bench.levels import STEPS, multilevel, step_bias
from orthoscope.bench.textbook import TEXTBOOK_STEPS
from orthoscope.bench.yardstick import TextbookCost, Yardstick, fastest, textbook_cost
from orthoscope.guidance.schedules import Constant
from orthoscope.metrics import total_variance
from orthoscope.metrics.away import Away, squared_distance
from orthoscope.metrics.modes import far_from_modes
from orthoscope.progress import Progress
from orthoscope.quantities import Estimate
from orthoscope.serialize import to_dict
from orthoscope.simulation.completion import Completion
from orthoscope.simulation.control import row_values
from orthoscope.simulation.draw import Draw, draw
from orthoscope.simulation.together import simulate_together
from orthoscope.targets import Mixture, mixture
from orthoscope.targets.modes import read

TOLERANCE = 1e-3  # total variation distance spent on reading fewer modes
ROWS = 64  # trajectories that the levers' factors are measured on
BIAS_ROWS = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Lever:
    """One reason for the speed.

    Attributes:
        name: What it is.
        factor: How much less it makes the work.
        measures: What the factor compares.
        in_speedup: Whether the comparison with the textbook makes use of it.
    """

    name: str
    factor: float
    measures: str
    in_speedup: bool = True


def compare_with_textbook(problem: Yardstick, *, progress: Progress | None = None) -> dict[str, Any]:
    """The JSON object of `orthoscope bench engine`.

    Args:
        problem: What has to be computed.
        progress: Called with parts done and their number.
    """
    tell = progress or (lambda done, total: None)
    drawn = draw(problem.simulation.but(tolerance=TOLERANCE))
    assert isinstance(drawn.target, Mixture)
    centroids = drawn.target.centroids
    tell(1, 5)
    textbook = textbook_cost(problem, drawn)
    tell(2, 5)
    begin = time.perf_counter()
    whole = replace(drawn, target=mixture(centroids, std=problem.std))
    found = multilevel(whole, stderr=problem.stderr)
    seconds = time.perf_counter() - begin
    tell(3, 5)
    bias = step_bias(whole, steps=STEPS[-1], rows=BIAS_ROWS)
    tell(4, 5)
    levers = measure_levers(problem, whole, textbook)
    kept = samples_kept(whole)
    tell(5, 5)
    stderr = found.mean_shift.stderr
    return {
        "speedup": textbook.seconds / seconds,
        "speedup_at_equal_stderr": textbook.seconds / seconds * (problem.stderr / stderr) ** 2,
        "textbook_seconds": textbook.seconds,
        "seconds": seconds,
        "stderr": stderr,
        "bias_over_stderr": abs(bias.value) / stderr,
        "mean_shift": found.mean_shift.as_numbers(),
        **{name: one.as_numbers() for name, one in kept.items()},
        "bias": bias.as_numbers(),
        "textbook": {
            **{name: value for name, value in asdict(textbook).items() if name not in ("bias", "seconds")},
            "steps": TEXTBOOK_STEPS,
            "extrapolated_seconds": textbook.seconds,
            "bias": textbook.bias.as_numbers(),
        },
        "levels": [
            {"steps": level.steps, "rows": level.rows, "modes_read": level.modes_read, **level.correction.as_numbers()}
            for level in found.levels
        ],
        "law": found.law.as_numbers(),
        "levers": [asdict(lever) for lever in levers],
        "classes": len(centroids),
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
        "orthoscope": __version__,
        "spec": to_dict(problem),
    }


def samples_kept(drawn: Draw) -> dict[str, Estimate]:
    """What the engine's samples keep of the variance of their class, and how far from it they are, the modes fixed.

    The speedup is that of one mean; these few samples say that what it is the mean of is no junk.
    """
    one = replace(drawn, simulation=drawn.simulation.but(samples=ROWS, steps=STEPS[-1]))
    assert isinstance(one.target, Mixture)
    x, width = one.run(one.levels).x, one.simulation.setting.law.std**2
    rows, centroid = x.double().numpy(force=True), one.centroid.astype(np.float64)
    away = Away(
        squares=squared_distance(rows, centroid, width * np.eye(rows.shape[1])),
        far=far_from_modes(one.target, x.to(one.target.centroids)).double().numpy(force=True),
    )
    return {"variance_ratio": total_variance(rows).times(1 / (width * rows.shape[1]))} | away.estimates()


def measure_levers(problem: Yardstick, drawn: Draw, textbook: TextbookCost) -> list[Lever]:
    """The factor of each lever, measured with the others in place as far as they come before it in the list."""
    target, completion = drawn.target, Completion()
    assert isinstance(target, Mixture)
    one = replace(drawn, simulation=drawn.simulation.but(samples=ROWS, steps=STEPS[-1]))
    grid, m = one.levels, one.centroid
    run, control = one.run(grid, watchers=[completion.watch]), one.planted().run(grid)
    means = run.x.double().cpu().numpy(), completion.rows(one, run)[0], control.x.double().cpu().numpy()
    plain, completed, its = (row_values(rows, m)["mean_shift"] for rows in means)
    evaluations = 2 * grid.steps
    full = ROWS * evaluations * (target.size + 1)
    x = run.x - target.center
    per_read = fastest(lambda: read((target.table,), x, problem.t_max), x.device) / ROWS
    difference = float((plain - its).var(ddof=1))
    several = multilevel(one, stderr=problem.stderr, steps=(STEPS[-1] // 2, STEPS[-1])).levels
    effort = sum(np.sqrt(level.correction.stderr**2 * level.modes_read) for level in several)
    together = simulate_together(one.simulation, [Constant(value=3 * problem.strength)])
    apart = sum(one["mean_shift"].stderr ** 2 for one in together.estimates)
    return [
        Lever(
            name="second-order steps on a refined grid",
            factor=TEXTBOOK_STEPS / evaluations,
            measures=f"{TEXTBOOK_STEPS} evaluations against {evaluations}",
        ),
        Lever(
            name="fused posterior mean",
            factor=textbook.per_step / per_read,
            measures="seconds per row and evaluation",
        ),
        Lever(name="stopping the scan", factor=full / run.modes_read, measures="modes read, of all and until decided"),
        Lever(
            name="analytic completion",
            factor=float(plain.var(ddof=1) / completed.var(ddof=1)),
            measures="variance of a trajectory",
        ),
        Lever(
            name="planted control variate",
            factor=float(completed.var(ddof=1)) / difference,
            measures="variance of a trajectory, completed against coupled",
        ),
        Lever(
            name="several step sizes",
            factor=difference * run.modes_read / ROWS / float(effort) ** 2,
            measures=f"modes read to one error, {STEPS[-1]} steps alone against {STEPS[-1] // 2} and a correction",
            in_speedup=False,
        ),
        Lever(
            name="common random numbers",
            factor=apart / together.differences[0]["mean_shift"].stderr ** 2,
            measures=f"variance of the difference of strengths {problem.strength:g} and {3 * problem.strength:g}",
            in_speedup=False,
        ),
    ]
