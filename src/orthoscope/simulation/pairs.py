"""Exact guided sampling of any conditional law beside any unconditional one."""

from __future__ import annotations

import numpy as np

from orthoscope import rng
from orthoscope.denoise import ExactDenoiser
from orthoscope.guidance.guided import classifier_free
from orthoscope.guidance.schedules import GuidanceSchedule
from orthoscope.process import VarianceExploding
from orthoscope.sampling import Exponential, IndependentNoise, geometric, sample, start, through
from orthoscope.targets import Pair, Target


def sample_pair(
    pair: Pair,
    schedule: GuidanceSchedule,
    *,
    samples: int,
    steps: int,
    seed: int,
    t_max: float = 1e4,
    lam: float = 1.0,
    end: float = 0.0,
    begin: Target | None = None,
) -> np.ndarray:
    """Guided samples of a pair, in float64.

    Args:
        pair: The two laws.
        schedule: Guidance strength.
        samples: Number of rows.
        steps: Steps of the geometric grid, to which the schedule's jumps are added.
        seed: Root seed.
        t_max: Variance time of the start.
        lam: 1 for the reverse SDE, 0 for the probability-flow ODE.
        end: Variance time of the last level; above 0 for laws without width.
        begin: Law from whose exact noised form runs start; the conditional one if None.

    Accuracy:
        Second order in the step; see explanation/numerics.
    """
    narrow, offset = pair.absorbed()
    process = VarianceExploding(offset=offset)
    levels = through(geometric(process, t_max, steps, end=end), process, [t for t in schedule.switches() if t > end])
    streams = rng.row_streams(seed, "trajectory", rows=range(samples))
    x = start("exact", begin or pair.cond, levels.levels[0], streams, prior_variance=1.0)
    noise = IndependentNoise(streams, (pair.dim,), like=x)
    run = sample(
        classifier_free(ExactDenoiser(narrow), schedule), x, levels, step=Exponential(lam=lam), noise=noise, label=0
    )
    return run.x.double().numpy()
